package scp

import (
	"errors"
	iofs "io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"berth/fs"
)

// texts are the reasons in the words of OpenSSH's scp, which people and scripts know.
var texts = []struct {
	err  error
	text string
}{
	{iofs.ErrNotExist, "No such file or directory"},
	{iofs.ErrPermission, "Permission denied"},
	{iofs.ErrExist, "File exists"},
	{fs.ErrNotDir, "Not a directory"},
	{fs.ErrIsDir, "Is a directory"},
	{fs.ErrNotRegular, "not a regular file"},
	{fs.ErrNoSpace, "No space left on device"},
	{fs.ErrQuota, "Disk quota exceeded"},
	{fs.ErrNoDescriptors, "The server has too many open files"},
	{fs.ErrTooLarge, "File too large"},
	{fs.ErrNameTooLong, "File name too long"},
	{fs.ErrReadOnly, "Read-only file system"},
	{fs.ErrTooManyLinks, "Too many levels of symbolic links"},
	{fs.ErrFolderMissing, "folder is missing on the server"},
	{fs.ErrNotSupported, "Operation not supported"},
	{iofs.ErrInvalid, "Invalid argument"},
	{fs.ErrTooManyOpen, "Too many open files"},
	{errShrunk, errShrunk.Error()},
	{errTooDeep, errTooDeep.Error()},
}

// reason is the text about err for the client. The text of an error that is not in the
// table is not sent, because it may contain a path of this machine.
func reason(err error) string {
	for _, t := range texts {
		if errors.Is(err, t.err) {
			return t.text
		}
	}
	return "Input/output error"
}

// printable is s without characters that could move the cursor of a terminal or change
// its colours (CVE-2019-6109).
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// encodeName writes a name with a newline, which no record can carry, as
// OpenSSH sends it: vis(3) with VIS_NL. Other names are sent as they are.
func encodeName(name string) string {
	if strings.IndexByte(name, '\n') < 0 {
		return name
	}
	var w strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '\\':
			w.WriteString(`\\`)
		case c >= ' ' && c < 0x7f, c == '\t':
			w.WriteByte(c)
		default:
			visByte(&w, c)
		}
	}
	return w.String()
}

// visByte writes c as \^C, \M-c or \M^C.
func visByte(w *strings.Builder, c byte) {
	if c == 0x80|' ' { // the one that has no such form
		w.WriteString(`\240`)
		return
	}
	w.WriteByte('\\')
	if c >= 0x80 {
		w.WriteByte('M')
		c &= 0x7f
	}
	switch {
	case c == 0x7f:
		w.WriteString("^?")
	case c < ' ':
		w.Write([]byte{'^', c + '@'})
	default:
		w.Write([]byte{'-', c})
	}
}
