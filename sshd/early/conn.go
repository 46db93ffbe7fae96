package early

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"sync"
	"syscall"
)

// A Conn is a connection for ssh.NewServerConn. On TCP it reads from the socket
// in pieces of up to 256 KiB. While it waits it holds no buffers. Read is for one
// goroutine at a time, and so is Write; everything else is safe for concurrent use.
type Conn struct {
	net.Conn
	tcp *net.TCPConn // what Conn writes to, nil if that is something else

	raw    syscall.RawConn              // the socket, to wait for data without a buffer; nil: Conn reads
	try    func(fd uintptr) (done bool) // readOnce, bound one time
	unread []byte                       // read from the socket, but not yet by the library
	buf    *[readSize]byte              // the buffer that unread is a part of, if it is from the pool
	failed error                        // of readOnce

	swallow []byte // the identification string, which has been sent already

	// Ended, if set, is called when nothing more can be read. It is set before the first
	// Read.
	Ended func()
}

// A carrier is a connection that has read the first bytes of a TCP connection, such as
// a PROXY protocol header, and passes the rest on.
type carrier interface {
	TCPConn() (*net.TCPConn, bool)
}

// newConn wraps nc without a Look. The pieces of a packet are written at once if nc is
// a *net.TCPConn or a carrier of one. Reads are larger if nc is a *net.TCPConn; a
// carrier may have read ahead. Any other type, even if it embeds one of these, is used as it is.
func newConn(nc net.Conn) *Conn {
	c := &Conn{Conn: nc}
	switch nc := nc.(type) {
	case *net.TCPConn:
		c.tcp = nc
		if raw, err := nc.SyscallConn(); err == nil {
			c.raw, c.try = raw, c.readOnce
		}
	case carrier:
		c.tcp, _ = nc.TCPConn()
	}
	return c
}

const readSize = 256 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// Read reads what has arrived, up to len(p).
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil && c.Ended != nil {
		c.Ended()
	}
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		if c.raw == nil || len(p) >= readSize || len(p) == 0 {
			return c.Conn.Read(p)
		}
		c.failed = nil
		err := c.raw.Read(c.try)
		if err = cmp.Or(err, c.failed); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	if len(c.unread) == 0 {
		c.release()
	}
	return n, nil
}

func (c *Conn) release() {
	c.unread = nil
	if c.buf != nil {
		readBuffers.Put(c.buf)
		c.buf = nil
	}
}

// Write writes p. The library writes its identification string first, in one piece:
// that string has been sent, and is not written again.
func (c *Conn) Write(p []byte) (int, error) {
	switch {
	case len(c.swallow) > 0:
		if !bytes.Equal(p, c.swallow) {
			return 0, errVersion
		}
		c.swallow = nil
		return len(p), nil
	case c.tcp != nil:
		return c.tcp.Write(p)
	}
	return c.Conn.Write(p)
}

// smallPacket is the size up to which the pieces of a packet are copied before they are
// written, which costs less than a list of them.
const smallPacket = 4 << 10

var smallBuffers = sync.Pool{New: func() any { return new([smallPacket]byte) }}

// WriteBuffers writes all of pieces, in TCP with one system call. The SSH library uses
// it for a packet if it has Berth's patches.
func (c *Conn) WriteBuffers(pieces net.Buffers) error {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	if size > smallPacket && c.tcp != nil {
		_, err := pieces.WriteTo(c.tcp)
		return err
	}
	small := smallBuffers.Get().(*[smallPacket]byte)
	defer smallBuffers.Put(small)
	packet := small[:0]
	for _, p := range pieces {
		packet = append(packet, p...)
	}
	_, err := c.Write(packet)
	return err
}

// ReadsAhead reports whether small reads cost no system call.
func (c *Conn) ReadsAhead() bool { return c.raw != nil }

var errVersion = errors.New("the library identifies itself with another string than the one sent")
