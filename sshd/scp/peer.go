package scp

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The first byte of an answer, or of a record that is an error.
const (
	tagOK    = 0
	tagError = 1 // for this file; the transfer continues
	tagFatal = 2
)

const (
	bufferSize = 256 << 10
	readSize   = 32 << 10 // for records; larger reads bypass the buffer
	maxLine    = 4 << 10  // of a record; OpenSSH's are at most 2 KiB
	maxText    = 1 << 10  // of an error text, for clients with small buffers
)

// errEnded means that the client left within a record or a file, or before it had
// received everything.
var errEnded = fmt.Errorf("client went away: %w", io.ErrUnexpectedEOF)

// A fatal error is sent to the client and ends the transfer.
type fatal struct {
	text string
	err  error
}

func (f fatal) Error() string { return f.text }
func (f fatal) Unwrap() error { return f.err }

// protocolError is the error for bytes that are no message of the protocol.
func protocolError(why string) error { return fatal{text: "protocol error: " + why} }

// A peer is the client. What is written to it stays in out until out is full or there
// is nothing more to read from the client, so that not every answer is a packet.
type peer struct {
	ctx     context.Context
	rw      io.ReadWriter
	in      *bufio.Reader
	out     []byte // pooled, with room up to its capacity
	lost    error  // why writing has ended
	verbose func(line string)

	failures int
	first    error // of the failures

	log     hclog.Logger
	outcome string // of the file being transferred, as the client sees it; "" as long as nothing has failed
}

// buffers is the pool of large buffers, each of bufferSize.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// readers is the pool of the buffers that records are read with.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readSize) }}

func newPeer(ctx context.Context, rw io.ReadWriter, log hclog.Logger) *peer {
	p := &peer{ctx: ctx, rw: rw, log: log, in: readers.Get().(*bufio.Reader)}
	p.in.Reset(p)
	p.out = buffers.Get().(*[bufferSize]byte)[:0]
	return p
}

// release gives the buffers back. The peer cannot be used any more.
func (p *peer) release() {
	p.in.Reset(nil)
	readers.Put(p.in)
	buffers.Put((*[bufferSize]byte)(p.out[:bufferSize]))
	p.in, p.out = nil, nil
}

// Read reads from the client, for in. Before it waits it sends what the client may be
// waiting for.
func (p *peer) Read(b []byte) (int, error) {
	if err := p.flush(); err != nil {
		return 0, err
	}
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.rw.Read(b)
}

func (p *peer) flush() error {
	if len(p.out) == 0 || p.lost != nil {
		return p.lost
	}
	if _, err := p.rw.Write(p.out); err != nil {
		p.lost = ended("write to", err)
	}
	p.out = p.out[:0]
	return p.lost
}

// room returns the unused part of out, which has at least n bytes.
func (p *peer) room(n int) ([]byte, error) {
	if cap(p.out)-len(p.out) < n {
		if err := p.flush(); err != nil {
			return nil, err
		}
	}
	return p.out[len(p.out):cap(p.out)], nil
}

// record writes one line or answer. If it cannot be sent, the next read fails.
func (p *peer) record(line string) {
	if _, err := p.room(len(line)); err == nil {
		p.out = append(p.out, line...)
	}
}

func (p *peer) ok() { p.record(string(rune(tagOK))) }

// tell sends the text of an error.
func (p *peer) tell(tag byte, text string) {
	text = printable(text)
	if len(text) > maxText {
		text = printable(text[:maxText]) // may end within a character
	}
	p.record(string(rune(tag)) + "scp: " + text + "\n")
}

// fail sends an error about a file to the client. The transfer continues.
func (p *peer) fail(name string, err error) { p.failText(name+": "+reason(err), err) }

func (p *peer) failText(text string, err error) {
	p.outcome = printable(text)
	p.tell(tagError, text)
	p.note(fmt.Errorf("%s: %w", printable(text), err))
}

// note counts a failure that the client knows of.
func (p *peer) note(err error) {
	if p.failures == 0 {
		p.first = err
	}
	p.failures++
}

// begin starts a file or directory for trace.
func (p *peer) begin() time.Time {
	p.outcome = ""
	return time.Now()
}

// trace logs the file or directory that has been transferred. Its name is quoted: a
// client may have chosen it.
func (p *peer) trace(record, name string, began time.Time) {
	if p.log == nil || !p.log.IsTrace() {
		return
	}
	p.outcome = cmp.Or(p.outcome, "OK")
	p.log.Trace("scp record", "record", record, "name", hclog.Quote(name), "outcome", p.outcome, "duration_us", time.Since(began).Microseconds())
}

// errRefused is an answer that is not OK. It has been counted as a failure.
var errRefused = errors.New("the client reports an error")

// answer reads the client's answer. The error is errRefused if the client cannot go on
// with this file, and another one if the transfer cannot go on.
func (p *peer) answer() error {
	tag, err := p.in.ReadByte()
	if err != nil {
		return ended("read from", err)
	}
	if tag == tagOK {
		return nil
	}
	line, err := p.line()
	if err != nil {
		return err
	}
	switch tag {
	case tagError:
		err = fmt.Errorf("%w: %s", errRefused, printable(line))
		p.outcome = err.Error()
		p.note(err)
		return err
	case tagFatal:
		return fmt.Errorf("the client gave up: %s", printable(line))
	}
	return protocolError("unexpected answer")
}

// line reads up to a newline, which is not part of the result.
func (p *peer) line() (string, error) {
	line, err := p.in.ReadSlice('\n')
	if len(line) > maxLine {
		return "", protocolError("line too long")
	}
	if err != nil {
		return "", ended("read from", err)
	}
	return string(line[:len(line)-1]), nil
}

// ended returns errEnded for the end of the input, and else err.
func ended(doing string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnded
	}
	return fmt.Errorf("%s the client: %w", doing, err)
}
