package sshd

import (
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
)

// These tests observe what the code here relies on in the SSH library and no
// documentation promises, so that an update that changes it fails here.

// ahead is an end of a pipe that takes some writes before they are read: both ends
// of an SSH connection begin by writing.
type ahead struct {
	net.Conn
	queue  chan []byte
	closed chan struct{}
	once   sync.Once
}

func newAhead(nc net.Conn) *ahead {
	a := &ahead{Conn: nc, queue: make(chan []byte, 16), closed: make(chan struct{})}
	go func() {
		for {
			select {
			case p := <-a.queue:
				nc.Write(p)
			case <-a.closed:
				return
			}
		}
	}()
	return a
}

func (a *ahead) Write(p []byte) (int, error) {
	select {
	case a.queue <- slices.Clone(p):
		return len(p), nil
	case <-a.closed:
		return 0, net.ErrClosed
	}
}

func (a *ahead) Close() error {
	a.once.Do(func() { close(a.closed) })
	return a.Conn.Close()
}

// libraryPair is a client and a server of the library, on a pipe. accepted has the
// server's side of every channel; nobody reads from it. charge is set if the library
// has Berth's patches.
func libraryPair(t *testing.T, charge func(bytes int64) error) (client ssh.Conn, accepted <-chan ssh.Channel) {
	t.Helper()
	here, there := net.Pipe()
	channels := make(chan ssh.Channel, 1)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(newSigner(t))
	go func() {
		defer close(channels)
		sc, opened, requests, err := ssh.NewServerConn(newAhead(there), config)
		if err != nil {
			t.Error(err)
			return
		}
		if lib, ok := sc.Conn.(charged); ok {
			lib.Charge(charge)
		}
		go ssh.DiscardRequests(requests)
		for nc := range opened {
			if ch, reqs, err := nc.Accept(); err == nil {
				go ssh.DiscardRequests(reqs)
				channels <- ch
			}
		}
	}()
	client, opened, requests, err := ssh.NewClientConn(newAhead(here), "", &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	go func() {
		for nc := range opened {
			nc.Reject(ssh.Prohibited, "")
		}
	}()
	t.Cleanup(func() { client.Close() })
	return client, channels
}

// patched skips a test of what the library only does with Berth's patches. The
// Makefile builds with them: there it is a failure that they are missing.
func patched(t *testing.T, conn ssh.Conn) {
	t.Helper()
	if _, ok := conn.(charged); ok {
		return
	}
	if strings.Contains(os.Getenv("GOFLAGS"), ".patched") {
		t.Fatal("the library does not have Berth's patches, although this is a build with them")
	}
	t.Skip("the library does not have Berth's patches: run make test")
}

// openChannel opens a channel and returns both sides.
func openChannel(t *testing.T, client ssh.Conn, accepted <-chan ssh.Channel) (here, there ssh.Channel) {
	t.Helper()
	here, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	return here, <-accepted
}

// fill writes to w, in pieces of size, what is taken although nobody reads it. The
// writer stays until the connection ends.
func fill(w io.Writer, size int) (sent *atomic.Int64) {
	sent = new(atomic.Int64)
	go func() {
		for {
			n, err := w.Write(make([]byte, size))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	synctest.Wait()
	return sent
}

// TestLibraryWindow: a channel from which nothing is read accepts one window
// of data.
func TestLibraryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, accepted := libraryPair(t, nil)
		ch, _ := openChannel(t, client, accepted)
		if n := fill(ch, 1024).Load(); n != int64(minWindow) {
			t.Errorf("%d bytes were taken that nobody reads, want a window of %d", n, minWindow)
		}
		client.Close()
		synctest.Wait()
	})
}

// TestGrowWindow: a client may send as much more as the window is made larger by.
func TestGrowWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, accepted := libraryPair(t, nil)
		patched(t, client)
		ch, there := openChannel(t, client, accepted)
		sent := fill(ch, 1024)
		lib := there.(windowed)
		if err := lib.GrowWindow(3 << 20); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		size, unread := lib.Window()
		if n := sent.Load(); n != 5<<20 || size != 5<<20 || unread != 5<<20 {
			t.Errorf("%d bytes were taken by a window of %d, with %d unread; want 5 MiB, all of it used", n, size, unread)
		}
		io.ReadFull(there, make([]byte, 2<<20))
		synctest.Wait()
		if n := sent.Load(); n != 7<<20 {
			t.Errorf("%d bytes were taken when 2 MiB had been read, want 7 MiB", n)
		}
		client.Close()
		synctest.Wait()
	})
}

// A fakeWindow is a channel with a client at some distance, that sends as much in a
// round trip as the window allows, but no more than the line does.
type fakeWindow struct {
	ssh.Channel
	trip         time.Duration
	line         int // bytes a round trip
	size, unread uint32
}

func (f *fakeWindow) Read(p []byte) (int, error) {
	inTrip := min(f.line, int(f.size))
	time.Sleep(time.Duration(float64(f.trip) * float64(len(p)) / float64(inTrip)))
	return len(p), nil
}
func (f *fakeWindow) Window() (size, unread uint32) { return f.size, f.unread }
func (f *fakeWindow) GrowWindow(by uint32) error    { f.size += by; return nil }

// TestGrow: a window is made larger if it bounds an upload, and only then; never
// beyond its bound and the budget; and all is given back.
func TestGrow(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		window Window
		budget int64
		trip   time.Duration
		line   float64 // MiB a round trip
		unread uint32
		want   uint32 // MiB
	}{
		"a long way":               {WindowAuto, 1 << 30, 150 * time.Millisecond, 1000, 0, 64},
		"a short way":              {WindowAuto, 1 << 30, 5 * time.Millisecond, 1000, 0, 64},
		"the same room":            {WindowAuto, 1 << 30, 3 * time.Millisecond, 1000, 0, 2},
		"a line that is full":      {WindowAuto, 1 << 30, 50 * time.Millisecond, 3, 0, 8},
		"a slow line":              {WindowAuto, 1 << 30, 150 * time.Millisecond, 0.5, 0, 2},
		"a disk that is slower":    {WindowAuto, 1 << 30, 50 * time.Millisecond, 1000, mib, 2},
		"until the budget":         {WindowAuto, 7 * mib, 50 * time.Millisecond, 1000, 0, 8},
		"a size":                   {5 * mib, 1 << 30, 50 * time.Millisecond, 1000, 0, 5},
		"a size beyond the budget": {5 * mib, mib, 50 * time.Millisecond, 1000, 0, 2},
		"the library's size":       {minWindow, 1 << 30, 50 * time.Millisecond, 1000, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &Server{Settings: Settings{Window: tt.window}}
				srv.budget.perUser, srv.budget.total = holding{window: tt.budget}, holding{window: 1 << 40}
				lib := &fakeWindow{trip: tt.trip, line: int(tt.line * mib), size: uint32(minWindow), unread: tt.unread}
				ch := (&conn{srv: srv}).grow(lib, directory.Identity{ID: "alice"})
				time.Sleep(tt.trip)
				ch.requested()
				time.Sleep(time.Second) // a person thinks
				ch.requested()
				for range 10_000 {
					ch.Read(make([]byte, 32<<10))
				}
				if lib.size != tt.want*mib {
					t.Errorf("the window has %d bytes, want %d MiB", lib.size, tt.want)
				}
				if held := srv.budget.all.window; held != int64(lib.size)-int64(minWindow) {
					t.Errorf("%d bytes are held for a window of %d", held, lib.size)
				}
				if ch.end(); srv.budget.all != (holding{}) {
					t.Errorf("%+v is held at the end", srv.budget.all)
				}
			})
		})
	}
}

// TestCharge: unread data is charged, at most a step more, and released when it was
// read or the channel has ended. If it cannot be charged, the connection ends.
func TestCharge(t *testing.T) {
	const step = 256 << 10
	for _, limit := range []int64{1 << 40, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			var held, most atomic.Int64
			client, accepted := libraryPair(t, func(bytes int64) error {
				if bytes > 0 && held.Load()+bytes > limit {
					return errBudget
				}
				most.Store(max(most.Load(), held.Add(bytes)))
				return nil
			})
			patched(t, client)
			ch, there := openChannel(t, client, accepted)
			n := fill(ch, 1000).Load()
			if limit > int64(minWindow) {
				if held.Load() < n || held.Load() > n+step {
					t.Errorf("%d bytes are charged for %d that nobody has read", held.Load(), n)
				}
				io.ReadFull(there, make([]byte, minWindow))
				io.ReadFull(there, make([]byte, minWindow))
			} else if most.Load() != limit || client.Wait() == nil {
				t.Errorf("%d bytes were charged, want %d and the end", most.Load(), limit)
			}
			client.Close()
			synctest.Wait()
			if held.Load() != 0 {
				t.Errorf("%d bytes are charged after the end, of a limit of %d", held.Load(), limit)
			}
		})
	}
}

// TestSmallPackets: a window full of packets of one byte does not need a hundred
// times its size in memory. Standard error, which nothing reads, needs none.
func TestSmallPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, accepted := libraryPair(t, nil)
		patched(t, client)
		ch, there := openChannel(t, client, accepted)
		before := heap()
		if n := fill(ch, 1).Load(); n != int64(minWindow) {
			t.Fatalf("%d bytes were taken, want %d", n, minWindow)
		}
		if used := heap() - before; used > 2*int64(minWindow) {
			t.Errorf("%d bytes in packets of one take %d of memory", minWindow, used)
		}
		client.Close()
		runtime.KeepAlive(there)
		synctest.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		client, accepted := libraryPair(t, nil)
		patched(t, client)
		ch, _ := openChannel(t, client, accepted)
		if n, err := ch.Stderr().Write(make([]byte, 10*minWindow)); n != 10*int(minWindow) || err != nil {
			t.Errorf("%d bytes of standard error were taken, %v; want all", n, err)
		}
		client.Close()
		synctest.Wait()
	})
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFullAgent: max_offers refused offers are free, and the next ones are tries. At the
// limit the client reads what to do.
func TestFullAgent(t *testing.T) {
	f := start(t, func(f *fixture) { f.Gate.MaxTries, f.Gate.MaxOffers = 3, 5 })
	first := f.must(t)
	patched(t, first.Conn)
	first.Close()
	for offers, want := range map[int]bool{4: true, 7: true, 8: false} {
		keys := make([]ssh.Signer, offers, offers+1)
		for i := range keys {
			keys[i] = newSigner(t)
		}
		client, banner, err := f.dial(t, "alice", ssh.PublicKeys(append(keys, f.key)...))
		if (err == nil) != want {
			t.Errorf("login with the key after %d others = %v, want success: %t", offers, err, want)
		}
		if got := strings.Count(banner, "5 keys were offered"); got != min(offers/5, 1) {
			t.Errorf("%d keys: the client read %q", offers, banner)
		}
		if err == nil {
			client.Close()
		}
	}
	f.hangUp()
	if got := len(f.events.reasons(event.LoginAccepted)); got != 3 {
		t.Errorf("%d logins, want 3", got)
	}
}
