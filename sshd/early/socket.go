package early

import (
	"io"
	"os"
	"syscall"
)

// readOnce is one read(2), which does not block, into a buffer of the pool. It reports
// false if no data has arrived.
func (c *Conn) readOnce(fd uintptr) bool {
	buf := readBuffers.Get().(*[readSize]byte)
	n, err := syscall.Read(int(fd), buf[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), buf[:])
	}
	if n > 0 && err == nil {
		c.buf, c.unread = buf, buf[:n]
		return true
	}
	readBuffers.Put(buf)
	switch err {
	case nil:
		c.failed = io.EOF
	case syscall.EAGAIN:
		return false
	default:
		c.failed = os.NewSyscallError("read", err)
	}
	return true
}
