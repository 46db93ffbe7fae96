package sftp_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"berth/sshd/sftp"
)

// loop is a client that says the same again and again, and counts.
type loop struct {
	hello, ask []byte // once, and then again and again
	times      int    // that ask is still to be said
	rest       []byte
	took       int // bytes of answers
}

func (l *loop) Read(b []byte) (int, error) {
	if len(l.rest) == 0 {
		if l.times == 0 {
			return 0, io.EOF
		}
		l.times--
		l.rest = l.ask
		if l.hello != nil {
			l.rest, l.hello = l.hello, nil
		}
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *loop) Write(b []byte) (int, error) { l.took += len(b); return len(b), nil }

// TestIdleSessionHoldsNothing looks at what a client finds that waits: no answer
// is kept back, and the server waits in a read of a few bytes.
func TestIdleSessionHoldsNothing(t *testing.T) {
	files := aTree(t)
	p := &pauses{asks: [][]byte{hello, packet(fxRealpath, 1, "/a"), append(packet(fxRealpath, 2, "/b"), packet(fxRealpath, 3, "/c")...)}}
	if err := sftp.Serve(p, files, sftp.Options{}); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{0, 1, 2, 4} {
		if p.answered[i] != n {
			t.Errorf("at pause %d there were %d answers, want %d", i, p.answered[i], n)
		}
		if p.room[i] > 1024 {
			t.Errorf("at pause %d the session waits with %d bytes, want a few", i, p.room[i])
		}
	}
}

// TestIdleSessionIsOneGoroutine counts those of sessions that have answered and wait.
func TestIdleSessionIsOneGoroutine(t *testing.T) {
	files := aTree(t)
	const sessions = 20
	var running sync.WaitGroup
	var clients []net.Conn
	for range sessions {
		here, there := net.Pipe()
		clients = append(clients, here)
		running.Go(func() { sftp.Serve(there, files, sftp.Options{}) })
		for _, ask := range [][]byte{hello, packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxRead, 2, first, uint64(0), 8)} {
			here.Write(ask)
			var size [4]byte
			if _, err := io.ReadFull(here, size[:]); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, here, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
				t.Fatal(err)
			}
		}
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	got := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "berth/sshd/sftp.") { // runs there, or was started there
			got++
		}
	}
	if got != sessions {
		t.Errorf("%d idle sessions are %d goroutines", sessions, got)
	}
	for _, c := range clients {
		c.Close()
	}
	running.Wait()
}

// pauses is a client that waits between what it says.
type pauses struct {
	asks     [][]byte
	took     bytes.Buffer
	answered []int // packets taken before each pause
	room     []int // bytes offered to read into at each pause
}

func (p *pauses) Read(b []byte) (int, error) {
	n := 0
	for rest := p.took.Bytes(); len(rest) > 4; n++ {
		rest = rest[4+binary.BigEndian.Uint32(rest):]
	}
	p.answered, p.room = append(p.answered, n), append(p.room, len(b))
	if len(p.asks) == 0 {
		return 0, io.EOF
	}
	ask := p.asks[0]
	p.asks = p.asks[1:]
	return copy(b, ask), nil
}

func (p *pauses) Write(b []byte) (int, error) { return p.took.Write(b) }

// TestSlowReader has a client that asks for 10,000 answers and takes none: the
// server stops reading, and goes when the connection does.
func TestSlowReader(t *testing.T) {
	files := newHostFS(t)
	if err := os.WriteFile(files.host("/f"), random(32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		ended := make(chan error)
		go func() { ended <- sftp.Serve(there, files, sftp.Options{}) }()
		l := &loop{hello: append(bytes.Clone(hello), packet(fxOpen, 1, "/f", rd, noAttrs)...), ask: packet(fxRead, 1, first, uint64(0), 32<<10), times: 10000}
		sent := 0
		go func() {
			b := make([]byte, 1024)
			for {
				n, _ := l.Read(b)
				if _, err := here.Write(b[:n]); err != nil {
					return
				}
				sent += n
			}
		}()
		io.ReadFull(here, make([]byte, 5)) // it has begun to answer
		synctest.Wait()
		if sent > 512<<10 {
			t.Errorf("the server took %d bytes of requests while nobody took its answers, want less than two buffers", sent)
		}
		here.Close()
		if err := <-ended; err == nil {
			t.Error("Serve = nil, want the error of a write")
		}
		synctest.Wait()
	})
	if n := files.open.Load(); n != 0 {
		t.Errorf("%d files left open", n)
	}
}

// TestBatches sends many reads at once and counts the writes that answer them.
func TestBatches(t *testing.T) {
	files := newHostFS(t)
	if err := os.WriteFile(files.host("/f"), random(32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	in := append(bytes.Clone(hello), packet(fxOpen, 1, "/f", rd, noAttrs)...)
	for i := range 64 {
		in = append(in, packet(fxRead, i, first, uint64(0), 32<<10)...)
	}
	s := &script{Reader: bytes.NewReader(in)}
	if err := sftp.Serve(s, files, sftp.Options{}); err != nil {
		t.Fatal(err)
	}
	if n := len(split(t, s.Bytes())); n != 66 {
		t.Errorf("%d answers, want 66", n)
	}
	// 2 MiB leave in pieces of seven answers; reads of 512 bytes add a few.
	if s.writes > 20 {
		t.Errorf("%d writes for 64 answers of 32 KiB, want about 10", s.writes)
	}
}

// TestManySmallRequests are pipelined as a hostile client does.
func TestManySmallRequests(t *testing.T) {
	l := &loop{hello: hello, ask: packet(fxLstat, 1, "/f"), times: 10001}
	if err := sftp.Serve(l, aTree(t), sftp.Options{}); err != nil {
		t.Fatal(err)
	}
	if l.took < 10000*(4+37) {
		t.Errorf("%d bytes of answers, want 10,000 answers", l.took)
	}
}

func BenchmarkRead255KiB(b *testing.B) {
	benchmark(b, rd, packet(fxRead, 1, first, uint64(0), 255<<10))
}

func BenchmarkRead32KiB(b *testing.B) {
	benchmark(b, rd, packet(fxRead, 1, first, uint64(0), 32<<10))
}

func BenchmarkWrite255KiB(b *testing.B) {
	benchmark(b, wr, packet(fxWrite, 1, first, uint64(0), string(random(255<<10))))
}

func BenchmarkWrite32KiB(b *testing.B) {
	benchmark(b, wr, packet(fxWrite, 1, first, uint64(0), string(random(32<<10))))
}

func BenchmarkStat(b *testing.B) { benchmark(b, rd, packet(fxStat, 1, "/f")) }

func benchmark(b *testing.B, flag int, ask []byte) {
	files := newHostFS(b)
	if err := os.WriteFile(files.host("/f"), random(255<<10), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(max(len(ask), 32<<10)))
	b.ReportAllocs()
	l := &loop{hello: append(bytes.Clone(hello), packet(fxOpen, 1, "/f", flag, noAttrs)...), ask: ask, times: b.N + 1}
	b.ResetTimer()
	if err := sftp.Serve(l, files, sftp.Options{}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkReaddir(b *testing.B) {
	files := newHostFS(b)
	for i := range 1000 {
		if err := os.WriteFile(files.host("/file-"+string(rune('a'+i%26))+string(rune('0'+i/26))), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for range b.N {
		s := &script{Reader: bytes.NewReader(bytes.Join([][]byte{hello, packet(fxOpendir, 1, "/"), packet(fxReaddir, 1, first), packet(fxReaddir, 1, first), packet(fxReaddir, 1, first), packet(fxReaddir, 1, first)}, nil))}
		if err := sftp.Serve(s, files, sftp.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
