package sftp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"berth/fs"
	"berth/sshd/sftp"
)

// TestCutRequests cuts every request at every byte: BAD_MESSAGE, or a refusal for
// another reason, and the session continues.
func TestCutRequests(t *testing.T) {
	for name, whole := range everyRequest() {
		t.Run(name, func(t *testing.T) {
			files := aTree(t)
			for n := 9; n < len(whole); n++ {
				cut := bytes.Clone(whole[:n])
				cut[3] = byte(n - 4)
				got, err := converse(t, files, sftp.Options{}, cut, packet(fxRealpath, 2, "/end"))
				if err != nil || len(got) != 2 || got[1] != `2 name ["/end"]` {
					t.Fatalf("cut at %d: %q, %v, want two answers and no error", n, got, err)
				}
				bad := got[0] == "1 status 5 Bad message"
				if other := strings.HasPrefix(got[0], "1 status ") && !strings.HasPrefix(got[0], "1 status 0"); !bad && !other {
					t.Errorf("cut at %d it is answered %q, want a refusal", n, got[0])
				}
			}
			for _, n := range []int{5, 0x7fffffff, -0x80000000, -1} {
				claim := packet(whole[4], 1, n, raw("abc"))
				got, err := converse(t, files, sftp.Options{}, claim)
				if err != nil || !slices.Equal(got, []string{"1 status 5 Bad message"}) {
					t.Errorf("a string said to be of %d bytes: %q, %v, want BAD_MESSAGE", uint32(n), got, err)
				}
			}
		})
	}
}

// TestStreamErrors are the ways in which a session cannot go on.
func TestStreamErrors(t *testing.T) {
	ask := packet(fxRealpath, 7, "x")
	tests := map[string]struct {
		in      string
		want    string // of the error, "" for none
		answers int    // before it, VERSION included
	}{
		"nothing":                {"", "", 0},
		"INIT and no more":       {string(hello), "", 1},
		"length 0":               {string(hello) + string(ask) + "\x00\x00\x00\x00\x01", "length 0 is not within", 2},
		"length over the limit":  {string(hello) + string(ask) + "\x00\x04\x00\x01\x01", "length 262145 is not within", 2},
		"length 4 GiB":           {string(hello) + "\xff\xff\xff\xff", "length 4294967295 is not within", 1},
		"cut in a length":        {string(hello) + "\x00\x00", "unexpected EOF", 1},
		"cut in a packet":        {string(hello) + "\x00\x00\x00\x09\x10", "unexpected EOF", 1},
		"request before INIT":    {string(ask), "request of type 16 before INIT", 0},
		"INIT twice":             {string(hello) + string(ask) + string(hello), "second INIT", 2},
		"INIT without a version": {"\x00\x00\x00\x01\x01", "INIT without a version", 0},
		"request without an id":  {string(hello) + "\x00\x00\x00\x04\x10\x00\x00\x00", "request of type 16 without an id", 1},
		"INIT of version 6":      {string(packet(fxInit, 6)), "", 1},
		"INIT with extensions":   {string(packet(fxInit, 3, "newline", "\n")), "", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				s := &script{Reader: r}
				err := sftp.Serve(s, newHostFS(t), sftp.Options{})
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Serve = %v, want %q", err, tt.want)
				}
				if n := len(split(t, s.Bytes())); n != tt.answers {
					t.Errorf("%d answers, want %d", n, tt.answers)
				}
			}
		})
	}
}

func TestMaxHandles(t *testing.T) {
	files := aTree(t)
	const most = 1024
	ask := [][]byte{packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxOpendir, 2, "/d")}
	for range most - 2 {
		ask = append(ask, packet(fxOpen, 3, "/f", rd, noAttrs))
	}
	ask = append(ask, packet(fxOpen, 4, "/new", wr|creat, noAttrs), packet(fxOpendir, 5, "/d"), packet(fxExtended, 6, "check-file-name", "/f", "md5", uint64(0), uint64(0), 0),
		packet(fxClose, 7, first), packet(fxOpen, 8, "/f", rd, noAttrs), packet(fxClose, 9, handleAt(1, 0)), packet(fxOpendir, 10, "/d"))
	got, err := converse(t, files, sftp.Options{}, ask...)
	must(t, err)
	want := []string{
		"3 handle 1023.0", "4 status 4 Too many open files", "5 status 4 Too many open files", "6 status 4 Too many open files",
		"7 status 0 Success", "8 handle 0.1", "9 status 0 Success", "10 handle 1.1",
	}
	if diff := cmp.Diff(want, got[most-1:]); diff != "" {
		t.Errorf("answers (-want +got), %v:\n%s", err, diff)
	}
	if _, err := os.Stat(files.host("/new")); err == nil {
		t.Error("the file refused for want of a handle was created")
	}
}

// TestMaxDirectories opens and closes directories beside files.
func TestMaxDirectories(t *testing.T) {
	const most = 64
	ask := [][]byte{packet(fxOpen, 1, "/f", rd, noAttrs)}
	for range 3 * most {
		ask = append(ask, packet(fxOpendir, 2, "/d"))
	}
	ask = append(ask, packet(fxOpen, 3, "/f", rd, noAttrs), packet(fxClose, 4, handleAt(1, 0)), packet(fxOpendir, 5, "/d"), packet(fxOpendir, 6, "/d"))
	got, err := converse(t, aTree(t), sftp.Options{}, ask...)
	must(t, err)
	refused := 0
	for _, a := range got[1 : 1+3*most] {
		if a == "2 status 4 Too many open files" {
			refused++
		}
	}
	if refused != 2*most {
		t.Errorf("%d of %d directories were refused, want all but %d", refused, 3*most, most)
	}
	want := []string{"3 handle 65.0", "4 status 0 Success", "5 handle 1.1", "6 status 4 Too many open files"}
	if diff := cmp.Diff(want, got[1+3*most:]); diff != "" {
		t.Errorf("answers after that (-want +got):\n%s", diff)
	}
}

// budget is an FS with room for some open files and directories.
type budget struct {
	fs.FS
	left, released int
}

func (b *budget) acquire() error {
	if b.left == 0 {
		return fmt.Errorf("/srv/secret: 12 of 12 in use: %w", fs.ErrTooManyOpen)
	}
	b.left--
	return nil
}

func (b *budget) release() { b.left++; b.released++ }

func (b *budget) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	if err := b.acquire(); err != nil {
		return nil, err
	}
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil {
		b.release()
		return nil, err
	}
	return budgetFile{f, b}, nil
}

func (b *budget) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		if err := b.acquire(); err != nil {
			yield(nil, err)
			return
		}
		defer b.release()
		b.FS.ReadDir(name)(yield)
	}
}

type budgetFile struct {
	fs.File
	b *budget
}

func (f budgetFile) Close() error { f.b.release(); return f.File.Close() }
func (f budgetFile) Abort() error { f.b.release(); return f.File.Abort() }

// TestHandleBudget opens more than the FS allows for all sessions together, in each way
// there is, and closes, fails to open, and leaves open.
func TestHandleBudget(t *testing.T) {
	b := &budget{FS: aTree(t), left: 2}
	name := func(id int) []byte {
		return packet(fxExtended, id, "check-file-name", "/f", "md5", uint64(0), uint64(1), 0)
	}
	got, err := converse(t, b, sftp.Options{},
		packet(fxOpen, 1, "/no", rd, noAttrs), packet(fxOpendir, 2, "/f"), name(3), packet(fxExtended, 4, "check-file-name", "/no", "md5", uint64(0), uint64(0), 0),
		packet(fxOpen, 5, "/f", rd, noAttrs), packet(fxOpendir, 6, "/d"),
		packet(fxOpen, 7, "/new", wr|creat, noAttrs), packet(fxOpendir, 8, "/d"), name(9),
		packet(fxClose, 10, first), packet(fxClose, 11, first), name(12), packet(fxOpen, 13, "/new", wr|creat, noAttrs), name(14))
	sum := "reply " + hex.EncodeToString([]byte("\x00\x00\x00\x03md5")) + "4a8a08f09d37b73795649038408b5f33"
	want := []string{
		"1 status 2 No such file", "2 status 2 Not a directory", "3 " + sum, "4 status 2 No such file", "5 handle 0.0", "6 handle 1.0",
		"7 status 4 Too many open files", "8 status 4 Too many open files", "9 status 4 Too many open files",
		"10 status 0 Success", "11 status 4 Invalid handle", "12 " + sum, "13 handle 0.1", "14 status 4 Too many open files",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("answers (-want +got), %v:\n%s", err, diff)
	}
	if b.left != 2 || b.released != 8 {
		t.Errorf("after the session %d are left and %d were released, want 2 and 8", b.left, b.released)
	}
}

// TestTrace reads the line of every kind of answer.
func TestTrace(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &out, DisableTime: true})
	asks := [][]byte{
		packet(fxOpen, 1, "d/../f", rd, noAttrs), packet(fxRead, 2, first, uint64(0), 100), packet(fxRead, 3, first, uint64(8), 1), packet(fxRename, 4, "/no", "/a b\n"), packet(fxClose, 5, first), packet(fxClose, 6, first),
		packet(fxExtended, 7, "posix-rename@openssh.com", "/f", "/x"), packet(fxRealpath, 8, "d/.."), packet(fxSymlink, 9, "to", "/s"), packet(99, 10), packet(fxExtended, 11, "no-such"), packet(fxStat, 12, "\x00"),
	}
	converse(t, aTree(t), sftp.Options{Log: log}, asks...)
	want := []string{
		`request=open type=3 id=1 name="/f" outcome=answered`, `request=read type=5 id=2 name="/f" outcome=answered`, `request=read type=5 id=3 name="/f" outcome="End of file"`,
		`request=rename type=18 id=4 name="/no" target="/a b\n" outcome="No such file"`, `request=close type=4 id=5 name="/f" outcome=Success`, `request=close type=4 id=6 outcome="Invalid handle"`,
		`request=posix-rename@openssh.com type=200 id=7 name="/f" target="/x" outcome=Success`, `request=realpath type=16 id=8 name="d/.." target="/" outcome=answered`,
		`request=symlink type=20 id=9 name="/s" target="to" outcome=Success`, `request="" type=99 id=10 outcome="Operation unsupported"`, `request=extended type=200 id=11 outcome="Operation unsupported"`,
		`request=stat type=17 id=12 outcome="Invalid file name"`,
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		line, ok := strings.CutPrefix(line, "[TRACE] sftp request: ")
		line, took, timed := strings.Cut(line, " duration_us=")
		if _, err := strconv.Atoi(strings.TrimSpace(took)); !ok || !timed || err != nil {
			t.Errorf("the line %q ends with duration_us %q", line, took)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
	out.Reset()
	log.SetLevel(hclog.Debug)
	if converse(t, aTree(t), sftp.Options{Log: log}, asks...); out.Len() > 0 {
		t.Errorf("at level debug the log has %q", out.String())
	}
}

// TestBrokenOffUpload leaves a file open and another closed.
func TestBrokenOffUpload(t *testing.T) {
	files := aTree(t)
	_, err := converse(t, files, sftp.Options{},
		packet(fxOpen, 1, "/a", wr|creat, noAttrs), packet(fxOpen, 2, "/b", wr|creat, noAttrs), packet(fxClose, 3, first))
	if err != nil || files.aborted.Load() != 1 || files.open.Load() != 0 {
		t.Errorf("Serve = %v with %d files aborted and %d open, want nil, 1, 0", err, files.aborted.Load(), files.open.Load())
	}
}

// failing is an FS that fails in ways that a directory does not.
type failing struct {
	*hostFS
	err error
}

type failingFile struct {
	fs.File
	err error
}

func (f failing) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	file, err := f.hostFS.OpenFile(name, flag, perm)
	return failingFile{file, f.err}, err
}

func (f failingFile) Close() error                      { return errors.Join(f.File.Close(), f.err) }
func (f failingFile) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func (f failing) ReadDir(string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		fi, _ := f.Lstat("/f")
		_ = yield(fi, nil) && yield(nil, f.err)
	}
}

func TestErrorsReachTheClientWithoutPaths(t *testing.T) {
	tests := map[string]error{
		"3 Permission denied":                  &iofs.PathError{Op: "open", Path: "/srv/secret", Err: iofs.ErrPermission},
		"4 Quota exceeded":                     fmt.Errorf("/srv/secret: %w", fs.ErrQuota),
		"4 No space left on device":            fs.ErrNoSpace,
		"4 The server has too many open files": fs.ErrNoDescriptors,
		"4 Failure":                            errors.New("/srv/secret is on fire"),
	}
	for want, cause := range tests {
		files := failing{aTree(t), cause}
		got, err := converse(t, files, sftp.Options{},
			packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxRead, 2, first, uint64(0), 5), packet(fxClose, 3, first),
			packet(fxOpendir, 4, "/"), packet(fxReaddir, 5, handleAt(0, 1)), packet(fxReaddir, 6, handleAt(0, 1)), packet(fxReaddir, 7, handleAt(0, 1)))
		wants := []string{"1 handle 0.0", "2 status " + want, "3 status " + want, "4 handle 0.1", `5 name ["." ".." "f"]`, "6 status " + want, "7 status " + want}
		if diff := cmp.Diff(wants, got); err != nil || diff != "" {
			t.Errorf("answers to %v (-want +got), %v:\n%s", cause, err, diff)
		}
	}
}

// TestLongWorkEnds closes Done in the middle of a copy and of a hash.
func TestLongWorkEnds(t *testing.T) {
	files := aTree(t)
	if err := os.Truncate(files.host("/f"), 1<<40); err != nil {
		t.Fatal(err)
	}
	done, pieces := make(chan struct{}), 0
	long := watched{files, func() {
		if pieces++; pieces == 2 {
			close(done)
		}
	}}
	got, err := converse(t, long, sftp.Options{Done: done}, packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxOpen, 2, "/c", wr|creat, noAttrs),
		packet(fxExtended, 3, "copy-data", first, uint64(0), uint64(0), handleAt(1, 0), uint64(0)), packet(fxExtended, 4, "check-file-handle", first, "md5", uint64(0), uint64(0), 0),
		packet(fxExtended, 5, "check-file-handle", first, "md5", uint64(0), uint64(0), 256))
	want := []string{"1 handle 0.0", "2 handle 1.0", "3 status 4 Session is over", "4 status 4 Session is over", "5 status 4 Answer would be too long"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("answers (-want +got), %v:\n%s", err, diff)
	}
}

// named is a file that a listing shows under another name.
type named struct {
	iofs.FileInfo
	name string
}

func (n named) Name() string { return n.name }

// longNames is an FS that lists names as long as an answer takes, and one longer.
type longNames struct{ *hostFS }

func (l longNames) ReadDir(string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		fi, _ := l.Lstat("/f")
		for _, n := range []int{4097, 4096, 4097, 4095} {
			if !yield(named{fi, strings.Repeat("n", n)}, nil) {
				return
			}
		}
	}
}

// TestLongestNames leaves out of a listing what no client could ask for.
func TestLongestNames(t *testing.T) {
	got, err := converse(t, longNames{aTree(t)}, sftp.Options{}, packet(fxOpendir, 1, "/"), packet(fxReaddir, 2, first), packet(fxReaddir, 3, first))
	want := []string{"1 handle 0.0", fmt.Sprintf("2 name %q", []string{".", "..", strings.Repeat("n", 4096), strings.Repeat("n", 4095)}), "3 status 1 End of file"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("answers (-want +got), %v:\n%.300s", err, diff)
	}
}

// deaf is a client that sends everything and reads no answers.
type deaf struct {
	io.Reader
	writes int
}

func (d *deaf) Write([]byte) (int, error) {
	d.writes++
	return 0, io.ErrClosedPipe
}

// TestNothingAfterFailedWrite checks that a client which lost one answer gets no
// other: it would take that for the one that is missing.
func TestNothingAfterFailedWrite(t *testing.T) {
	files := newHostFS(t)
	if err := os.WriteFile(files.host("/f"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := [][]byte{hello, packet(fxOpen, 1, "/f", rd, noAttrs)}
	for id := range 3 { // too much for the buffer of answers
		ask = append(ask, packet(fxRead, 2+id, first, uint64(0), 250<<10))
	}
	d := &deaf{Reader: bytes.NewReader(bytes.Join(ask, nil))}
	if err := sftp.Serve(d, files, sftp.Options{}); !errors.Is(err, io.ErrClosedPipe) || d.writes != 1 {
		t.Errorf("Serve = %v after %d writes, want the error of the first and no other", err, d.writes)
	}
}
