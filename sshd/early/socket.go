package early

import (
	"cmp"
	"io"
	"os"
	"syscall"
)

// A socket waits for data without a buffer, and takes one when there is data to read.
type socket struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool) // s.once, bound one time

	buf *[readSize]byte
	n   int
	err error
}

func (s *socket) usable() bool { return s.raw != nil }

// read waits for data, as long as the read deadline allows, and returns it in a
// buffer of the pool.
func (s *socket) read() (*[readSize]byte, int, error) {
	err := s.raw.Read(s.try)
	buf, n := s.buf, s.n
	err = cmp.Or(err, s.err)
	s.buf, s.n, s.err = nil, 0, nil
	if err != nil {
		return nil, 0, err
	}
	return buf, n, nil
}

// once is one read(2), which does not block. It reports false if no data has arrived.
func (s *socket) once(fd uintptr) bool {
	buf := readBuffers.Get().(*[readSize]byte)
	n, err := syscall.Read(int(fd), buf[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), buf[:])
	}
	if n > 0 && err == nil {
		s.buf, s.n = buf, n
		return true
	}
	readBuffers.Put(buf)
	switch err {
	case nil:
		s.err = io.EOF
	case syscall.EAGAIN:
		return false
	default:
		s.err = os.NewSyscallError("read", err)
	}
	return true
}
