package sftp

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	iofs "io/fs"
	"os"
	"strings"

	"berth/fs"
)

// hashes that check-file knows, by the names of the draft.
var hashes = map[string]func() hash.Hash{
	"sha256": sha256.New, "sha512": sha512.New, "sha384": sha512.New384, "sha224": sha256.New224, "sha1": sha1.New, "md5": md5.New,
}

// checkFileHandle also serves check-file, by which paramiko asks. Paramiko expects
// the name of the extension before that of the algorithm; the draft has no such field.
func (s *session) checkFileHandle(q *request, h *handle) error {
	if !h.reads() {
		return errNotOpenRead
	}
	return s.checkFile(q, h.file)
}

func (s *session) checkFileName(q *request, name string) error {
	if s.handles.full(false) {
		return errTooManyOpen
	}
	file, err := s.files.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return s.checkFile(q, file)
}

// checkFile hashes a part of a file, in blocks if the client wants one hash for each.
func (s *session) checkFile(q *request, file fs.File) error {
	wanted, offset, n, block := q.bytes(), q.offset(), q.offset(), int64(q.u32())
	if q.err != nil {
		return q.err
	}
	name, sum := pickHash(string(wanted))
	if sum == nil {
		return errUnknownHash
	}
	n, err := rest(file, offset, n)
	if err != nil {
		return err
	}
	switch {
	case block == 0:
		block = max(n, 1)
	case block < 256: // the least that the draft allows
		return iofs.ErrInvalid
	}
	if (n-1)/block >= int64(maxHashes/sum.Size()) {
		return errTooMuchAsked
	}
	var sums []byte
	for {
		sum.Reset()
		err := s.pieces(file, offset, min(n, block), func(piece []byte) error {
			sum.Write(piece)
			return nil
		})
		if err != nil {
			return err
		}
		sums = sum.Sum(sums)
		if n <= block {
			break
		}
		offset, n = offset+block, n-block
	}
	s.answer(q, fxpExtendedReply, len(sums)+smallAnswer)
	if q.called == paramikoCheckFile {
		s.out = appendString(s.out, q.called)
	}
	s.out = appendString(s.out, name)
	s.out = append(s.out, sums...)
	return nil
}

const (
	paramikoCheckFile = "check-file"

	maxHashes = 128 << 10 // bytes of all hashes in one answer
)

// pickHash returns the first of a comma-separated list of names that is known.
func pickHash(list string) (string, hash.Hash) {
	for name := range strings.SplitSeq(list, ",") {
		if start, ok := hashes[name]; ok {
			return name, start()
		}
	}
	return "", nil
}
