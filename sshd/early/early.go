// Package early reads what an SSH client sends first, before the SSH library does any
// work: how the client identifies itself and which algorithms it lists.
//
// Look exchanges the identification strings and reads the client's first packet,
// KEXINIT, which is not encrypted. It closes connections of probes and of clients that
// do not speak SSH. The Conn that it returns is for ssh.NewServerConn. Conn drops the
// library's own identification string, because it has been sent. It gives the library
// what has been read, and then reads larger pieces than the library asks for. The caller
// chooses algorithms, limits and logs.
package early

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// The errors of Look wrap one of these.
var (
	ErrProbe   = errors.New("closed before saying anything")
	ErrClosed  = errors.New("closed before identifying itself")
	ErrTimeout = errors.New("did not identify itself in time")
	ErrNotSSH  = errors.New("does not speak SSH 2")
	ErrTooLong = errors.New("identification string too long")
)

const (
	maxVersion = 255   // of an identification string, with CR LF: RFC 4253, section 4.2
	maxPacket  = 35000 // every SSH packet that must be taken: RFC 4253, section 6.1
	maxRefusal = time.Second
)

// Look writes version, our identification string without CR LF, and reads the
// client's and its KEXINIT. The client has until deadline to identify itself (no
// limit if zero); deadline then stays set on the Conn. Look waits for KEXINIT no
// longer than wait. If the client waits for ours, or sends something else, the
// library handles it, and Hello.KexInit is false. After an error nc is closed.
func Look(nc net.Conn, version string, deadline time.Time, wait time.Duration) (*Conn, Hello, error) {
	l := look{nc: nc}
	hello, err := l.exchange(version, deadline, wait)
	if err != nil {
		if errors.Is(err, ErrNotSSH) || errors.Is(err, ErrTooLong) {
			nc.SetWriteDeadline(time.Now().Add(maxRefusal))
			io.WriteString(nc, "Invalid SSH identification string.\r\n") // as OpenSSH does
		}
		nc.Close()
		return nil, hello, err
	}
	c := newConn(nc)
	c.swallow = []byte(version + "\r\n")
	c.unread = l.got
	return c, hello, nil
}

// A look has the bytes that the client has sent so far.
type look struct {
	nc  net.Conn
	got []byte
}

func (l *look) exchange(version string, deadline time.Time, wait time.Duration) (Hello, error) {
	var h Hello
	if err := l.nc.SetDeadline(deadline); err != nil {
		return h, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	// If the client is gone, the next read fails.
	io.WriteString(l.nc, version+"\r\n")
	end, err := l.identification()
	if err != nil {
		return h, err
	}
	h.Version = printable(bytes.TrimRight(l.got[:end], "\r\n"))

	if limit := time.Now().Add(wait); deadline.IsZero() || limit.Before(deadline) {
		l.nc.SetReadDeadline(limit)
	}
	err = l.kexInit(&h, end)
	l.nc.SetReadDeadline(deadline)
	return h, err
}

// identification reads the first line and returns where it ends.
func (l *look) identification() (end int, err error) {
	for {
		if err := check(l.got); err != nil {
			return 0, err
		}
		if i := bytes.IndexByte(l.got, '\n'); i >= 0 && i < maxVersion {
			return i + 1, nil
		}
		if len(l.got) >= maxVersion {
			return 0, ErrTooLong
		}
		switch err := l.read(); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, ErrTimeout
		case len(l.got) == 0:
			return 0, ErrProbe
		default:
			return 0, fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
}

// kexInit reads the packet at start. If it does not arrive in time, or is another
// packet, the library handles the client.
func (l *look) kexInit(h *Hello, start int) error {
	for {
		payload, complete, err := firstPacket(l.got[start:])
		if err != nil {
			return err
		}
		if complete {
			h.parse(payload)
			return nil
		}
		if err := l.read(); err != nil {
			return nil // if the client has left, the library gets the error again
		}
	}
}

// read adds what the client sends. In total it reads no more than the longest line and
// packet and what arrived with them.
func (l *look) read() error {
	const piece = 2 << 10 // most clients' line and KEXINIT
	if cap(l.got)-len(l.got) < piece/2 {
		l.got = append(make([]byte, 0, 2*len(l.got)+piece), l.got...)
	}
	n, err := l.nc.Read(l.got[len(l.got):cap(l.got)])
	l.got = l.got[:len(l.got)+n]
	if n > 0 {
		return nil
	}
	return err
}
