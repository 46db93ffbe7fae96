package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"berth/sshd/event"
)

// chained are settings of small files with a chain.
func chained(t *testing.T) Settings {
	s := settings(t)
	s.Chain, s.MaxSize, s.Compress, s.Keep = true, 4000, false, 0
	return s
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// openSigned opens s.File as a server does.
func openSigned(t *testing.T, s Settings, key ssh.Signer) *File {
	f := open(t, s)
	f.Sign(key)
	return f
}

// verify returns what was found, and the breaks.
func verify(t *testing.T, key ssh.Signer, files ...string) (*Verifier, []string) {
	t.Helper()
	var breaks []string
	v := &Verifier{Keys: []string{ssh.FingerprintSHA256(key.PublicKey())}, Broken: func(file string, line int, what string) {
		breaks = append(breaks, fmt.Sprintf("%s:%d: %s", filepath.Base(file), line, what))
	}}
	if err := v.Verify(files...); err != nil {
		t.Fatal(err)
	}
	if len(breaks) != v.Breaks {
		t.Errorf("%d breaks were reported, %d counted", len(breaks), v.Breaks)
	}
	return v, breaks
}

// intact fails if the chain of s.File is broken or is not signed to its end, and
// returns how many lines it has.
func intact(t *testing.T, s Settings, key ssh.Signer) *Verifier {
	t.Helper()
	v, breaks := verify(t, key, s.File)
	if len(breaks) > 0 || v.Unsigned > 0 || v.Incomplete || v.Lines == 0 || v.Unchained > 0 {
		t.Errorf("the chain: %q, %+v", breaks, v)
	}
	return v
}

// checkpointsLeftOut are the events of all files of s, without checkpoints.
func checkpointsLeftOut(t *testing.T, s Settings) []string {
	t.Helper()
	live, err := os.Open(s.File)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	older, err := series(s.File, live)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, path := range append(older, s.File) {
		if !strings.HasSuffix(path, ".gz") {
			all = append(all, paths(t, read(t, path))...)
		}
	}
	return slices.DeleteFunc(all, func(p string) bool { return p == "events_checkpoint" })
}

func TestChainOverRotations(t *testing.T) {
	s, key := chained(t), newKey(t)
	for run := range 2 {
		f := openSigned(t, s, key)
		for i := range 100 {
			f.Emit(numbered(100*run + i))
		}
		closeFile(t, f)
	}
	v := intact(t, s, key)
	if got := checkpointsLeftOut(t, s); len(got) != 200 || !slices.IsSorted(got) || v.Files < 5 {
		t.Errorf("%d events in %d files, want 200 in order, in several files", len(got), v.Files)
	}
	for _, path := range glob(t, s, "*.jsonl") {
		if text := read(t, path); len(text) > 4000 || !strings.Contains(text[:strings.IndexByte(text, '\n')], `"type":"events_checkpoint"`) {
			t.Errorf("%s: %d bytes, begins with %.80s", path, len(text), text)
		}
	}
	s.Compress = true
	closeFile(t, openSigned(t, s, key)) // compresses
	if again := intact(t, s, key); again.Lines != v.Lines+1 || len(glob(t, s, "*.gz")) != v.Files-1 {
		t.Errorf("compressed: %d lines, want %d and a checkpoint", again.Lines, v.Lines)
	}
	files := glob(t, s, "*.jsonl*")
	slices.Reverse(files) // several files may be named in any order
	if _, breaks := verify(t, key, files...); len(breaks) > 0 {
		t.Errorf("files by name: %q", breaks)
	}
	for range 2 { // what retention removes is no break
		if err := os.Remove(glob(t, s, "*.gz")[0]); err != nil {
			t.Fatal(err)
		}
		intact(t, s, key)
	}
	if err := os.Remove(glob(t, s, "*.gz")[1]); err != nil {
		t.Fatal(err)
	}
	if _, breaks := verify(t, key, s.File); len(breaks) != 1 || !strings.Contains(breaks[0], "lines are missing before it") {
		t.Errorf("a file in the middle is gone: %q", breaks)
	}
}

// A file that is old enough is full with the next event, also after a restart.
func TestRotationByAge(t *testing.T) {
	s, key := chained(t), newKey(t)
	s.MaxSize, s.MaxAge = 0, time.Hour
	synctest.Test(t, func(t *testing.T) {
		for i := range 8 { // one every 20 minutes
			f := openSigned(t, s, key)
			f.Emit(numbered(i))
			closeFile(t, f)
			time.Sleep(20 * time.Minute)
		}
		f := openSigned(t, s, key)
		for i := range 4 {
			f.Emit(numbered(8 + i))
			time.Sleep(20 * time.Minute)
		}
		closeFile(t, f)
		if files := glob(t, s, "events-*"); len(files) != 3 {
			t.Errorf("%q: want three full files of an hour each", files)
		}
		if got := checkpointsLeftOut(t, s); !slices.Equal(got, numberedTo(12)) {
			t.Errorf("got %q", got)
		}
		intact(t, s, key)
	})
}

// A line longer than a file has one of its own, after a checkpoint.
func TestChainWithTinyFiles(t *testing.T) {
	s, key := chained(t), newKey(t)
	s.MaxSize = 10
	f := openSigned(t, s, key)
	for i := range 5 {
		f.Emit(numbered(i))
	}
	closeFile(t, f)
	if v := intact(t, s, key); v.Files != 5 && v.Files != 6 {
		t.Errorf("%d files, want one an event", v.Files)
	}
}

// TestTwoWritersOneChain: during an upgrade, and when a command writes an event, two
// processes write to one file, and one of them begins new files.
func TestTwoWritersOneChain(t *testing.T) {
	s, key := chained(t), newKey(t)
	s.Compress = true
	old := openSigned(t, s, key)
	for i := range 30 {
		old.Emit(numbered(i))
	}
	next := openSigned(t, s, key)
	old.Yield()
	for i := range 400 {
		next.Emit(numbered(i))
		old.Emit(numbered(i))
		if i%40 == 0 {
			command := s
			command.MaxSize = 0
			c := open(t, command)
			c.Emit(event.Event{Type: event.CodeSecretAdded})
			closeFile(t, c)
		}
	}
	closeFile(t, old)
	closeFile(t, next)
	v := intact(t, s, key)
	if want := uint64(30 + 800 + 10); v.Lines < want+uint64(v.Files) || v.Files < 20 {
		t.Errorf("%d lines in %d files, want %d and checkpoints", v.Lines, v.Files, want)
	}
}

// A process that opens the file while another one writes a line sees a part of it, which
// is no line that a crash has cut off.
func TestOpenedWhileALineIsWritten(t *testing.T) {
	s, key := chained(t), newKey(t)
	s.MaxSize = 0
	f := openSigned(t, s, key)
	f.Emit(numbered(0))
	closeFile(t, f)
	whole, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	half := len(whole) - 20
	if err := os.WriteFile(s.File, whole[:half], 0o640); err != nil {
		t.Fatal(err)
	}
	f = open(t, s) // without a key it writes nothing of itself
	other, err := os.OpenFile(s.File, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write(whole[half:]); err != nil {
		t.Fatal(err)
	}
	f.Emit(numbered(1))
	closeFile(t, f)
	if _, breaks := verify(t, key, s.File); len(breaks) > 0 {
		t.Error(breaks)
	}
}

// A crash leaves a part of a line, nothing of a new file, or only its name.
func TestChainAfterACrash(t *testing.T) {
	s, key := chained(t), newKey(t)
	write := func(n int) {
		f := openSigned(t, s, key)
		for i := range n {
			f.Emit(numbered(i))
		}
		closeFile(t, f)
	}
	write(3)
	torn := func(text string) {
		t.Helper()
		f, err := os.OpenFile(s.File, os.O_APPEND|os.O_WRONLY, 0)
		if _, err2 := f.WriteString(text); err != nil || err2 != nil || f.Close() != nil {
			t.Fatal(err, err2)
		}
	}
	torn(`{"time":"2026`)
	write(2)
	if v := intact(t, s, key); v.Cut != 1 {
		t.Errorf("%d lines cut by a crash, want 1", v.Cut)
	}
	torn("{\"time\":\"2026\n") // the next process was killed before it reported that
	write(2)
	if v := intact(t, s, key); v.Cut != 2 {
		t.Errorf("%d lines cut by crashes, want 2", v.Cut)
	}
	whole := read(t, s.File)
	if err := os.WriteFile(s.File, []byte(strings.TrimSuffix(whole, "\n")), 0o640); err != nil { // only the end of a line is missing
		t.Fatal(err)
	}
	write(2)
	intact(t, s, key)
	for _, left := range []string{"", `{"time":`} {
		closeFile(t, open(t, s)) // waits for the archive
		f, err := take(s.File, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(left)
		f.Close()
		write(2)
		intact(t, s, key)
	}
	whole = read(t, s.File)
	changed := strings.Replace(whole, `{"time":`+"\n", `{"zime":`+"\n", 1)
	if changed == whole {
		t.Fatal("no line was cut in this file")
	}
	if err := os.WriteFile(s.File, []byte(changed), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, breaks := verify(t, key, s.File); len(breaks) != 1 || !strings.Contains(breaks[0], ":1: is no event") {
		t.Errorf("what a crash has left was changed: %q", breaks)
	}
}

// While the disk is full lines are written in parts, removed and written again; one
// that can only grow keeps the parts.
func TestChainOnAFullDisk(t *testing.T) {
	s, key := chained(t), newKey(t)
	s.MaxSize = 0
	f := openSigned(t, s, key)
	d := &limited{file: f.out.f}
	f.out.mu.Lock()
	f.out.f = d
	f.out.mu.Unlock()
	for i := range 60 {
		d.room, d.grows = 13*i, i%3 == 0
		e := numbered(i)
		line := append(e.AppendJSON(nil, ""), '\n')
		rest, err := f.out.write(line)
		if (err != nil) != (len(rest) > 0) || err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("%d bytes not written, %v", len(rest), err)
		}
		d.room = 1 << 30
		if rest, err := f.out.write(rest); err != nil || len(rest) > 0 {
			t.Fatalf("%d bytes not written, %v", len(rest), err)
		}
	}
	closeFile(t, f)
	v := intact(t, s, key)
	if got := strings.Count(read(t, s.File), `"type":"removed"`); got < 60 || v.Cut < 3 {
		t.Errorf("%d events, %d lines cut, want 60 or more, and some cut", got, v.Cut)
	}
}

// limited is a file on a disk with room for some bytes. If it grows, nothing can be
// removed from it.
type limited struct {
	file
	room  int
	grows bool
}

func (l *limited) Write(b []byte) (int, error) {
	n, err := l.file.Write(b[:min(len(b), l.room)])
	l.room -= n
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	return n, err
}

func (l *limited) Truncate(size int64) error {
	if l.grows {
		return unix.EPERM
	}
	return l.file.Truncate(size)
}

// Lines are signed after five minutes, or a thousand.
func TestCheckpointsCome(t *testing.T) {
	s := chained(t)
	s.MaxSize = 0
	synctest.Test(t, func(t *testing.T) {
		f := openSigned(t, s, newKey(t))
		checkpoints := func() int {
			synctest.Wait()
			return strings.Count(read(t, s.File), `"type":"events_checkpoint"`)
		}
		f.Emit(numbered(0))
		time.Sleep(signAfter - time.Second)
		if got := checkpoints(); got != 1 {
			t.Errorf("%d checkpoints at first, want 1", got)
		}
		time.Sleep(2 * time.Second)
		if got := checkpoints(); got != 2 {
			t.Errorf("%d checkpoints after five minutes, want 2", got)
		}
		time.Sleep(24 * time.Hour)
		if got := checkpoints(); got != 2 {
			t.Errorf("%d checkpoints when nothing happens, want 2", got)
		}
		for range 2 {
			for i := range signEvery {
				f.Emit(numbered(i))
			}
			time.Sleep(time.Second)
		}
		if got := checkpoints(); got < 3 || got > 4 {
			t.Errorf("%d checkpoints after 2,000 lines more, want 3 or 4", got)
		}
		closeFile(t, f)
	})
}

// A file that is removed, shortened or changed while a server writes is noticed,
// because the server remembers what it has written.
func TestServerRemembersTheChain(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed": os.Remove,
		"shortened": func(path string) error {
			return os.Truncate(path, int64(bytes.IndexByte([]byte(mustRead(path)), '\n')+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, key := chained(t), newKey(t)
			f := openSigned(t, s, key)
			for i := range 3 {
				f.Emit(numbered(i))
			}
			waitFor(t, s.File, "/000002")
			old := mustRead(s.File)
			if err := change(s.File); err != nil {
				t.Fatal(err)
			}
			f.Emit(numbered(3))
			closeFile(t, f)
			v, breaks := verify(t, key, s.File)
			if name == "removed" { // the beginning cannot be known without what was there
				if !strings.Contains(mustRead(s.File), `"previous":"4:`) || v.Lines < 3 {
					t.Errorf("the new file does not follow on %s", old)
				}
			} else if len(breaks) != 1 || !strings.Contains(breaks[0], ":2: 3 lines are missing before it") {
				t.Errorf("got %q", breaks)
			}
		})
	}
}

func mustRead(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// What was there before the chain is not proved, and is no break.
func TestChainBeginsInAnOldFile(t *testing.T) {
	s, key := chained(t), newKey(t)
	plain := s
	plain.Chain = false
	f := open(t, plain)
	f.Emit(numbered(1))
	closeFile(t, f)
	f = openSigned(t, s, key)
	f.Emit(numbered(2))
	closeFile(t, f)
	v, breaks := verify(t, key, s.File)
	if len(breaks) > 0 || v.Unchained != 1 || v.Lines != 3 {
		t.Errorf("%q, %+v", breaks, v)
	}
	f = open(t, plain)
	f.Emit(numbered(3))
	closeFile(t, f)
	f = openSigned(t, s, key)
	f.Emit(numbered(4))
	closeFile(t, f)
	if _, breaks := verify(t, key, s.File); len(breaks) != 1 || !strings.Contains(breaks[0], ":5: has no chain") {
		t.Errorf("the chain was off for one line: %q", breaks)
	}
}

func FuzzLink(f *testing.F) {
	l := link{number: 7}.next([]byte("x"))
	f.Add([]byte(`{"chain":"` + l.String() + `"}`))
	f.Add([]byte(`{"a":1,"chain":"` + l.String() + `"}`))
	f.Add([]byte(`{"a":1,"chain":"07:` + base64.RawURLEncoding.EncodeToString(l.hash[:]) + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		body, l, ok := cutLink(line)
		if ok && string(body)+linkMember+l.String()+`"}` != string(line) {
			t.Errorf("%q: taken apart as %q and %v", line, body, l)
		}
	})
}

// BenchmarkWrite is what a line costs on its way to the file.
func BenchmarkWrite(b *testing.B) {
	for _, chain := range []bool{false, true} {
		b.Run(fmt.Sprint("chain=", chain), func(b *testing.B) {
			s := DefaultSettings()
			s.File, s.Chain, s.MaxSize = filepath.Join(b.TempDir(), "events.jsonl"), chain, 0
			o, err := openOutput(s, hclog.NewNullLogger())
			if err != nil {
				b.Fatal(err)
			}
			if chain {
				o.chain.due, o.chain.sign = time.AfterFunc(time.Hour, func() {}), newKey(b)
			}
			var lines []byte
			for range 100 {
				e := usual
				lines = append(e.AppendJSON(lines, "berth1"), '\n')
			}
			b.SetBytes(int64(len(lines) / 100))
			for b.Loop() {
				if _, err := o.write(lines); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(100*b.N), "ns/event")
		})
	}
}
