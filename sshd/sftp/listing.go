package sftp

import (
	"io"
	iofs "io/fs"
	"iter"
	"path"

	"berth/fs"
)

type entry struct {
	name string
	info iofs.FileInfo
}

// listing is an open directory: "." and "..", which an FS leaves out, and then
// what the FS yields, taken as the client asks for it.
type listing struct {
	ahead []entry // to be sent before the next is pulled
	err   error   // to be sent after them
	pull  func() (iofs.FileInfo, error, bool)
	stop  func()
}

// list opens a directory. It pulls the first entry, so that OPENDIR fails, and not
// READDIR, for a directory that cannot be read.
func list(files fs.FS, name string) (*listing, error) {
	pull, stop := iter.Pull2(files.ReadDir(name))
	l := &listing{pull: pull, stop: stop}
	first, err := l.take()
	if err != nil && err != io.EOF {
		stop()
		return nil, err
	}
	for _, dot := range []entry{{name: "."}, {name: ".."}} {
		if dot.info, err = files.Stat(path.Join(name, dot.name)); err == nil {
			l.ahead = append(l.ahead, dot)
		}
	}
	if first.info != nil {
		l.ahead = append(l.ahead, first)
	}
	return l, nil
}

// next returns the next entry, or io.EOF after the last.
func (l *listing) next() (entry, error) {
	if len(l.ahead) > 0 {
		e := l.ahead[0]
		l.ahead = l.ahead[1:]
		return e, nil
	}
	if l.err != nil {
		return entry{}, l.err
	}
	return l.take()
}

// take pulls an entry from the FS. After the last one the FS releases the directory.
func (l *listing) take() (entry, error) {
	for {
		info, err, ok := l.pull()
		if !ok {
			err = io.EOF
		}
		if err != nil {
			l.err = err
			l.stop()
			return entry{}, err
		}
		if name := info.Name(); len(name) <= maxName {
			return entry{name, info}, nil
		}
	}
}
