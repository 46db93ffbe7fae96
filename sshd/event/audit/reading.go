package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A reading is an events file that is read, compressed or not.
type reading struct {
	io.Reader // of the lines
	file      *os.File
}

func openRead(path string) (*reading, error) {
	f, err := os.Open(path)
	if errors.Is(err, iofs.ErrNotExist) && !strings.HasSuffix(path, ".gz") {
		if z, err := os.Open(path + ".gz"); err == nil { // it was compressed meanwhile
			f, path = z, path+".gz"
		}
	}
	if f == nil {
		return nil, err
	}
	if !strings.HasSuffix(path, ".gz") {
		return &reading{f, f}, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &reading{z, f}, nil
}

// series returns the files that became full before the one at path, whose handle is
// live, in their order.
func series(path string, live *os.File) ([]string, error) {
	files, err := fullFiles(path)
	if err != nil {
		return nil, err
	}
	used, err := live.Stat()
	return slices.DeleteFunc(files, func(file string) bool {
		info, err := os.Stat(file)
		twice := strings.HasSuffix(file, ".gz") && slices.Contains(files, strings.TrimSuffix(file, ".gz"))
		return twice || err == nil && os.SameFile(info, used) // it became full meanwhile
	}), err
}

// aside matches what is added to the name of an events file for files that hold no record.
var aside = regexp.MustCompile(`^\.(running|(webhook|syslog)(\.refused(\.1)?)?)$`)

// Heads returns those of files that are no full files of another one, each once, without
// what a server keeps beside that. Search and Verifier read the full files with it, in
// their order: one that is missing in between is then noticed.
func Heads(files []string) []string {
	var heads []string
	for i, file := range files {
		file = filepath.Clean(file)
		of := func(other string) bool {
			added, isAside := strings.CutPrefix(file, filepath.Clean(other))
			return !fullAt(other, strings.TrimSuffix(file, ".gz.part")).IsZero() || isAside && aside.MatchString(added)
		}
		again := func(other string) bool { return filepath.Clean(other) == file }
		if !slices.ContainsFunc(files, of) && !slices.ContainsFunc(files[:i], again) {
			heads = append(heads, file)
		}
	}
	return heads
}

// mostTail is more than a line takes.
const mostTail = 128 << 10

// An ending is that of an events file.
type ending struct {
	link link   // the last one
	ok   bool   // there is one
	rest []byte // what comes after its line
	open bool   // the last line has no end
}

func endOf(path string) (end ending, err error) {
	f, err := openRead(path)
	if err != nil {
		return end, err
	}
	defer f.file.Close()
	if f.Reader == f.file {
		if info, err := f.file.Stat(); err != nil {
			return end, err
		} else if _, err := f.file.Seek(max(0, info.Size()-mostTail), io.SeekStart); err != nil {
			return end, err
		}
	}
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return end, fmt.Errorf("%s: %w", path, err)
		}
		if _, l, ok := cutLink(bytes.TrimSuffix(line, []byte{'\n'})); ok { // perhaps only its end is missing
			end.link, end.ok, end.rest = l, true, nil
		} else if end.rest = append(end.rest, line...); len(end.rest) > mostTail {
			end.rest = end.rest[len(end.rest)-mostTail:]
		}
		if err == io.EOF {
			end.open = len(line) > 0
			return end, nil
		}
	}
}
