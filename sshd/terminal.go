package sshd

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// newTerminal returns the client's terminal, as its pty-req describes it (RFC 4254,
// section 6.2). With a terminal, the server sends the echo.
func newTerminal(ch io.ReadWriter, payload []byte) *term.Terminal {
	t := term.NewTerminal(ch, "")
	var req struct {
		Term string
		Size []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(payload, &req) == nil {
		resize(t, req.Size)
	}
	return t
}

// resize sets the size that the payload of a window-change begins with.
func resize(t *term.Terminal, payload []byte) {
	var size struct {
		Columns, Rows uint32
		Rest          []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(payload, &size) == nil && size.Columns > 0 && size.Columns < 10000 && size.Rows < 10000 {
		t.SetSize(int(size.Columns), int(size.Rows))
	}
}

// longestLine is more bytes than a password has in any directory.
const longestLine = 1024

// ask shows prompt and returns the line that follows, without its end. At a terminal the
// line is not shown and can be edited. Otherwise it comes from in, whose last line need
// not have an end. Ctrl-C and Ctrl-D are io.EOF.
func (s *session) ask(in *bufio.Reader, prompt string) (string, error) {
	if s.pty != nil {
		line, err := s.pty.ReadPassword(prompt)
		if errors.Is(err, term.ErrPasteIndicator) {
			err = nil
		}
		return line, err
	}
	if _, err := io.WriteString(s.ch, prompt); err != nil {
		return "", err
	}
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errors.New("line too long")
	case errors.Is(err, io.EOF) && len(line) > 0:
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}
