package audit

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// A Tail remembers the end of the last full file, which does not change any more and may
// take a second to decompress. The zero value is ready. It is safe for concurrent use.
type Tail struct {
	mu   sync.Mutex
	of   string // the file, without .gz
	text []byte
}

// Newest searches at most so many bytes at the end of the events file at path and, if that
// file is shorter, of the full file before it, without their chain. It calls found for each
// match, the newest first, until found wants no more. Matches do not have the login of their
// session. After an error, what could be read has been searched. t is for one path and most.
func (s *Search) Newest(t *Tail, path string, most int64, found func(Match) (more bool)) error {
	live, err := os.Open(path) // first: it may become full at any moment
	if err != nil {
		return err
	}
	defer live.Close()
	text, cut, err := lastOf(live, most)
	if err == nil && !cut {
		var before []byte
		before, err = t.before(path, live, most)
		if more := int64(len(before)) - (most - int64(len(text))); more > 0 {
			before, cut = before[more:], true
		}
		text = slices.Concat(before, text)
	}
	s.newest(text, cut, found)
	return err
}

// lastOf returns at most so many bytes at the end of f, and whether that is not all of it.
func lastOf(f *os.File, most int64) (text []byte, cut bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	from := max(0, info.Size()-most)
	text, err = io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	return text, from > 0, err
}

// before returns the whole lines in so many bytes at the end of the full file before the one
// at path, whose handle is live.
func (t *Tail) before(path string, live *os.File, most int64) ([]byte, error) {
	files, err := series(path, live)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	name := strings.TrimSuffix(files[len(files)-1], ".gz")
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == name {
		return t.text, nil
	}
	f, err := openRead(name)
	if err != nil {
		return nil, err
	}
	defer f.file.Close()
	var text []byte
	var cut bool
	if f.Reader == f.file {
		text, cut, err = lastOf(f.file, most)
	} else {
		text, cut, err = lastRead(f, most)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // a crash, or damage of an archive, may have cut a line off
	if cut {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	if err == nil {
		t.of, t.text = name, text
	}
	return text, err
}

// lastRead returns at most so many bytes at the end of what r has, and whether that is not
// all of it.
func lastRead(r io.Reader, most int64) (text []byte, cut bool, err error) {
	var last bytes.Buffer
	for {
		_, err := io.CopyN(&last, r, most)
		over := last.Len() - int(most)
		last.Next(max(0, over))
		cut = cut || over > 0
		switch {
		case err == io.EOF:
			return slices.Clone(last.Bytes()), cut, nil
		case err != nil:
			return slices.Clone(last.Bytes()), cut, err
		}
	}
}

// newest searches lines. The first one may be cut, and the last one may be being written.
func (s *Search) newest(text []byte, cut bool, found func(Match) (more bool)) {
	var needs [][]byte // to decode a line costs twenty times as much as to look for a text
	for _, text := range []string{s.query.User, cutSlash(s.query.Path), s.query.Session} {
		if plain.MatchString(text) {
			needs = append(needs, []byte(strings.ToLower(text)))
		}
	}
	for end := bytes.LastIndexByte(text, '\n'); end >= 0; {
		begin := bytes.LastIndexByte(text[:end], '\n')
		if begin < 0 && cut {
			return
		}
		line := text[begin+1 : end]
		end = begin
		lower := bytes.ToLower(line)
		lacks := func(text []byte) bool { return !bytes.Contains(lower, text) }
		if !s.wanted(member(line, "type"), member(line, "time")) || slices.ContainsFunc(needs, lacks) {
			continue
		}
		m := Match{Line: line}
		if json.Unmarshal(line, &m.Record) == nil && s.matches(&m) && !found(m) {
			return
		}
	}
}
