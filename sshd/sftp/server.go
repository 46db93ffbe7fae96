// Package sftp is the server's side of SFTP version 3 (draft-ietf-secsh-filexfer-02),
// as OpenSSH speaks it, on any connection and any fs.FS. It knows nothing of SSH,
// users or policy: the FS decides who may do what.
//
// Start at Serve. The requests are listed in requests.go, the extensions in
// extensions.go. Each is a method that parses the request, does the work and answers.
package sftp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
)

// Options of a session. The zero value works.
type Options struct {
	// User is the name of the user, whose home is "/" for ~NAME and home-directory.
	User string
	// LinkFirst is the order of SYMLINK in the draft: the name of the link and then
	// its target. OpenSSH's server, and so nearly every client, has the other order.
	LinkFirst bool
	// Names, if set, returns the name of a user or a group by its number, "" if the user
	// may not learn it. Clients then see the number.
	Names Names
	// Copied, if set, is called after every copy within the server, with how many bytes
	// of the file name were written to target.
	Copied func(name, target string, n int64, err error)
	// Unseen, if set, is called when the server has read or written bytes of an open
	// file itself, for a copy or a hash: the client has neither received nor sent them.
	Unseen func(f fs.File, read, written int64)
	// Done, if set, ends copies and hashes of large files early when it is closed.
	// Everything else ends when reading from the connection fails.
	Done <-chan struct{}
	// Log, if set, gets one line at level trace for every request: its name, the
	// files it is about, its outcome as the client sees it, and how long it took.
	Log hclog.Logger
}

// Names returns the name of a user or a group.
type Names func(id uint32, group bool) string

// Serve answers a client's requests one after the other, in their order, until rw
// ends. It returns nil when rw ends between two requests, and otherwise the error of
// the connection or the stream. Errors of files go to the client only. Serve closes
// neither rw nor files. It aborts the files that the client left open.
//
// A session uses two buffers of 288 KiB (three while it copies or hashes), and none
// while it waits for the client. It does not read more requests from a client that
// does not read its answers.
func Serve(rw io.ReadWriter, files fs.FS, opt Options) error {
	s := &session{rw: rw, files: files, opt: opt}
	defer s.close()
	for {
		packet, err := s.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = s.serve(packet)
		}
		if err != nil {
			return err
		}
	}
}

// session is one conversation. Only the goroutine of Serve touches it.
type session struct {
	rw      io.ReadWriter
	files   fs.FS
	opt     Options
	handles handles
	ready   bool // INIT has been answered

	in         *buffer // bytes of the client; nil while there are none
	start, end int     // the part of in that has not been served yet
	out        []byte  // answers not written yet, in outBuffer
	outBuffer  *buffer // nil while there are none
	last       int     // where the last answer begins in out
	written    error   // of the first write that failed
	request    request // the one being served; here so that it is not allocated
	first      [512]byte
}

// request is a request being served. A handler reads its fields in order, then
// checks err once.
type request struct {
	reader
	id       uint32
	answered bool // an answer has been started
	dot      bool // the last element of the last name was ".", which can be neither made nor removed

	// For the log: what the request is called, which files it is about, and the text
	// of the status it was answered with, "" if by something else.
	called  string
	names   [2]string
	outcome string
}

// about stores the name of a file that q is about.
func (q *request) about(name string) {
	if q.names[0] == "" {
		q.names[0] = name
	} else {
		q.names[1] = name
	}
}

// buffer has room for the longest packet and for more that has arrived with it, so
// that one read from the connection takes many small packets.
type buffer [lengthSize + maxPacket + 32<<10]byte

const lengthSize = 4 // of the length field before a packet

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// next returns the next whole packet, without its length. It is valid until the next
// call. Answers are written when no other whole packet has arrived.
func (s *session) next() ([]byte, error) {
	for {
		need, have := lengthSize, s.end-s.start
		if have >= lengthSize {
			n := binary.BigEndian.Uint32(s.in[s.start:])
			if n == 0 || n > maxPacket {
				return nil, fmt.Errorf("reading a request: length %d is not within 1 and %d", n, maxPacket)
			}
			need += int(n)
		}
		if have >= need {
			packet := s.in[s.start+lengthSize : s.start+need]
			s.start += need
			return packet, nil
		}
		if err := s.flush(); err != nil {
			return nil, err
		}
		if err := s.fill(need - have); err != nil {
			return nil, err
		}
	}
}

// fill reads at least n more bytes. At the end of the input it returns io.EOF if no
// packet has begun.
func (s *session) fill(n int) error {
	if s.start == s.end {
		return s.wait()
	}
	s.end = copy(s.in[:], s.in[s.start:s.end])
	s.start = 0
	got, err := io.ReadAtLeast(s.rw, s.in[s.end:], n)
	s.end += got
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("reading a request: %w", err)
	}
	return nil
}

// wait reads the first bytes after a pause. While it waits, other sessions can use
// the buffers.
func (s *session) wait() error {
	s.release()
	n, err := io.ReadAtLeast(s.rw, s.first[:], 1)
	if err == io.EOF {
		return err
	}
	if err != nil {
		return fmt.Errorf("reading a request: %w", err)
	}
	s.in = buffers.Get().(*buffer)
	s.start, s.end = 0, copy(s.in[:], s.first[:n])
	return nil
}

// serve answers one packet. An error ends the session.
func (s *session) serve(packet []byte) error {
	kind, body := packet[0], packet[1:]
	if kind == fxpInit {
		return s.greet(body)
	}
	if !s.ready {
		return fmt.Errorf("request of type %d before INIT", kind)
	}
	if len(body) < 4 {
		return fmt.Errorf("request of type %d without an id", kind)
	}
	r, q := &requests[kind], &s.request
	*q = request{id: binary.BigEndian.Uint32(body), reader: reader{b: body[4:]}, called: r.Name}
	traced := s.opt.Log != nil && s.opt.Log.IsTrace()
	var began time.Time
	if traced {
		began = time.Now()
	}
	err := fs.ErrNotSupported
	if r.serve != nil {
		err = r.serve(s, q)
	}
	if err != nil && q.answered {
		s.out = s.out[:s.last] // the answer that was begun is replaced
	}
	if err != nil || !q.answered {
		s.status(q, err)
	}
	s.finish()
	if traced {
		s.trace(kind, time.Since(began))
	}
	return s.written
}

// trace logs the request that was just served. Names are quoted: a client chooses
// them.
func (s *session) trace(kind byte, took time.Duration) {
	q := &s.request
	pairs := []any{"request", q.called, "type", kind, "id", q.id}
	for i, key := range []string{"name", "target"} {
		if q.names[i] != "" {
			pairs = append(pairs, key, hclog.Quote(q.names[i]))
		}
	}
	q.outcome = cmp.Or(q.outcome, "answered")
	s.opt.Log.Trace("sftp request", append(pairs, "outcome", q.outcome, "duration_us", took.Microseconds())...)
}

// greet answers INIT, the only packet without an id. A second INIT has no possible
// answer and ends the session.
func (s *session) greet(body []byte) error {
	if s.ready {
		return errors.New("second INIT")
	}
	if len(body) < 4 {
		return errors.New("INIT without a version")
	}
	s.ready = true
	s.begin(fxpVersion, smallAnswer)
	s.out = appendU32(s.out, version)
	for _, e := range extensions {
		s.out = appendString(s.out, e.Name)
		s.out = appendString(s.out, e.Version)
	}
	s.finish()
	return nil
}

const version = 3

// smallAnswer is enough bytes for every answer without data of a file or entries of a
// directory: two names and the fields around them.
const smallAnswer = 2*maxName + 1024

// begin makes room for an answer of up to size bytes after its type and starts
// it. finish ends it.
func (s *session) begin(kind byte, size int) {
	size += lengthSize + 1
	if len(s.out)+size > lengthSize+maxPacket {
		s.flush()
	}
	if s.outBuffer == nil {
		s.outBuffer = buffers.Get().(*buffer)
		s.out = s.outBuffer[:0]
	}
	s.last = len(s.out)
	s.out = append(s.out, 0, 0, 0, 0, kind)
}

func (s *session) finish() {
	binary.BigEndian.PutUint32(s.out[s.last:], uint32(len(s.out)-s.last-lengthSize))
}

// answer starts an answer to q of up to size bytes after its id.
func (s *session) answer(q *request, kind byte, size int) {
	q.answered = true
	s.begin(kind, size+4)
	s.out = appendU32(s.out, q.id)
}

func (s *session) status(q *request, err error) {
	st := statusOf(err)
	q.outcome = st.text
	s.answer(q, fxpStatus, smallAnswer)
	s.out = appendU32(s.out, st.code)
	s.out = appendString(s.out, st.text)
	s.out = appendString(s.out, "en")
}

// flush writes the answers so far. After a failed write, answers are dropped and every
// flush returns that error.
func (s *session) flush() error {
	if len(s.out) > 0 && s.written == nil {
		if _, err := s.rw.Write(s.out); err != nil {
			s.written = fmt.Errorf("writing answers: %w", err)
		}
	}
	s.out = s.out[:0]
	return s.written
}

// name reads a name and returns it as package fs wants it: absolute and clean, but
// with a slash at its end if the client wrote one, for that is the name of a
// directory.
func (s *session) name(q *request) string {
	name := rawName(s, q)
	if q.err != nil {
		return ""
	}
	clean, err := fs.Clean(s.files, name)
	if err != nil {
		q.fail(err)
		return ""
	}
	q.dot = clean != "/" && strings.HasSuffix(strings.TrimRight("/"+name, "/"), "/.")
	if clean != "/" && (strings.HasSuffix(name, "/") || q.dot) {
		clean += "/"
	}
	q.about(clean)
	return clean
}

// file reads a handle of a file. If no such handle is open, file fails q and returns nil.
func (s *session) file(q *request) *handle { return s.handle(q, false) }

// dir is file for a directory.
func (s *session) dir(q *request) *handle { return s.handle(q, true) }

func (s *session) handle(q *request, dir bool) *handle {
	h := s.handles.find(q.bytes())
	if h == nil || (h.dir != nil) != dir {
		q.fail(errBadHandle)
		return nil
	}
	q.about(h.name)
	return h
}

// more returns an error if long work must stop. It is called between two pieces.
func (s *session) more() error {
	select {
	case <-s.opt.Done:
		return errSessionIsOver
	default:
		return nil
	}
}

// release gives the buffers to other sessions. They must be empty.
func (s *session) release() {
	if s.in != nil {
		buffers.Put(s.in)
		s.in = nil
	}
	if s.outBuffer != nil {
		buffers.Put(s.outBuffer)
		s.out, s.outBuffer = nil, nil
	}
}

func (s *session) close() {
	s.handles.close()
	s.flush() // the answers from before the end of the session
	s.release()
}
