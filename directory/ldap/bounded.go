package ldap

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// Bounds on one message of a server. The decoder needs about 200 bytes for each
// element, so the number of elements is bounded too.
const (
	maxMessage  = 16 << 20
	maxElements = 400_000
)

// A boundedConn fails to read a message that is too long, has too many elements, or
// is not BER as LDAP allows it (RFC 4511, section 5.1: definite lengths only).
type boundedConn struct {
	net.Conn
	scan berScanner
	read atomic.Int64 // bytes so far
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	if bad := c.scan.write(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// A berScanner checks a stream of BER elements without storing it.
type berScanner struct {
	header   []byte // of the element being read, as far as it came
	skip     int    // bytes of contents still to come of a primitive element
	left     int    // bytes still to come of the message; 0: between messages
	elements int    // of the message
}

func (s *berScanner) write(p []byte) error {
	for len(p) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(p))
			s.skip -= n
			s.left -= n
			p = p[n:]
			continue
		}
		s.header = append(s.header, p[0])
		p = p[1:]
		length, complete, err := berLength(s.header)
		if err != nil {
			return err
		}
		if complete {
			if err := s.element(length); err != nil {
				return err
			}
		}
	}
	return nil
}

// element takes in a complete header.
func (s *berScanner) element(length int) error {
	size := len(s.header)
	constructed := s.header[0]&0x20 != 0
	s.header = s.header[:0]
	if s.left == 0 {
		if length > maxMessage {
			return fmt.Errorf("message of %d bytes is longer than %d", length, maxMessage)
		}
		s.left, s.elements = length, 0
	} else {
		s.left -= size
	}
	if s.elements++; s.elements > maxElements {
		return fmt.Errorf("message has more than %d elements", maxElements)
	}
	if length > s.left {
		return errors.New("element is longer than its message")
	}
	if !constructed {
		s.skip = length
	}
	return nil
}

// berLength reads tag and length at the start of an element; complete is false
// while bytes are missing.
func berLength(h []byte) (length int, complete bool, err error) {
	if h[0]&0x1f == 0x1f {
		return 0, false, errors.New("element with a long tag")
	}
	if len(h) < 2 {
		return 0, false, nil
	}
	if h[1] < 0x80 {
		return int(h[1]), true, nil
	}
	n := int(h[1] & 0x7f)
	if n == 0 || n > 4 {
		return 0, false, errors.New("element with a length that LDAP does not allow")
	}
	if len(h) < 2+n {
		return 0, false, nil
	}
	for _, b := range h[2:] {
		length = length<<8 | int(b)
	}
	return length, true, nil
}
