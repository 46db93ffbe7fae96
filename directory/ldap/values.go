package ldap

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// fileTimeEpoch is 1601-01-01 in Unix seconds; a FILETIME counts units of 100 ns
// from there ([MS-DTYP] 2.3.3).
const (
	fileTimeEpoch = -11644473600
	fileTimeNever = 0x7FFFFFFFFFFFFFFF
	fileTimeUnit  = 10_000_000 // a second
)

// fileTime reads the decimal text of a FILETIME. never is true for the two values
// that mean "no time".
func fileTime(s string) (t time.Time, never bool, err error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, false, fmt.Errorf("%.40q is no FILETIME", s)
	}
	if n == 0 || n == fileTimeNever {
		return time.Time{}, true, nil
	}
	return time.Unix(n/fileTimeUnit+fileTimeEpoch, n%fileTimeUnit*100).UTC(), false, nil
}

// interval reads a negative number of 100 ns units, as in the policies of Active
// Directory. 0 and the smallest number mean for ever, which is zero here.
func interval(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	const longest = int64(1<<63-1) / 100
	if err != nil || n >= 0 || n < -longest {
		return 0
	}
	return time.Duration(-n * 100)
}

// epochDays reads the days since 1970 that shadow(5) counts in.
func epochDays(s string) (days int, ok bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n < 5_000_000
}

func dayStart(days int) time.Time { return time.Unix(int64(days)*86400, 0).UTC() }

// seconds reads a number of seconds, 0 if there is none.
func seconds(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<32 {
		return 0
	}
	return time.Duration(n) * time.Second
}

const weekHours = 7 * 24

// hourAllowed looks t up in logonHours: one bit an hour of the week, from Sunday
// 00:00 UTC on, the lowest bit of each byte first.
func hourAllowed(logonHours string, t time.Time) bool {
	t = t.UTC()
	h := int(t.Weekday())*24 + t.Hour()
	return logonHours[h/8]>>(h%8)&1 == 1
}

// hoursChange returns when the answer of hourAllowed changes next after t; zero
// if it never does.
func hoursChange(logonHours string, t time.Time) time.Time {
	now := hourAllowed(logonHours, t)
	next := t.UTC().Truncate(time.Hour)
	for range weekHours {
		next = next.Add(time.Hour)
		if hourAllowed(logonHours, next) != now {
			return next
		}
	}
	return time.Time{}
}

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
