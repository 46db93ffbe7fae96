package ldap

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// idText returns the text of a stable id. objectGUID is binary, with its first
// three fields in little-endian order ([MS-DTYP] 2.3.4.2).
func idText(attribute, value string) string {
	if !strings.EqualFold(attribute, "objectGUID") || len(value) != 16 {
		return value
	}
	b := []byte(value)
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:])
}

// sidText returns "S-1-5-21-…" for the binary form ([MS-DTYP] 2.4.2.2), or ""
// if value is none.
func sidText(value string) string {
	b := []byte(value)
	if len(b) < 8 || b[0] != 1 || len(b) != 8+4*int(b[1]) {
		return ""
	}
	authority := uint64(binary.BigEndian.Uint16(b[2:]))<<32 | uint64(binary.BigEndian.Uint32(b[4:]))
	text := "S-1-" + strconv.FormatUint(authority, 10)
	for b = b[8:]; len(b) > 0; b = b[4:] {
		text += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b)), 10)
	}
	return text
}

// sidSibling returns the binary SID of another object of the same domain: its
// last number replaced by rid.
func sidSibling(sid string, rid uint32) string {
	if sidText(sid) == "" || sid[1] == 0 {
		return ""
	}
	return string(binary.LittleEndian.AppendUint32([]byte(sid[:len(sid)-4]), rid))
}

// escapeBytes writes every byte of a binary value as a filter needs it (RFC
// 4515, section 3).
func escapeBytes(value string) string {
	text := ""
	for _, c := range []byte(value) {
		text += fmt.Sprintf(`\%02x`, c)
	}
	return text
}
