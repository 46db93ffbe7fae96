package sshd

import (
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A sharedStderr is a channel to whose standard error several goroutines may write: that
// of the service, and those that tell the person that rights have changed or that the
// session has ended. The SSH library has one buffer for standard error and no lock: of
// two texts at once one could be sent twice, or a mixture of both.
type sharedStderr struct {
	ssh.Channel
	writing sync.Mutex
}

// Stderr returns a writer. A write waits until the client has taken those before it.
func (c *sharedStderr) Stderr() io.ReadWriter { return stderrOf{c.Channel.Stderr(), c} }

// CloseWrite sends EOF. Only the goroutine that writes standard output may call it. While
// another one writes standard error it sends nothing, rather than wait for the client: the
// CLOSE that comes next ends the data, too (RFC 4254, section 5.3).
func (c *sharedStderr) CloseWrite() error {
	if !c.writing.TryLock() {
		return nil
	}
	defer c.writing.Unlock()
	return c.Channel.CloseWrite()
}

type stderrOf struct {
	io.ReadWriter
	of *sharedStderr
}

func (s stderrOf) Write(p []byte) (int, error) {
	s.of.writing.Lock()
	defer s.of.writing.Unlock()
	return s.ReadWriter.Write(p)
}
