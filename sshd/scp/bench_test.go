package scp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	iofs "io/fs"
	"strings"
	"testing"
	"time"

	"berth/fs"
)

// A nullFS has files of any size: reading gives zeros, writing forgets.
type nullFS struct {
	dirFS
	size int64
}

func (n nullFS) OpenFile(string, int, iofs.FileMode) (fs.File, error) {
	return nullFile{size: n.size}, nil
}

func (n nullFS) Stat(name string) (iofs.FileInfo, error) { return nil, iofs.ErrNotExist }

type nullFile struct{ size int64 }

func (nullFile) ReadAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) SetAttr(fs.Attr) error                  { return nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) Close() error                           { return nil }
func (nullFile) Abort() error                           { return nil }
func (f nullFile) Stat() (iofs.FileInfo, error)         { return f, nil }
func (f nullFile) Name() string                         { return "f" }
func (f nullFile) Size() int64                          { return f.size }
func (nullFile) Mode() iofs.FileMode                    { return 0o644 }
func (nullFile) ModTime() time.Time                     { return time.Time{} }
func (nullFile) IsDir() bool                            { return false }
func (nullFile) Sys() any                               { return nil }

// transfer moves n files of size bytes one way.
func transfer(tb testing.TB, source bool, size int64, n int) {
	c := Command{Source: source, Sink: !source, Paths: []string{"f"}}
	var says io.Reader = endless(0)
	if source {
		c.Paths = strings.Split(strings.Repeat("f,", n-1)+"f", ",")
	} else {
		var files []io.Reader
		for range n {
			files = append(files,
				strings.NewReader(fmt.Sprintf("C0644 %d f\n", size)),
				io.LimitReader(endless(0), size+1))
		}
		says = io.MultiReader(files...)
	}
	err := c.Serve(context.Background(), struct {
		io.Reader
		io.Writer
	}{says, io.Discard}, io.Discard, nullFS{size: size}, Options{})
	if err != nil {
		tb.Fatal(err)
	}
}

func TestDataPathDoesNotAllocate(t *testing.T) {
	for _, source := range []bool{true, false} {
		small := testing.AllocsPerRun(5, func() { transfer(t, source, 1<<20, 1) })
		large := testing.AllocsPerRun(5, func() { transfer(t, source, 64<<20, 1) })
		if large > small+10 {
			t.Errorf("source %t: 64 MiB take %.0f allocations and 1 MiB %.0f, want about the same", source, large, small)
		}
	}
}

func BenchmarkTransfer(b *testing.B) {
	for _, bb := range []struct {
		name   string
		source bool
		size   int64
		files  int
	}{
		{"source/large", true, 64 << 20, 1},
		{"source/small", true, 4 << 10, 1000},
		{"sink/large", false, 64 << 20, 1},
		{"sink/small", false, 4 << 10, 1000},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(bb.size * int64(bb.files))
			b.ReportAllocs()
			for b.Loop() {
				transfer(b, bb.source, bb.size, bb.files)
			}
		})
	}
}

func TestNullTransfer(t *testing.T) {
	var told bytes.Buffer
	c := Command{Source: true, Paths: []string{"f"}}
	err := c.Serve(t.Context(), struct {
		io.Reader
		io.Writer
	}{endless(0), &told}, io.Discard, nullFS{size: 2*bufferSize + 1}, Options{})
	if want := len("C0644 524289 f\n") + 2*bufferSize + 2; told.Len() != want || err != nil {
		t.Errorf("told %d bytes, %v; want %d", told.Len(), err, want)
	}
}
