// Package scp serves the SCP protocol, as `scp -O`, pscp and most libraries
// speak it, on an io.ReadWriter and an fs.FS.
//
// The client starts `scp -t PATH` to send files and `scp -f PATH…` to fetch
// them. Parse reads such a command line, with its quotes and wildcards; there is no
// shell. Command.Serve runs it. The package knows nothing of SSH: the caller has the
// channel and sends the exit status.
package scp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
)

// A Command is one scp command line, read by Parse.
type Command struct {
	Source          bool // -f: send files to the client
	Sink            bool // -t: take files from the client
	Recursive       bool // -r
	Preserve        bool // -p: times and modes too
	TargetDirectory bool // -d: the target must be a directory
	Verbose         bool // -v: write to stderr what is done

	// Paths are patterns with braces and wildcards. A backslash removes the
	// special meaning of the character after it. There is always at least one path.
	Paths []string
}

// Options of a Command. The zero value works.
type Options struct {
	// InPlace writes uploads over a file that exists, and sets its size at the end,
	// as OpenSSH does. Otherwise the file is truncated first: an FS that replaces
	// whole files takes that as the beginning of a new version.
	InPlace bool
	// Ahead sends the next record before the last one is answered. It is for
	// clients that read a stream, as OpenSSH does. scp of Python and net-scp of Ruby
	// expect one record in a packet.
	Ahead bool
	// Log, if set, gets one line at level trace for every file and directory: its
	// name, the outcome as the client sees it, and how long it took.
	Log hclog.Logger
}

// Serve runs c between the client at rw and files. It returns nil when everything was
// transferred. An error has been sent to the client already; the exit status is then
// 1. When ctx ends, Serve stops before the next piece of data; to end a wait for the
// client, the caller closes rw. Only -v writes to stderr.
func (c Command) Serve(ctx context.Context, rw io.ReadWriter, stderr io.Writer, files fs.FS, opt Options) error {
	p := newPeer(ctx, rw, opt.Log)
	defer p.release()
	p.verbose = func(string) {}
	if c.Verbose {
		p.verbose = func(line string) { fmt.Fprintf(stderr, "%s\n", printable(line)) }
	}
	run := c.source
	if c.Sink {
		run = c.sink
	}
	err := run(p, view{files, opt})
	if fe := (fatal{}); errors.As(err, &fe) {
		p.tell(tagFatal, fe.text)
	}
	if flushErr := p.flush(); err == nil {
		err = flushErr
	}
	if err != nil || p.failures < 2 {
		return cmp.Or(err, p.first)
	}
	return fmt.Errorf("%w (and %d more)", p.first, p.failures-1)
}
