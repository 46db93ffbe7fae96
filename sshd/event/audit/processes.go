package audit

import (
	"bytes"
	"crypto/rand"
	"os"
)

// follow finds out where the chain is, because another process may have written
// lines, or begun a new file. It needs o.mu and the lock of the folder.
func (o *output) follow() error {
	c := o.chain
	named, err := os.Stat(o.path)
	if err != nil {
		return nil // moved away or removed: this process goes on by itself
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
	if end.ok || bytes.IndexByte(end.rest, '\n') < 0 { // else all of the file is from before there was a chain
		c.broken = end.rest
	}
	if o.torn <= 0 { // what was seen without the lock may have been a line being written
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
	case !c.known: // what the first line follows on is chance, so that no two chains are alike
		rand.Read(c.last.hash[:])
		c.begin = true
	} // else somebody has shortened the file: the gap must be seen
	c.known = true
	return nil
}
