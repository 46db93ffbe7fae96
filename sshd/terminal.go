package sshd

import (
	"bufio"
	"errors"
	"io"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// A terminal is the client's, as its pty-req describes it (RFC 4254, section
// 6.2). With one, the echo is ours.
type terminal struct{ *term.Terminal }

func newTerminal(ch io.ReadWriter, payload []byte) *terminal {
	t := &terminal{term.NewTerminal(ch, "")}
	var req struct {
		Term          string
		Columns, Rows uint32
		Rest          []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(payload, &req) == nil {
		t.size(req.Columns, req.Rows)
	}
	return t
}

func (t *terminal) resize(payload []byte) {
	var req struct {
		Columns, Rows uint32
		Rest          []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(payload, &req) == nil {
		t.size(req.Columns, req.Rows)
	}
}

func (t *terminal) size(columns, rows uint32) {
	if columns > 0 && columns < 10000 && rows < 10000 {
		t.SetSize(int(columns), int(rows))
	}
}

// longestLine is more than any directory takes for a password.
const longestLine = 1024

// A prompter asks for one line after another: with a terminal unseen and
// editable, else as lines of plain input.
type prompter struct {
	out  io.Writer
	in   *bufio.Reader
	term *terminal
}

func (s *session) prompter() *prompter {
	return &prompter{out: s.ch, in: bufio.NewReaderSize(s.ch, longestLine), term: s.pty}
}

// ask shows prompt and returns the line that follows, without its end. The
// last line of plain input need not have one. Ctrl-C and Ctrl-D are io.EOF.
func (p *prompter) ask(prompt string) (string, error) {
	if p.term != nil {
		line, err := p.term.ReadPassword(prompt)
		if errors.Is(err, term.ErrPasteIndicator) {
			err = nil
		}
		return line, err
	}
	if _, err := io.WriteString(p.out, prompt); err != nil {
		return "", err
	}
	line, err := p.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errLongLine
	case errors.Is(err, io.EOF) && len(line) > 0:
	case err != nil:
		return "", err
	default:
		line = line[:len(line)-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return string(line), nil
}

var errLongLine = errors.New("line too long")
