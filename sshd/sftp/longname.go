package sftp

import (
	iofs "io/fs"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/fs"
)

// halfYear is the age from which ls shows the year instead of the time of day.
const halfYear = 365 * 24 * time.Hour / 2

// appendLongname appends the line that `ls -l` prints for a file, in the columns of
// OpenSSH's server: clients parse it.
func appendLongname(b []byte, name string, fi iofs.FileInfo, now time.Time, names Names) []byte {
	owner, _ := ownerOf(fi)
	b = appendMode(b, fs.PosixMode(fi.Mode()))
	b = append(b, ' ', ' ')
	b = appendColumn(b, 3, owner.Nlink)
	b = appendID(b, owner.UID, names.of(owner.UID, false))
	b = appendID(b, owner.GID, names.of(owner.GID, true))
	b = appendColumn(b, 8, uint64(fi.Size()))
	layout := "Jan _2  2006"
	if m := fi.ModTime(); m.After(now.Add(-halfYear)) && !m.After(now) {
		layout = "Jan _2 15:04"
	}
	b = fi.ModTime().In(now.Location()).AppendFormat(b, layout)
	b = append(b, ' ')
	return append(b, name...)
}

// appendMode appends the ten letters of a mode of POSIX.
func appendMode(b []byte, posix uint32) []byte {
	b = append(b, "?pc?d?b?-?l?s???"[posix>>12])
	for i := range 9 {
		letter := "rwxrwxrwx"[i]
		if posix&(1<<(8-i)) == 0 {
			letter = '-'
		}
		switch special := i%3 == 2 && posix&(0o4000>>(i/3)) != 0; {
		case special && letter == 'x':
			letter = "sst"[i/3]
		case special:
			letter = "SST"[i/3]
		}
		b = append(b, letter)
	}
	return b
}

// of is the name of a user or a group as it can be shown; "" if there is none.
func (n Names) of(id uint32, group bool) string {
	if n == nil {
		return ""
	}
	name := n(id, group)
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return ""
	}
	return name
}

// appendID appends the column of a user or a group. Clients split the line at blanks, so
// a name with blanks is shown as its number.
func appendID(b []byte, id uint32, name string) []byte {
	if name == "" || strings.Contains(name, " ") {
		return appendColumn(b, -8, uint64(id))
	}
	return append(appendSpaces(append(b, name...), 8-utf8.RuneCountInString(name)), ' ')
}

// appendColumn appends a number in a column of the given width and a space. In a
// column of a negative width the number is at the left.
func appendColumn(b []byte, width int, v uint64) []byte {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], v, 10)
	if width > 0 {
		b = appendSpaces(b, width-len(d))
	}
	return append(appendSpaces(append(b, d...), -width-len(d)), ' ')
}

func appendSpaces(b []byte, n int) []byte {
	for ; n > 0; n-- {
		b = append(b, ' ')
	}
	return b
}
