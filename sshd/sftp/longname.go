package sftp

import (
	iofs "io/fs"
	"strconv"
	"time"
)

// names finds the names of users and groups by number and remembers them for the session, as many
// as there usually are.
type names struct {
	lookup func(id uint32) string
	known  map[uint32]string
}

const (
	maxOwnerName = 200 // bytes; an answer has room for no longer ones
	maxKnown     = 4096
)

// name returns the name of id, or "" when it has none.
func (n *names) name(id uint32) string {
	if n.lookup == nil {
		return ""
	}
	name, ok := n.known[id]
	if !ok {
		if n.known == nil {
			n.known = make(map[uint32]string)
		}
		if name = n.lookup(id); len(name) > maxOwnerName {
			name = ""
		}
		if len(n.known) < maxKnown { // a client may ask for every number there is
			n.known[id] = name
		}
	}
	return name
}

// appendColumn appends the name of id, or its number, in a column of ls.
func (n *names) appendColumn(b []byte, id uint32) []byte {
	start := len(b)
	if name := n.name(id); name != "" {
		b = append(b, name...)
	} else {
		b = strconv.AppendUint(b, uint64(id), 10)
	}
	return appendSpaces(b, 8-(len(b)-start))
}

// halfYear is how old a file is from which on ls shows the year and not the hour.
const halfYear = 365 * 24 * time.Hour / 2

// appendLongname appends the line that `ls -l` prints for a file, in the very
// columns of OpenSSH's server: clients take it apart.
func appendLongname(b []byte, name string, fi iofs.FileInfo, users, groups *names, now time.Time) []byte {
	owner, _ := ownerOf(fi)
	b = appendMode(b, fi.Mode())
	b = append(b, ' ', ' ')
	b = appendRight(b, 3, owner.Nlink)
	b = append(b, ' ')
	b = users.appendColumn(b, owner.UID)
	b = append(b, ' ')
	b = groups.appendColumn(b, owner.GID)
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
