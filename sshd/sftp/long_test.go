package sftp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/fs"
	"berth/sshd/sftp"
)

// sparse is a file of several buffers: data, a hole longer than a buffer, data.
func sparse(t testing.TB, name string) []byte {
	t.Helper()
	const hole = 3 << 20
	head, tail := random(1<<20+7), random(900_001)
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(head, 0)
	must(t, err)
	_, err = f.WriteAt(tail, int64(len(head))+hole)
	must(t, err)
	return append(append(bytes.Clone(head), make([]byte, hole)...), tail...)
}

// counts is what a session reports of copies and hashes.
type counts struct {
	read, written int64
	copies        string
}

func (c *counts) options() sftp.Options {
	return sftp.Options{
		Copied: func(name, target string, n int64, err error) { c.copies += fmt.Sprintln(name, target, n, err) },
		Unseen: func(_ fs.File, read, written int64) { c.read, c.written = c.read+read, c.written+written },
	}
}

// TestLongCopies copies parts of a file that are longer than a buffer over
// several places of another file.
func TestLongCopies(t *testing.T) {
	const buffer = 256 << 10
	before := bytes.Repeat([]byte("old"), 3<<20/3)
	for _, tt := range []struct{ from, n, to uint64 }{
		{0, 0, 0}, {1, 0, 2}, {1<<20 - 1, 0, 5}, {0, buffer, 0}, {3, buffer + 1, 1}, {7, 2*buffer - 1, 2 << 20}, {1 << 20, 3<<20 + 14, 3<<20 + 1}, {4 << 20, 1 << 40, 1 << 22},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			files := newHostFS(t)
			whole := sparse(t, files.host("/from"))
			must(t, os.WriteFile(files.host("/to"), before, 0o600))
			n := uint64(len(whole)) - tt.from
			if tt.n != 0 {
				n = min(n, tt.n)
			}
			var c counts
			got, err := converse(t, files, c.options(),
				packet(fxOpen, 1, "/from", rd, noAttrs), packet(fxOpen, 2, "/to", wr, noAttrs),
				packet(fxExtended, 3, "copy-data", first, tt.from, tt.n, handleAt(1, 0), tt.to))
			if err != nil || len(got) != 3 || got[2] != "3 status 0 Success" {
				t.Fatalf("answers %q, %v, want success", got, err)
			}
			want := bytes.Clone(before)
			if end := int(tt.to + n); end > len(want) {
				want = append(want, make([]byte, end-len(want))...)
			}
			copy(want[tt.to:], whole[tt.from:tt.from+n])
			is, err := os.ReadFile(files.host("/to"))
			if must(t, err); !bytes.Equal(is, want) {
				t.Errorf("the target has %d bytes that are not the %d expected", len(is), len(want))
			}
			if want := (counts{int64(n), int64(n), fmt.Sprintf("/from /to %d <nil>\n", n)}); c != want {
				t.Errorf("reported %+v, want %+v", c, want)
			}
		})
	}
}

// fullFile is a file whose disk is full after some bytes.
type fullFile struct {
	fs.File
	room int64
}

func (f fullFile) WriteAt(b []byte, offset int64) (int, error) {
	if left := max(f.room-offset, 0); int64(len(b)) > left {
		n, err := f.File.WriteAt(b[:left], offset)
		return n, errors.Join(err, fs.ErrNoSpace)
	}
	return f.File.WriteAt(b, offset)
}

// fullFS gives files room for so many bytes.
type fullFS struct {
	*hostFS
	room int64
}

func (f fullFS) OpenFile(name string, flag int, perm os.FileMode) (fs.File, error) {
	file, err := f.hostFS.OpenFile(name, flag, perm)
	return fullFile{file, f.room}, err
}

// TestCopyFails: a copy that ends early is reported with the bytes that it
// has copied.
func TestCopyFails(t *testing.T) {
	files := newHostFS(t)
	whole := sparse(t, files.host("/from"))
	const room = 300_000
	var got counts
	answers, err := converse(t, fullFS{files, room}, got.options(),
		packet(fxOpen, 1, "/from", rd, noAttrs), packet(fxOpen, 2, "/to", wr|creat, noAttrs),
		packet(fxExtended, 3, "copy-data", first, uint64(0), uint64(0), handleAt(1, 0), uint64(0)))
	if want := []string{"1 handle 0.0", "2 handle 1.0", "3 status 4 No space left on device"}; err != nil || !cmp.Equal(answers, want) {
		t.Errorf("answers %q, %v, want %q", answers, err, want)
	}
	if want := (counts{512 << 10, room, "/from /to 300000 no space left on device\n"}); got != want {
		t.Errorf("reported %+v, want %+v", got, want)
	}
	if is, err := os.ReadFile(files.host("/to")); err != nil || !bytes.Equal(is, whole[:room]) {
		t.Errorf("the target has %d bytes, %v, want the first %d", len(is), err, room)
	}
}

// TestLongHashes hashes parts of a file that are longer than a buffer, whole and in
// blocks that do not fit into one.
func TestLongHashes(t *testing.T) {
	files := newHostFS(t)
	whole := sparse(t, files.host("/f"))
	for _, tt := range []struct {
		offset, n uint64
		block     int
	}{
		{0, 0, 0}, {0, 0, 1 << 20}, {0, 1 << 20, 1 << 20}, {5, 2 << 20, 300_000}, {1 << 20, 1 << 40, 1<<18 + 1}, {3, 3_000_001, 3_000_000}, {1<<22 + 1, 0, 1 << 30}, {0, 500_000, 256}, {9, 512, 256}, {9, 513, 256},
	} {
		part := whole[tt.offset:]
		if tt.n != 0 && tt.n < uint64(len(part)) {
			part = part[:tt.n]
		}
		want := hex.EncodeToString([]byte("\x00\x00\x00\x06sha256"))
		block, size := tt.block, len(part)
		if block == 0 {
			block = size
		}
		for len(part) > 0 {
			sum := sha256.Sum256(part[:min(block, len(part))])
			want += hex.EncodeToString(sum[:])
			part = part[min(block, len(part)):]
		}
		var c counts
		got, err := converse(t, files, c.options(), packet(fxOpen, 1, "/f", rd, noAttrs),
			packet(fxExtended, 2, "check-file-handle", first, "sha256", tt.offset, tt.n, tt.block), packet(fxExtended, 3, "check-file-name", "/f", "sha256", tt.offset, tt.n, tt.block))
		if err != nil || len(got) != 3 || got[1] != "2 reply "+want || got[2] != "3 reply "+want {
			t.Errorf("hashes of %+v are %.80q, %v, want %.80q", tt, got, err, want)
		}
		if c.read != int64(2*size) || c.written != 0 {
			t.Errorf("hashes of %+v read %d bytes that no client has seen, want %d", tt, c.read, 2*size)
		}
	}
	// As many hashes as fit into an answer, and one more.
	for n, want := range map[uint64]string{4096 * 256: "1 reply ", 4096*256 + 1: "1 status 4 Answer would be too long"} {
		got, err := converse(t, files, sftp.Options{}, packet(fxExtended, 1, "check-file-name", "/f", "sha256", uint64(0), n, 256))
		if err != nil || len(got) != 1 || got[0][:min(len(want), len(got[0]))] != want {
			t.Errorf("blocks of 256 in %d bytes: %.60q, %v, want %q", n, got, err, want)
		}
	}
}

// TestAnswersBeforeLongWork checks that a client has the answers to its earlier
// requests when a copy or a hash begins.
func TestAnswersBeforeLongWork(t *testing.T) {
	for _, work := range [][]byte{
		packet(fxExtended, 3, "copy-data", first, uint64(0), uint64(0), handleAt(1, 0), uint64(0)),
		packet(fxExtended, 3, "check-file-handle", first, "md5", uint64(0), uint64(0), 0),
	} {
		ask := bytes.Join([][]byte{hello, packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxOpen, 2, "/c", wr|creat, noAttrs), work}, nil)
		s := &script{Reader: bytes.NewReader(ask)}
		reads := 0
		files := watched{aTree(t), func() {
			reads++
			if got := len(split(t, s.Bytes())); got != 3 {
				t.Errorf("the client has %d answers when the work begins, want 3", got)
			}
		}}
		if err := sftp.Serve(s, files, sftp.Options{}); err != nil || reads == 0 {
			t.Errorf("Serve = %v after %d reads of the file", err, reads)
		}
	}
}

// watched calls read before each read of a file.
type watched struct {
	*hostFS
	read func()
}

func (w watched) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	f, err := w.hostFS.OpenFile(name, flag, perm)
	return watchedFile{f, w.read}, err
}

type watchedFile struct {
	fs.File
	read func()
}

func (w watchedFile) ReadAt(p []byte, off int64) (int, error) {
	w.read()
	return w.File.ReadAt(p, off)
}
