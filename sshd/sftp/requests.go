package sftp

import (
	"bytes"
	"encoding/binary"
	"io"
	iofs "io/fs"
	"math"
	"os"
	"slices"
	"time"

	"berth/fs"
)

// Request is a request this server answers, for documentation and tests.
type Request struct {
	Name       string // as clients and the draft call it
	Version    string // of an extension, as announced to the client
	Permission string // what a rule must grant for it, "" if nothing
	Event      string // the name of the event of a success, "" if there is none
	serve      func(*session, *request) error
}

// requests by packet type. The error that a handler returns becomes a STATUS,
// unless the handler has sent another answer.
var requests = [256]Request{
	fxpOpen:     {Name: "open", Permission: "read create overwrite", Event: "file_opened", serve: (*session).open},
	fxpClose:    {Name: "close", Event: "file_read_closed", serve: with(text, (*session).closeHandle)},
	fxpRead:     {Name: "read", serve: (*session).read},
	fxpWrite:    {Name: "write", serve: (*session).write},
	fxpLstat:    {Name: "lstat", Permission: "list", serve: with((*session).name, (*session).lstat)},
	fxpFstat:    {Name: "fstat", serve: with((*session).file, (*session).fstat)},
	fxpSetstat:  {Name: "setstat", Permission: "setattr", Event: "attributes_set", serve: with2((*session).name, attrs, (*session).setstat)},
	fxpFsetstat: {Name: "fsetstat", Permission: "setattr", Event: "attributes_set", serve: with2((*session).file, attrs, (*session).fsetstat)},
	fxpOpendir:  {Name: "opendir", Permission: "list", Event: "directory_listed", serve: with((*session).name, (*session).opendir)},
	fxpReaddir:  {Name: "readdir", serve: with((*session).dir, (*session).readdir)},
	fxpRemove:   {Name: "remove", Permission: "delete", Event: "removed", serve: with((*session).name, (*session).remove)},
	fxpMkdir:    {Name: "mkdir", Permission: "mkdir", Event: "directory_made", serve: with2((*session).name, attrs, (*session).mkdir)},
	fxpRmdir:    {Name: "rmdir", Permission: "rmdir", Event: "directory_removed", serve: with((*session).name, (*session).rmdir)},
	fxpRealpath: {Name: "realpath", serve: with(rawName, (*session).realpath)},
	fxpStat:     {Name: "stat", Permission: "list", serve: with((*session).name, (*session).stat)},
	fxpRename:   {Name: "rename", Permission: "rename", Event: "renamed", serve: renaming(false)},
	fxpReadlink: {Name: "readlink", Permission: "read", serve: with((*session).name, (*session).readlink)},
	fxpSymlink:  {Name: "symlink", Permission: "symlink", Event: "symlinked", serve: (*session).symlink},
	fxpExtended: {Name: "extended", serve: with(text, (*session).extended)},
}

// with returns a handler for a request that begins with one field. If read cannot
// read the field, it fails q, and do is not called.
func with[A any](read func(*session, *request) A, do func(*session, *request, A) error) func(*session, *request) error {
	return func(s *session, q *request) error {
		a := read(s, q)
		if q.err != nil {
			return q.err
		}
		return do(s, q, a)
	}
}

// with2 is with for two fields.
func with2[A, B any](first func(*session, *request) A, second func(*session, *request) B, do func(*session, *request, A, B) error) func(*session, *request) error {
	return func(s *session, q *request) error {
		a, b := first(s, q), second(s, q)
		if q.err != nil {
			return q.err
		}
		return do(s, q, a, b)
	}
}

// text reads a string. The result is valid until the next request.
func text(_ *session, q *request) []byte { return q.bytes() }

func attrs(_ *session, q *request) fs.Attr { return q.attrs() }

// rawName reads a name as it was sent.
func rawName(_ *session, q *request) string {
	b := q.bytes()
	switch {
	case len(b) > maxName:
		q.fail(fs.ErrNameTooLong)
		return ""
	case bytes.IndexByte(b, 0) >= 0:
		q.fail(errBadName)
		return ""
	}
	return string(b)
}

// Flags of OPEN, section 6.3 of the draft.
const (
	openRead   = 0x01
	openWrite  = 0x02
	openAppend = 0x04
	openCreate = 0x08
	openTrunc  = 0x10
	openExcl   = 0x20
)

var openFlags = []struct {
	pflag uint32
	flag  int
}{
	{openAppend, os.O_APPEND},
	{openCreate, os.O_CREATE},
	{openTrunc, os.O_TRUNC},
	{openExcl, os.O_EXCL},
}

// osFlag translates the flags of OPEN to those of package os, as OpenSSH's server does.
func osFlag(pflags uint32) int {
	flag := os.O_RDONLY
	switch pflags & (openRead | openWrite) {
	case openRead | openWrite:
		flag = os.O_RDWR
	case openWrite:
		flag = os.O_WRONLY
	}
	for _, f := range openFlags {
		if pflags&f.pflag != 0 {
			flag |= f.flag
		}
	}
	return flag
}

func (s *session) open(q *request) error {
	name, flag, a := s.name(q), osFlag(q.u32()), q.attrs()
	if q.err != nil {
		return q.err
	}
	if s.handles.full(false) {
		return errTooManyOpen
	}
	file, err := s.files.OpenFile(name, flag, modeOr(a, 0o666))
	return s.answerHandle(q, handle{file: file, name: name, flag: flag}, err)
}

// modeOr returns the mode that a client asked for, or the usual one.
func modeOr(a fs.Attr, usual iofs.FileMode) iofs.FileMode {
	if a.Set&fs.AttrMode != 0 {
		return a.Mode
	}
	return usual
}

func (s *session) answerHandle(q *request, h handle, err error) error {
	if err != nil {
		return err
	}
	place := s.handles.add(h)
	s.answer(q, fxpHandle, smallAnswer)
	s.out = appendU32(appendU32(appendU32(s.out, handleSize), place), s.handles.list[place].born)
	return nil
}

func (s *session) closeHandle(q *request, wire []byte) error {
	h, ok := s.handles.remove(wire)
	if !ok {
		return errBadHandle
	}
	q.about(h.name)
	return h.close(true)
}

// read reads the bytes of the file directly into the answer.
func (s *session) read(q *request) error {
	h, offset, n := s.file(q), q.offset(), int(min(q.u32(), maxData))
	if q.err != nil {
		return q.err
	}
	if !h.reads() {
		return errNotOpenRead
	}
	if offset > math.MaxInt64-int64(n) {
		return io.EOF
	}
	s.answer(q, fxpData, 4+n)
	data := len(s.out) + 4
	got, err := h.file.ReadAt(s.out[data:data+n], offset)
	if got == 0 && err != nil {
		return err
	}
	s.out = appendU32(s.out, uint32(got))[:data+got]
	return nil
}

func (s *session) write(q *request) error {
	h, offset, data := s.file(q), q.offset(), q.bytes()
	if q.err != nil {
		return q.err
	}
	if !h.writes() {
		return errNotOpenWrite
	}
	if offset > math.MaxInt64-int64(len(data)) {
		return fs.ErrTooLarge
	}
	_, err := h.file.WriteAt(data, offset)
	return err
}

func (s *session) stat(q *request, name string) error {
	fi, err := s.files.Stat(name)
	return s.answerAttrs(q, fi, err)
}

func (s *session) lstat(q *request, name string) error {
	fi, err := s.files.Lstat(name)
	return s.answerAttrs(q, fi, err)
}

func (s *session) fstat(q *request, h *handle) error {
	fi, err := h.file.Stat()
	return s.answerAttrs(q, fi, err)
}

func (s *session) answerAttrs(q *request, fi iofs.FileInfo, err error) error {
	if err != nil {
		return err
	}
	s.answer(q, fxpAttrs, smallAnswer)
	s.out = appendAttrs(s.out, fi)
	return nil
}

func (s *session) setstat(_ *request, name string, a fs.Attr) error {
	return s.files.SetAttr(name, a)
}

func (s *session) fsetstat(_ *request, h *handle, a fs.Attr) error {
	if a.Set&fs.AttrSize != 0 && !h.writes() {
		return errNotOpenWrite
	}
	return h.file.SetAttr(a)
}

func (s *session) opendir(q *request, name string) error {
	if s.handles.full(true) {
		return errTooManyOpen
	}
	dir, err := list(s.files, name)
	return s.answerHandle(q, handle{dir: dir, name: name}, err)
}

// namesSize is how many bytes of entries end an answer to READDIR. That is a hundred
// of the longest names of Linux. Some clients do not accept packets as long as
// OpenSSH does.
const namesSize = 64 << 10

func (s *session) readdir(q *request, h *handle) error {
	e, err := h.dir.next()
	if err != nil {
		return err
	}
	now := time.Now()
	s.answer(q, fxpName, namesSize+smallAnswer)
	count := len(s.out)
	s.out = appendU32(s.out, 0)
	n := 0
	for enough := false; err == nil && !enough; n++ {
		s.out = appendEntry(s.out, e, now, s.opt.Names)
		if enough = len(s.out)-s.last > namesSize; !enough {
			e, err = h.dir.next() // an error comes again at the next READDIR
		}
	}
	binary.BigEndian.PutUint32(s.out[count:], uint32(n))
	return nil
}

func appendEntry(b []byte, e entry, now time.Time, names Names) []byte {
	b = appendString(b, e.name)
	long := len(b)
	b = appendLongname(appendU32(b, 0), e.name, e.info, now, names)
	binary.BigEndian.PutUint32(b[long:], uint32(len(b)-long-4))
	return appendAttrs(b, e.info)
}

func (s *session) remove(_ *request, name string) error { return s.files.Remove(name) }

func (s *session) rmdir(q *request, name string) error {
	if q.dot {
		return s.refuseDot(name, iofs.ErrInvalid)
	}
	return s.files.Rmdir(name)
}

func (s *session) mkdir(q *request, name string, a fs.Attr) error {
	if q.dot {
		return s.refuseDot(name, iofs.ErrExist)
	}
	return s.files.Mkdir(name, modeOr(a, 0o777))
}

// refuseDot is the error about "." in the directory name, as POSIX has it: err, or
// that there is no such directory.
func (s *session) refuseDot(name string, err error) error {
	if _, missing := s.files.Stat(name); missing != nil {
		return missing
	}
	return err
}

// realpath answers q with a name of the client after all links are followed, as
// OpenSSH's server does. The last element of the name may be missing: clients ask
// for the names of files that they are going to create.
func (s *session) realpath(q *request, name string) error {
	q.about(name)
	name, err := s.files.Realpath("/" + name)
	if err != nil {
		return err
	}
	q.about(name)
	return s.answerName(q, name)
}

// answerName answers q with one name and no attributes.
func (s *session) answerName(q *request, name string) error {
	s.answer(q, fxpName, 2*len(name)+smallAnswer)
	s.out = appendU32(s.out, 1)
	s.out = appendString(s.out, name)
	s.out = appendString(s.out, name)
	s.out = appendU32(s.out, 0)
	return nil
}

// renaming is the handler of a rename, which may replace what has the new name.
func renaming(replace bool) func(*session, *request) error {
	return with2((*session).name, (*session).name, func(s *session, _ *request, oldname, newname string) error {
		return s.files.Rename(oldname, newname, replace)
	})
}

func (s *session) readlink(q *request, name string) error {
	target, err := s.files.Readlink(name)
	if err != nil {
		return err
	}
	if len(target) > maxName {
		return fs.ErrNameTooLong
	}
	return s.answerName(q, target)
}

// symlink takes the target first, unless the client follows the draft. The target is
// stored as it is.
func (s *session) symlink(q *request) error {
	var target, name string
	if s.opt.LinkFirst {
		name, target = s.name(q), rawName(s, q)
	} else {
		target, name = rawName(s, q), s.name(q)
	}
	if q.err != nil {
		return q.err
	}
	q.about(target)
	if target == "" {
		return iofs.ErrNotExist
	}
	return s.files.Symlink(target, name)
}

// Requests lists the requests of this server, in the order of the packet types.
func Requests() []Request {
	return slices.DeleteFunc(slices.Clone(requests[:]), func(r Request) bool { return r.serve == nil })
}
