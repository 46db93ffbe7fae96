package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Latest searches the end of the events file at path and the full files beside it, the newest
// file first, without their chain, until it has read most bytes of text or ctx ends. Only the
// end of a file that does not fit is read, unless it is compressed. It calls found for each
// match, in the order of the lines within a file; the match is valid only during the call, and
// has no login. read is called now and then with the bytes so far. The error says which files
// could not be read to their end; the others are searched all the same.
func (s *Search) Latest(ctx context.Context, path string, most int64, read func(bytes int64), found func(*Match)) error {
	live, err := openRead(path) // first: it may become full at any moment
	if err != nil {
		return err
	}
	defer live.file.Close()
	older, err := series(path, live.file)
	slices.Reverse(older)
	so := int64(0)
	one := func(name string, f *reading) error {
		n, err := s.end(ctx, f, most-so, func(bytes int64) { read(so + bytes) }, found)
		if so += n; err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	errs := []error{err, one(path, live)}
	for _, name := range older {
		if so >= most || ctx.Err() != nil {
			break
		}
		f, err := openRead(name)
		if err == nil {
			err = one(name, f)
			f.file.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// end searches the last bytes of f, all of it if it is compressed, and returns how many it
// has read.
func (s *Search) end(ctx context.Context, f *reading, most int64, read func(bytes int64), found func(*Match)) (so int64, err error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	cut := info.Size() > most && !strings.HasSuffix(f.file.Name(), ".gz") // what comes next is the rest of a line
	if cut {
		if _, err := f.file.Seek(info.Size()-most, io.SeekStart); err != nil {
			return 0, err
		}
	}
	r := bufio.NewReaderSize(f, mostLine)
	for n := 0; ctx.Err() == nil; n++ {
		if n%1000 == 0 {
			read(so)
		}
		line, err := r.ReadSlice('\n')
		so += int64(len(line))
		switch {
		case err == bufio.ErrBufferFull: // no event is as long
			cut = true
			continue
		case err == io.EOF: // the last line may be being written
			return so, nil
		case err != nil:
			return so, err
		case cut:
			cut = false
			continue
		}
		m := Match{Line: line[:len(line)-1]}
		if s.wanted(member(line, "type"), member(line, "time")) && json.Unmarshal(m.Line, &m.Record) == nil && s.matches(&m) {
			found(&m)
		}
	}
	return so, nil
}
