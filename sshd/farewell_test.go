package sshd

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/login"
)

// TestFarewell: a client that is disconnected gets the reason, also while it does
// not read the data of a service.
func TestFarewell(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*fixture)
		want string
	}{
		"kicked":    {func(f *fixture) { f.Kick("alice") }, "An operator has ended this session."},
		"disabled":  {func(f *fixture) { f.people.set("alice", directory.StatusDisabled); f.Reconsider(t.Context()) }, "Your account is disabled. This session has ended."},
		"shut down": {func(f *fixture) { f.shutdownNow(t) }, "The server is shutting down."},
	} {
		for _, stuck := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", with a download that nobody reads"}[stuck], func(t *testing.T) {
				f := start(t)
				client := f.must(t)
				patched(t, client.Conn)
				for len(f.Sessions()) == 0 { // the client must get the answer to its login first
					time.Sleep(time.Millisecond)
				}
				if stuck {
					f.stuckDownload(t, client)
				}
				tt.end(f)
				if err := client.Wait(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("the client was disconnected with %v, want %q", err, tt.want)
				}
			})
		}
	}
}

// shutdownNow ends the server without a drain.
func (f *fixture) shutdownNow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Shutdown(ctx)
}

// stuckDownload begins a download that the client does not read, and returns when the
// server cannot send any more of it.
func (f *fixture) stuckDownload(t *testing.T, client *ssh.Client) {
	t.Helper()
	p, err := f.Gate.Rules.Resolve(policy.Request{User: &directory.User{}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Open(p, fs.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	file, err := files.OpenFile("/big", 0x41, 0o600) // O_WRONLY|O_CREATE
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4*minWindow)
	rand.Read(data)
	if _, err := file.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	file.Close()
	ch, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"scp -f /big"})); !ok || err != nil {
		t.Fatalf("scp: %t, %v", ok, err)
	}
	ch.Write([]byte{0})
	if _, err := io.ReadFull(ch, make([]byte, 10)); err != nil { // the line of the file
		t.Fatal(err)
	}
	ch.Write([]byte{0})
	moved := func() int64 {
		for _, c := range f.connections() {
			return c.moved.read.Load()
		}
		return 0
	}
	for deadline := time.Now().Add(30 * time.Second); moved() < int64(minWindow); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d bytes were sent", moved())
		}
	}
}

// A readsNothing is a connection of the library to a client that reads nothing.
type readsNothing struct {
	ssh.Conn
	nc net.Conn
}

func (r readsNothing) Disconnect(uint32, string) error {
	_, err := r.nc.Write([]byte("disconnect"))
	return err
}

// A rekeys is a connection of the library to a client that has begun a key exchange and
// does not go on: the library holds back what is written, and reads.
type rekeys struct {
	ssh.Conn
	nc net.Conn
}

func (r rekeys) Disconnect(uint32, string) error {
	_, err := r.nc.Read(make([]byte, 1))
	return err
}

// TestFarewellIsBounded: a client that reads nothing, or never ends a key exchange, does
// not keep its connection.
func TestFarewellIsBounded(t *testing.T) {
	for name, library := range map[string]func(net.Conn) ssh.Conn{
		"reads nothing":               func(nc net.Conn) ssh.Conn { return readsNothing{nc: nc} },
		"key exchange without an end": func(nc net.Conn) ssh.Conn { return rekeys{nc: nc} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer there.Close()
				c := &conn{srv: &Server{}, nc: here, ssh: &ssh.ServerConn{Conn: library(here)}}
				c.grant.Store(&login.Grant{})
				c.close(event.TooMuchUnread)
				time.Sleep(farewellWait + time.Millisecond)
				there.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := there.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("after %v the client can still read: %v", farewellWait, err)
				}
			})
		})
	}
}

// TestUnreadIsCharged: data that no service reads counts for the person who sent it.
func TestUnreadIsCharged(t *testing.T) {
	f := start(t)
	client := f.must(t)
	patched(t, client.Conn)
	f.budget.mu.Lock()
	f.budget.perUser.unread = 1 << 20
	f.budget.mu.Unlock()
	ch, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	ch.Write(make([]byte, minWindow)) // all that a client may send
	if err := client.Wait(); err == nil || !strings.Contains(err.Error(), farewells[event.TooMuchUnread]) {
		t.Errorf("the client was disconnected with %v, want %q", err, farewells[event.TooMuchUnread])
	}
	f.hangUp()
	if e := f.events.last(event.ConnectionClosed); e.Reason != event.TooMuchUnread {
		t.Errorf("closed for %q", e.Reason)
	}
	if held := f.budget.all; held != (holding{}) {
		t.Errorf("%+v is held at the end", held)
	}
}
