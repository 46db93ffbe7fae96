package audit

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLatest reads the newest files first, and stops where it has read enough. A damaged file,
// a line that is too long, and one that is being written hide no other lines.
func TestLatest(t *testing.T) {
	dir := t.TempDir()
	file := func(stamp string) string { return filepath.Join(dir, "events"+stamp+".jsonl") }
	live, newer, older, oldest := file(""), file("-20260103T000000.000Z")+".gz", file("-20260102T000000.000Z"), file("-20260101T000000.000Z")+".gz"
	line := func(path string) string {
		return fmt.Sprintf(`{"time":"2026-01-01T00:00:00.000Z","type":"removed","path":%q}`, path) + "\n"
	}
	write := func(name, text string) {
		t.Helper()
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !strings.HasSuffix(name, ".gz") {
			_, err = f.WriteString(text)
		} else {
			z := gzip.NewWriter(f)
			_, err = z.Write([]byte(text))
			err = errors.Join(err, z.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	size, now := int64(len(line("/1"))), line("/1")+strings.Repeat("x", mostLine+1)+"\n"+line("/2")+`{"time":"2026-01-01T0`
	write(live, now)
	write(newer, line("/3")+line("/4"))
	write(older, line("/5")+line("/6"))
	write(oldest, line("/7"))
	for _, tt := range []struct {
		name string
		most int64
		want []string
	}{
		{"all", 100 * mostLine, []string{"/1", "/2", "/3", "/4", "/5", "/6", "/7"}},
		{"the end of the live file", mostLine, []string{"/2"}},
		{"half of a plain file", int64(len(now)) + 3*size + 10, []string{"/1", "/2", "/3", "/4", "/6"}},
	} {
		var got []string
		read := int64(-1)
		s, err := NewSearch(Query{Types: []string{"removed"}})
		if err == nil {
			err = s.Latest(t.Context(), live, tt.most, func(n int64) { read = n }, func(m *Match) { got = append(got, m.Path) })
		}
		if err != nil || !slices.Equal(got, tt.want) || read < 0 {
			t.Errorf("%s: %q, %v, want %q; %d bytes were told", tt.name, got, err, tt.want, read)
		}
	}

	text, err := os.ReadFile(newer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(newer, text[:len(text)-6], 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewSearch(Query{Path: "/6"})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ignore := func(int64) {}
	if err := s.Latest(t.Context(), live, 100*mostLine, ignore, func(*Match) { found++ }); err == nil || !strings.Contains(err.Error(), newer) || found != 1 {
		t.Errorf("a damaged file: %v, found %d", err, found)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Latest(ended, live, 100*mostLine, ignore, func(*Match) { t.Error("found") }); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if err := s.Latest(t.Context(), filepath.Join(dir, "missing.jsonl"), 1, ignore, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
