package sftp

import (
	iofs "io/fs"
	"strconv"
	"time"
)

// appendOwner appends the number of an owner in a column of ls.
func appendOwner(b []byte, id uint32) []byte {
	start := len(b)
	b = strconv.AppendUint(b, uint64(id), 10)
	return appendSpaces(b, 8-(len(b)-start))
}

// halfYear is the age from which ls shows the year instead of the time of day.
const halfYear = 365 * 24 * time.Hour / 2

// appendLongname appends the line that `ls -l` prints for a file, in the columns of
// OpenSSH's server: clients parse it.
func appendLongname(b []byte, name string, fi iofs.FileInfo, now time.Time) []byte {
	owner, _ := ownerOf(fi)
	b = appendMode(b, fi.Mode())
	b = append(b, ' ', ' ')
	b = appendRight(b, 3, owner.Nlink)
	b = append(b, ' ')
	b = appendOwner(b, owner.UID)
	b = append(b, ' ')
	b = appendOwner(b, owner.GID)
	b = append(b, ' ')
	b = appendRight(b, 8, uint64(fi.Size()))
	b = append(b, ' ')
	layout := "Jan _2  2006"
	if m := fi.ModTime(); m.After(now.Add(-halfYear)) && !m.After(now) {
		layout = "Jan _2 15:04"
	}
	b = fi.ModTime().In(now.Location()).AppendFormat(b, layout)
	b = append(b, ' ')
	return append(b, name...)
}

// appendMode appends the ten letters of a mode.
func appendMode(b []byte, m iofs.FileMode) []byte {
	kind := byte('-')
	for _, t := range modeTypes {
		if m&t.mode != 0 {
			kind = t.ls
			break
		}
	}
	start := len(b)
	b = append(b, kind)
	for i := range 9 {
		letter := "rwxrwxrwx"[i]
		if m&(1<<(8-i)) == 0 {
			letter = '-'
		}
		b = append(b, letter)
	}
	special := func(bit iofs.FileMode, at int, withX, without byte) {
		if m&bit == 0 {
			return
		}
		if b[start+at] == 'x' {
			b[start+at] = withX
		} else {
			b[start+at] = without
		}
	}
	special(iofs.ModeSetuid, 3, 's', 'S')
	special(iofs.ModeSetgid, 6, 's', 'S')
	special(iofs.ModeSticky, 9, 't', 'T')
	return b
}

// appendRight appends a number in a column of the given width.
func appendRight(b []byte, width int, v uint64) []byte {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], v, 10)
	b = appendSpaces(b, width-len(d))
	return append(b, d...)
}

func appendSpaces(b []byte, n int) []byte {
	for ; n > 0; n-- {
		b = append(b, ' ')
	}
	return b
}
