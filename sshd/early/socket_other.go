//go:build !unix

package early

import (
	"errors"
	"net"
)

// A socket is read as it is where waiting without a buffer is not possible.
type socket struct{}

func (socket) open(*net.TCPConn) {}
func (socket) usable() bool      { return false }

func (socket) read() (*[readSize]byte, int, error) { return nil, 0, errors.ErrUnsupported }
