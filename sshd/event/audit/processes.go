package audit

import (
	"bytes"
	"crypto/rand"
	"os"
)

// follow finds out where the chain is, because another process may have written
// lines, or begun a new file. It is called with o.mu and the lock of the folder
// held.
func (o *output) follow() error {
	c := o.chain
	named, err := os.Stat(o.path)
	if err != nil {
		return nil // the file was moved or removed: this process continues its own chain
	}
	used, err := o.f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(named, used) {
		if err := o.begin(); err != nil {
			return err
		}
		used = named
	} else if c.read && used.Size() == o.size {
		return nil
	}
	end, err := endOf(o.path)
	if err != nil {
		return err
	}
	o.size, c.read = used.Size(), true
	c.begin = c.begin || o.size == 0
	if end.ok || bytes.IndexByte(end.rest, '\n') < 0 { // otherwise the whole file was written without a chain
		c.broken = end.rest
	}
	if o.torn <= 0 { // without the lock, another process may have been writing the line that was seen
		o.torn = 0
		if end.open {
			o.torn = -1
		}
	}
	if !end.ok && !c.known && o.old != nil { // a crash came between a full file and the first line of the next
		files, err := fullFiles(o.path)
		if err == nil && len(files) > 0 {
			end, err = endOf(files[len(files)-1])
		}
		if err != nil {
			return err
		}
	}
	switch {
	case end.ok && (!c.known || end.link.number > c.last.number):
		c.last = end.link
	case !c.known: // the first line follows a random link, so that no two chains are equal
		rand.Read(c.last.hash[:])
		c.begin = true
	} // otherwise somebody has shortened the file, and the gap must be visible
	c.known = true
	return nil
}
