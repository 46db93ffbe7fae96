// Package scp serves the SCP protocol, as `scp -O`, pscp and most libraries
// speak it, on an io.ReadWriter and an fs.FS.
//
// The client starts `scp -t PATH` to send files and `scp -f PATH…` to fetch
// them. Parse reads such a command line, with the quotes and wildcards that a
// shell would have taken care of; there is no shell. Command.Serve runs it.
// The package knows no SSH: exit status and channel are the caller's.
package scp

import (
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
	Verbose         bool // -v: tell on stderr what is done

	// Paths are patterns: braces and wildcards, in which a backslash takes the
	// meaning from the character after it. There is always at least one.
	Paths []string
}

// Options is what a Command needs beside the files. The zero value works.
type Options struct {
	// Home is the directory that relative paths start at, "/" if empty.
	Home string
	// InPlace writes uploads over what is there, and cuts the file at the end,
	// as OpenSSH does. Otherwise a file is truncated first, which is how an FS
	// that replaces files as a whole knows that a new version begins.
	InPlace bool
	// Ahead sends the next record before the last one is answered. It is for
	// clients that read a stream, as OpenSSH does; scp of Python and net-scp of
	// Ruby take what comes in one packet for one record.
	Ahead bool
	// Handles, if set, limits what several sessions have open together. Acquire is
	// called before a file or a directory is opened. If it fails, nothing is opened
	// and the client is told that too many files are open. Release is called once for
	// every Acquire that succeeded. Neither may block.
	Handles interface {
		Acquire() error
		Release()
	}
	// Log, if set, gets one line at level trace for every file and directory: its
	// name, the outcome as the client sees it, and how long it took.
	Log hclog.Logger
}

// Serve runs c between the client at rw and files. It returns nil when all was
// transferred; after an error, which the client has been told as the protocol
// says, the exit status is 1. When ctx ends Serve stops before the next piece
// of data; to end a wait for the client the caller closes rw. Only -v writes to
// stderr.
func (c Command) Serve(ctx context.Context, rw io.ReadWriter, stderr io.Writer, files fs.FS, opt Options) error {
	p := newPeer(ctx, rw)
	defer p.release()
	p.log = opt.Log
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
	if err != nil {
		return err
	}
	return p.failed()
}
