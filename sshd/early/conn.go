package early

import (
	"bytes"
	"errors"
	"net"
	"sync"
)

// A Conn is a connection for ssh.NewServerConn. On TCP it reads from the socket
// in pieces of up to 256 KiB and joins the two writes that the library makes for one
// packet. While it waits it holds no buffers. Read is for one goroutine at a time;
// everything else is safe for concurrent use.
type Conn struct {
	net.Conn
	tcp *net.TCPConn // what Conn writes to, nil if that is something else

	unread []byte          // read from the socket, but not yet by the library
	buf    *[readSize]byte // what unread is part of, if it is from the pool
	socket socket

	swallow []byte // the identification string, which was sent and is not written again
	w       joiner
}

// A carrier is a connection that has read the first bytes of a TCP connection, such as
// a PROXY protocol header, and passes the rest on.
type carrier interface {
	TCPConn() (*net.TCPConn, bool)
}

// NewConn wraps nc without a Look. Writes are joined if nc is a *net.TCPConn or a
// carrier of one. Reads are larger if nc is a *net.TCPConn; a carrier may have read
// ahead. Any other type, even if it embeds one of these, is used as it is.
func NewConn(nc net.Conn) *Conn {
	c := &Conn{Conn: nc}
	switch nc := nc.(type) {
	case *net.TCPConn:
		c.tcp = nc
		c.socket.open(nc)
	case carrier:
		c.tcp, _ = nc.TCPConn()
	}
	return c
}

// readSize is how much is read from a socket at once.
const readSize = 256 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// Read reads what has arrived, up to len(p).
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		if !c.socket.usable() || len(p) >= readSize || len(p) == 0 {
			return c.Conn.Read(p)
		}
		buf, n, err := c.socket.read() // waits without a buffer
		if err != nil {
			return 0, err
		}
		c.buf, c.unread = buf, buf[:n]
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	if len(c.unread) == 0 {
		c.release()
	}
	return n, nil
}

// release gives the buffer back.
func (c *Conn) release() {
	c.unread = nil
	if c.buf != nil {
		readBuffers.Put(c.buf)
		c.buf = nil
	}
}

// Write writes p. A piece that looks like the first half of a packet may be held back
// for a moment. If sending it then fails, the next Write returns the error.
func (c *Conn) Write(p []byte) (int, error) {
	c.w.Lock()
	defer c.w.Unlock()
	skipped := 0
	if len(c.swallow) > 0 {
		n := min(len(p), len(c.swallow))
		if !bytes.Equal(p[:n], c.swallow[:n]) {
			return 0, errVersion
		}
		c.swallow, p, skipped = c.swallow[n:], p[n:], n
		if len(p) == 0 {
			return skipped, nil
		}
	}
	if c.tcp == nil {
		n, err := c.Conn.Write(p)
		return skipped + n, err
	}
	n, err := c.w.write(c.tcp, p)
	return skipped + n, err
}

var errVersion = errors.New("the library identifies itself with another string than the one sent")

// Close sends what was held back, if it can be sent at once, and closes the
// connection.
func (c *Conn) Close() error {
	if c.tcp != nil {
		c.w.close(c.tcp)
	}
	return c.Conn.Close()
}
