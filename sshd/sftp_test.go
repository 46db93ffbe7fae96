package sshd

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/sftp"
)

// rawSFTP speaks the protocol packet by packet, for requests that no client's
// library has.
type rawSFTP struct {
	t   *testing.T
	in  io.Writer
	out io.Reader
}

func newRawSFTP(t *testing.T, c *ssh.Client) *rawSFTP {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	r := &rawSFTP{t, in, out}
	r.ask(1, 3) // INIT
	return r
}

// ask sends a packet and returns the answer, type first. Numbers are of 32 bits
// if they are an int and of 64 if an int64.
func (r *rawSFTP) ask(kind byte, fields ...any) []byte {
	r.t.Helper()
	b := []byte{0, 0, 0, 0, kind}
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(f))
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := r.in.Write(b); err != nil {
		r.t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(r.out, size[:]); err != nil {
		r.t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r.out, answer); err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// status is the code of a STATUS, -1 of any other answer.
func (r *rawSFTP) status(kind byte, fields ...any) int {
	r.t.Helper()
	if a := r.ask(kind, fields...); a[0] == 101 {
		return int(binary.BigEndian.Uint32(a[5:]))
	}
	return -1
}

// handle is what an OPEN or OPENDIR is answered with.
func (r *rawSFTP) handle(kind byte, fields ...any) string {
	r.t.Helper()
	a := r.ask(kind, fields...)
	if a[0] != 102 {
		r.t.Fatalf("open %q is answered by %q, want a handle", fields, a)
	}
	return string(a[9:])
}

// asks has, for each request that needs a permission or has an event, what to do
// in a directory with a file "f", a directory "d" and a link "l".
var asks = map[string]func(r *rawSFTP) int{
	"open":                     func(r *rawSFTP) int { return r.status(3, 1, "/f", 1, 0) },
	"close":                    func(r *rawSFTP) int { return r.status(4, 1, r.handle(3, 1, "/f", 1, 0)) },
	"lstat":                    func(r *rawSFTP) int { return r.status(7, 1, "/f") },
	"stat":                     func(r *rawSFTP) int { return r.status(17, 1, "/f") },
	"setstat":                  func(r *rawSFTP) int { return r.status(9, 1, "/f", 4, 0o600) },
	"fsetstat":                 func(r *rawSFTP) int { return r.status(10, 1, r.handle(3, 1, "/f", 1, 0), 4, 0o600) },
	"opendir":                  func(r *rawSFTP) int { return listAll(r, "/") },
	"remove":                   func(r *rawSFTP) int { return r.status(13, 1, "/f") },
	"mkdir":                    func(r *rawSFTP) int { return r.status(14, 1, "/new", 0) },
	"rmdir":                    func(r *rawSFTP) int { return r.status(15, 1, "/d") },
	"rename":                   func(r *rawSFTP) int { return r.status(18, 1, "/f", "/g") },
	"readlink":                 func(r *rawSFTP) int { return r.status(19, 1, "/l") },
	"symlink":                  func(r *rawSFTP) int { return r.status(20, 1, "target", "/new") },
	"posix-rename@openssh.com": func(r *rawSFTP) int { return r.status(200, 1, "posix-rename@openssh.com", "/f", "/g") },
	"hardlink@openssh.com":     func(r *rawSFTP) int { return r.status(200, 1, "hardlink@openssh.com", "/f", "/new") },
	"lsetstat@openssh.com":     func(r *rawSFTP) int { return r.status(200, 1, "lsetstat@openssh.com", "/f", 4, 0o600) },
	"copy-data": func(r *rawSFTP) int {
		from, to := r.handle(3, 1, "/f", 1, 0), r.handle(3, 1, "/new", 2|8, 0)
		return r.status(200, 1, "copy-data", from, int64(0), int64(0), to, int64(0))
	},
	"check-file-name": func(r *rawSFTP) int {
		return r.status(200, 1, "check-file-name", "/f", "md5", int64(0), int64(0), 0)
	},
}

// listAll lists a directory to its end, and returns the status that the OPENDIR
// or the last READDIR is answered with.
func listAll(r *rawSFTP, name string) int {
	a := r.ask(11, 1, name)
	if a[0] == 101 {
		return int(binary.BigEndian.Uint32(a[5:]))
	}
	h := string(a[9:])
	for {
		if code := r.status(12, 1, h); code >= 0 {
			return code
		}
	}
}

// withFiles starts a server whose user has ops on a directory for asks.
func withFiles(t *testing.T, ops policy.Op) *fixture {
	t.Helper()
	return start(t, func(f *fixture) {
		dir := t.TempDir()
		f.change(func(p *policy.Policy) { p.Access, p.Folders[0].Host = []policy.Access{{Path: "/", Ops: ops}}, dir })
		full, err := fs.Open(&policy.Policy{
			Folders: []policy.Folder{{Path: "/", Host: dir}}, Access: []policy.Access{{Path: "/", Ops: policy.Full}},
		}, fs.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		file, err := full.OpenFile("/f", 0o101, 0o644) // O_WRONLY|O_CREAT
		if err == nil {
			_, err = file.WriteAt([]byte("contents"), 0)
			file.Close()
		}
		if err != nil || full.Mkdir("/d", 0o755) != nil || full.Symlink("f", "/l") != nil {
			t.Fatalf("make files: %v", err)
		}
	})
}

// TestPermissionsOfRequests holds the tables of package sftp to what happens:
// without the permission a request is refused, with it it works.
func TestPermissionsOfRequests(t *testing.T) {
	for _, r := range slices.Concat(sftp.Requests(), sftp.Extensions()) {
		if r.Permission == "" {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			ops, err := policy.ParseOps(strings.Fields(r.Permission))
			if err != nil || asks[r.Name] == nil {
				t.Fatalf("%v, and a test: %t", err, asks[r.Name] != nil)
			}
			f := withFiles(t, policy.Full)
			if code := asks[r.Name](newRawSFTP(t, f.must(t))); code > 1 {
				t.Errorf("with all permissions it is answered by status %d", code)
			}
			f = withFiles(t, policy.Full&^ops)
			code := asks[r.Name](newRawSFTP(t, f.must(t)))
			hidden := code == 2 && r.Permission == "list" // what may not be listed is not there
			if code != 3 && !hidden {
				t.Errorf("without %s it is answered by status %d, want 3, permission denied", r.Permission, code)
			}
		})
	}
}

// TestEventsOfRequests compares the tables of package sftp with the events.
func TestEventsOfRequests(t *testing.T) {
	names := map[string]event.Type{}
	for e := range event.Types() {
		names[e.String()] = e
	}
	for _, r := range slices.Concat(sftp.Requests(), sftp.Extensions()) {
		if r.Event == "" {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			if asks[r.Name] == nil {
				t.Fatal("there is no test of it")
			}
			f := withFiles(t, policy.Full)
			asks[r.Name](newRawSFTP(t, f.must(t)))
			if len(f.events.reasons(names[r.Event])) == 0 {
				t.Errorf("it is not told as %s; there were %s", r.Event, f.events)
			}
		})
	}
}

// String lists the types of the events.
func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var types []string
	for _, e := range r.events {
		types = append(types, fmt.Sprint(e.Type))
	}
	return strings.Join(types, " ")
}

// TestCopiesAreCountedAsCopies copies and hashes eight bytes within the server, and
// sends and fetches some: only these are an upload and a download.
func TestCopiesAreCountedAsCopies(t *testing.T) {
	f := withFiles(t, policy.Full)
	r := newRawSFTP(t, f.must(t))
	from, to := r.handle(3, 1, "/f", 1, 0), r.handle(3, 1, "/new", 2|8, 0)
	r.status(6, 1, to, int64(0), "12345")
	r.ask(5, 1, from, int64(0), 3)
	if code := r.status(200, 1, "copy-data", from, int64(0), int64(0), to, int64(5)); code != 0 {
		t.Fatalf("copy-data is answered with %d", code)
	}
	if now := f.Sessions(); len(now) != 1 || now[0].Read != 3 || now[0].Written != 5 {
		t.Errorf("sessions are %+v, want one with 3 bytes read and 5 written", now)
	} else if got := now[0].Transfers; len(got) != 2 || got[0].Path != "/f" || got[0].Mode != "reading" || got[0].Bytes != 3 || got[0].Size != 8 ||
		got[1].Path != "/new" || got[1].Mode != "writing" || got[1].Bytes != 5 || got[1].Size != 0 {
		t.Errorf("transfers are %+v, want 3 of 8 bytes of /f and 5 of /new", got)
	}
	r.ask(200, 1, "check-file-handle", from, "md5", int64(0), int64(0), 0)
	r.ask(200, 1, "check-file-name", "/f", "md5", int64(0), int64(0), 0)
	r.status(4, 1, from)
	r.status(4, 1, to)
	if now := f.Sessions(); len(now) != 1 || len(now[0].Transfers) != 0 {
		t.Errorf("sessions are %+v, want one without transfers", now)
	}
	type moved struct{ read, written int64 }
	got := map[event.Type]moved{}
	for _, e := range f.events.all() {
		if e.BytesRead+e.BytesWritten > 0 {
			got[e.Type] = moved{e.BytesRead, e.BytesWritten}
		}
		if (e.FirstByte > 0) != (e.Type == event.FileReadClosed) {
			t.Errorf("%v: the first byte was read after %v", e.Type, e.FirstByte)
		}
		if e.Type == event.Copied && (e.Path != "/f" || e.Target != "/new" || e.Service != "sftp") {
			t.Errorf("the copy is reported as %+v", e)
		}
	}
	want := map[event.Type]moved{event.FileReadClosed: {3, 0}, event.FileWriteClosed: {0, 5}, event.Copied: {0, 8}}
	if !maps.Equal(got, want) {
		t.Errorf("bytes by event are %v, want %v", got, want)
	}
}
