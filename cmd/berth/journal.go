package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

// journal returns a writer to f that gives each line of the log its priority in
// the form of sd-daemon(3), if f is a stream to systemd's journal, and else f.
func journal(f *os.File) io.Writer {
	var s syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &s) != nil || os.Getenv("JOURNAL_STREAM") != fmt.Sprintf("%d:%d", s.Dev, s.Ino) {
		return f
	}
	return prioritised{f}
}

type prioritised struct{ io.Writer }

// LevelWrite is called by hclog for a whole entry.
func (w prioritised) LevelWrite(level hclog.Level, entry []byte) (int, error) {
	prefix := "<6>" // info
	switch level {
	case hclog.Error:
		prefix = "<3>"
	case hclog.Warn:
		prefix = "<4>"
	case hclog.Debug, hclog.Trace:
		prefix = "<7>"
	}
	lines := bytes.TrimSuffix(entry, []byte("\n"))
	_, err := fmt.Fprintf(w, "%s%s\n", prefix, bytes.ReplaceAll(lines, []byte("\n"), []byte("\n"+prefix)))
	return len(entry), err
}
