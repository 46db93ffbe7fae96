// Package audit keeps a record of events: a file whose lines are a chain that can be
// verified, and servers elsewhere that get its lines. Search and Verifier read it. Start
// at Open.
package audit

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
)

// File is a Queue that writes one JSON object a line to a file or a standard
// stream.
type File struct {
	*Queue
	out      *output
	mark     string       // the file that exists while a server runs; empty: none
	forwards []*Forwarder // of its lines
}

// Open begins to write to s.File, which is made with mode 0640 if it is
// missing. s must have passed Check. log has a line when writing fails and when it
// works again. Close must be called.
func Open(s Settings, log hclog.Logger) (*File, error) {
	out, err := openOutput(s, log)
	if err != nil {
		return nil, fmt.Errorf("open the events file: %w", err)
	}
	return start(s, out, log), nil
}

func start(s Settings, out *output, log hclog.Logger) *File {
	var to destination = out
	if out.format != nil {
		to = translator{out, out.format}
	}
	f := &File{Queue: startQueue("file", s.File, nil, &s, to, log), out: out}
	out.emit = f.Emit
	if out.chain != nil {
		out.chain.due = time.AfterFunc(signAfter, f.wake.poke)
	}
	return f
}

// Sign has checkpoints of the file signed with key. It is called once, before events.
func (f *File) Sign(key ssh.Signer) {
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	if f.out.chain != nil {
		f.out.chain.sign, f.out.chain.begin = key, true
	}
}

// Reopen opens the file anew under its name, for programs like logrotate that
// move it away. If that fails the old one stays in use. It waits for a write
// that is under way.
func (f *File) Reopen() error {
	if err := f.out.reopen(); err != nil {
		return fmt.Errorf("reopen the events file: %w", err)
	}
	return nil
}

// Report sends events about the file itself to sink, of which f should be a
// part, and not to f alone.
func (f *File) Report(sink event.Sink) {
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.out.emit = sink.Emit
}

// report emits an event about the file or what is sent from it.
func (f *File) report(e event.Event) {
	f.out.mu.Lock()
	emit := f.out.emit
	f.out.mu.Unlock()
	emit(e)
}

// LastStop marks that a server is running, by a file beside the events file that
// Close removes, and returns how the server before this one ended: "clean", or
// "crash" if its mark is still there. Without an events file it returns "".
func (f *File) LastStop() (string, error) {
	if f.out.path == "" {
		return "", nil
	}
	f.mark = f.out.path + ".running"
	_, err := os.Lstat(f.mark)
	if err == nil {
		return "crash", nil
	}
	return "clean", os.WriteFile(f.mark, nil, 0o640)
}

// Yield leaves to another server the tasks that only one server may do: to begin a new
// file when it is full, to send its lines elsewhere, and to mark that a server is
// running. Events still go to the file.
func (f *File) Yield() {
	f.mark = ""
	f.stopForwarding()
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	f.out.maxSize, f.out.maxAge = math.MaxInt64, 0
}

func (f *File) stopForwarding() {
	for _, w := range f.forwards {
		w.Close()
	}
	f.forwards = nil
}

// Close is that of the Queue, ends what sends the lines elsewhere, and removes the
// mark of LastStop.
func (f *File) Close() error {
	err := f.Queue.Close()
	f.stopForwarding()
	if f.mark != "" {
		err = errors.Join(err, os.Remove(f.mark))
		f.mark = ""
	}
	return err
}
