package sftp

import (
	"encoding/binary"
	"io"
	iofs "io/fs"
	"math"
	"slices"
	"strings"

	"berth/fs"
)

// extensions by name, announced in this order. Those of OpenSSH are described in
// its file PROTOCOL; check-file, copy-data and home-directory in
// draft-ietf-secsh-filexfer-extensions-00.
var extensions = []Request{
	{Name: "posix-rename@openssh.com", Version: "1", Permission: "rename", Event: "renamed", serve: renaming(true)},
	{Name: "statvfs@openssh.com", Version: "2", serve: with((*session).name, (*session).statvfs)},
	{Name: "fstatvfs@openssh.com", Version: "2", serve: with((*session).file, (*session).fstatvfs)},
	{Name: "hardlink@openssh.com", Version: "1", Permission: "symlink", Event: "linked", serve: with2((*session).name, (*session).name, (*session).hardlink)},
	{Name: "fsync@openssh.com", Version: "1", serve: with((*session).file, (*session).fsync)},
	{Name: "lsetstat@openssh.com", Version: "1", Permission: "setattr", Event: "attributes_set", serve: with2((*session).name, attrs, (*session).lsetstat)},
	{Name: "limits@openssh.com", Version: "1", serve: (*session).limits},
	{Name: "expand-path@openssh.com", Version: "1", serve: with(rawName, (*session).expandPath)},
	{Name: "copy-data", Version: "1", Event: "copied", serve: (*session).copyData},
	{Name: "home-directory", Version: "1", serve: with(text, (*session).homeDirectory)},
	{Name: "users-groups-by-id@openssh.com", Version: "1", serve: with2(text, text, (*session).usersGroupsByID)},
	{Name: paramikoCheckFile, Version: "1", serve: with((*session).file, (*session).checkFileHandle)},
	{Name: "check-file-handle", Version: "1", serve: with((*session).file, (*session).checkFileHandle)},
	{Name: "check-file-name", Version: "1", Permission: "read", Event: "file_opened", serve: with((*session).name, (*session).checkFileName)},
}

// Extensions lists the extended requests, in the order in which the server announces them.
func Extensions() []Request { return slices.Clone(extensions) }

func (s *session) extended(q *request, name []byte) error {
	for i := range extensions {
		if e := &extensions[i]; string(name) == e.Name {
			q.called = e.Name
			return e.serve(s, q)
		}
	}
	return fs.ErrNotSupported
}

func (s *session) hardlink(_ *request, oldname, newname string) error {
	return s.files.Link(oldname, newname)
}

func (s *session) fstatvfs(q *request, h *handle) error { return s.statvfs(q, h.name) }

// flagsShown are those of statvfs(3) that the extension knows: read-only, no set-id.
const flagsShown = 1 | 2

func (s *session) statvfs(q *request, name string) error {
	u, err := s.files.StatFS(name)
	if err != nil {
		return err
	}
	return s.answerNumbers(q,
		u.BlockSize, u.BlockSize, u.Blocks, u.BlocksFree, u.BlocksAvail,
		u.Files, u.FilesFree, u.FilesFree, u.FSID, u.Flags&flagsShown, u.NameMax)
}

func (s *session) answerNumbers(q *request, numbers ...uint64) error {
	s.answer(q, fxpExtendedReply, smallAnswer)
	for _, v := range numbers {
		s.out = appendU64(s.out, v)
	}
	return nil
}

func (s *session) fsync(_ *request, h *handle) error { return h.file.Sync() }

func (s *session) lsetstat(_ *request, name string, a fs.Attr) error {
	if a.Set&fs.AttrSize != 0 {
		return iofs.ErrInvalid // a link has no size to set
	}
	a.NoFollow = true
	return s.files.SetAttr(name, a)
}

func (s *session) limits(q *request) error {
	return s.answerNumbers(q, maxPacket, maxData, maxData, maxHandles)
}

// expandPath expands ~ and ~NAME for the user who is logged in only.
func (s *session) expandPath(q *request, name string) error {
	if rest, ok := strings.CutPrefix(name, "~"); ok {
		user, below, _ := strings.Cut(rest, "/")
		if user != "" && user != s.opt.User {
			return errUnknownUser
		}
		name = below
	}
	return s.realpath(q, name)
}

func (s *session) homeDirectory(q *request, user []byte) error {
	if len(user) > 0 && string(user) != s.opt.User {
		return errUnknownUser
	}
	return s.answerName(q, "/")
}

// maxIDs bounds the answer to users-groups-by-id; OpenSSH's client asks for fewer at a time.
const maxIDs = 512

// maxIDName is the longest name of a user or group that is sent, in bytes: with maxIDs of
// them the answer fits into a packet.
const maxIDName = 256

// usersGroupsByID returns an empty name for every number but those that Names knows: users
// must not learn about the accounts of this machine. Clients then show the numbers.
func (s *session) usersGroupsByID(q *request, users, groups []byte) error {
	switch {
	case len(users)%4 != 0 || len(groups)%4 != 0:
		return errMalformed
	case len(users)+len(groups) > maxIDs*4:
		return errTooMuchAsked
	}
	s.answer(q, fxpExtendedReply, smallAnswer+maxIDs*(4+maxIDName))
	s.out = appendNames(s.out, users, false, s.opt.Names)
	s.out = appendNames(s.out, groups, true, s.opt.Names)
	return nil
}

// appendNames appends a string that holds a string for each of ids.
func appendNames(b, ids []byte, group bool, names Names) []byte {
	start := len(b)
	b = appendU32(b, 0)
	for id := range slices.Chunk(ids, 4) {
		name := names.of(binary.BigEndian.Uint32(id), group)
		if len(name) > maxIDName {
			name = ""
		}
		b = appendString(b, name)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// copyData copies from one open file to another. A length of 0 means all of it. No
// more is copied than the source had at the start: two names may lead to the same
// file, which would otherwise grow for ever.
func (s *session) copyData(q *request) error {
	from, fromOffset, n := s.file(q), q.offset(), q.offset()
	to, toOffset := s.file(q), q.offset()
	switch {
	case q.err != nil:
		return q.err
	case !from.reads():
		return errNotOpenRead
	case !to.writes():
		return errNotOpenWrite
	case from.name == to.name:
		return errSameFile
	}
	n, err := rest(from.file, fromOffset, n)
	if err != nil {
		return err
	}
	if toOffset > math.MaxInt64-n {
		return fs.ErrTooLarge
	}
	copied := int64(0)
	err = s.pieces(from.file, fromOffset, n, func(piece []byte) error {
		written, err := to.file.WriteAt(piece, toOffset+copied)
		copied += int64(written)
		s.unseen(to.file, 0, written)
		return err
	})
	if s.opt.Copied != nil {
		s.opt.Copied(from.name, to.name, copied, err)
	}
	return err
}

func (s *session) unseen(file fs.File, read, written int) {
	if s.opt.Unseen != nil {
		s.opt.Unseen(file, int64(read), int64(written))
	}
}

// rest returns how many of n bytes a file has from offset on; an n of 0 means all.
func rest(file fs.File, offset, n int64) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	left := max(info.Size()-offset, 0)
	if n == 0 || n > left {
		n = left
	}
	return n, nil
}

// pieces calls do with up to n bytes of a file, a buffer at a time. A shorter file is
// no error. The answers so far are written first, because this may take long.
func (s *session) pieces(file fs.File, offset, n int64, do func([]byte) error) error {
	if err := s.flush(); err != nil {
		return err
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for n > 0 {
		if err := s.more(); err != nil {
			return err
		}
		got, err := file.ReadAt(b[:min(n, maxPacket)], offset)
		if got > 0 {
			s.unseen(file, got, 0)
			if err := do(b[:got]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		offset += int64(got)
		n -= int64(got)
	}
	return nil
}
