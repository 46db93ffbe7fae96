package sshd

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

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
// server's side of every channel; nobody reads from it.
func libraryPair(t *testing.T) (client ssh.Conn, accepted <-chan ssh.Channel) {
	t.Helper()
	here, there := net.Pipe()
	channels := make(chan ssh.Channel, 1)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(newSigner(t))
	go func() {
		defer close(channels)
		_, opened, requests, err := ssh.NewServerConn(newAhead(there), config)
		if err != nil {
			t.Error(err)
			return
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

// TestLibraryWindow writes into a channel that nobody reads from, and the same as
// standard error. The library takes one window for both together, in packets of at
// most 32 KiB: this is what the meter's bounds are made of.
func TestLibraryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, accepted := libraryPair(t)
		ch, requests, err := client.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		server := <-accepted
		var sent atomic.Int64
		ended := make(chan error)
		go func() {
			for i := 0; ; i++ {
				w := io.Writer(ch)
				if i%2 == 1 {
					w = ch.Stderr()
				}
				n, err := w.Write(make([]byte, 1024))
				if sent.Add(int64(n)); err != nil {
					ended <- err
					return
				}
			}
		}()
		synctest.Wait()
		if n := sent.Load(); n != windowSize {
			t.Errorf("%d bytes were taken that nobody reads, want a window of %d", n, windowSize)
		}
		if n, err := server.Read(make([]byte, 2*windowSize)); n > windowSize/2 || err != nil {
			t.Errorf("Read gave %d bytes, %v, want no more than the half that is no standard error", n, err)
		}
		client.Close()
		if err := <-ended; !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write = %v at the end, want that the connection is gone", err)
		}
		synctest.Wait()
	})
}

// TestLibraryCountsKeyOffers: as many refused offers as max_tries are free, and the
// next ones are tries.
func TestLibraryCountsKeyOffers(t *testing.T) {
	f := start(t, func(f *fixture) { f.Gate.MaxTries = 3 })
	for offers, want := range map[int]bool{5: true, 6: false} {
		keys := make([]ssh.Signer, offers, offers+1)
		for i := range keys {
			keys[i] = newSigner(t)
		}
		client, _, err := f.dial(t, "alice", ssh.PublicKeys(append(keys, f.key)...))
		if (err == nil) != want {
			t.Errorf("login with the key after %d others = %v, want success: %t", offers, err, want)
		}
		if err == nil {
			client.Close()
		}
	}
	f.hangUp()
	if got := len(f.events.reasons(event.LoginAccepted)); got != 1 {
		t.Errorf("%d logins, want 1", got)
	}
}
