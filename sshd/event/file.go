package event

import (
	"fmt"

	"github.com/hashicorp/go-hclog"
)

// File is a Queue that writes one JSON object a line to a file or a standard
// stream.
type File struct {
	*Queue
	out *output
}

// Open begins to write to s.File, which is made with mode 0640 if it is
// missing. s must have passed Check. log is told when writing fails and when it
// works again. Close must be called.
func Open(s Settings, log hclog.Logger) (*File, error) {
	out, err := openOutput(s, log)
	if err != nil {
		return nil, fmt.Errorf("open the events file: %w", err)
	}
	return start(s, out, log), nil
}

func start(s Settings, out *output, log hclog.Logger) *File {
	format := func(b []byte, e *Event) []byte { return e.AppendJSON(b, s.Node) }
	return &File{startQueue(s.File, s.Queue, out, format, log), out}
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
