package sshd

import (
	"context"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/fs"
	"berth/policy"
)

// TestFarewell: whoever is disconnected gets the reason, also while they do not read
// what a service sends.
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
				for len(f.Sessions()) == 0 { // the client hears of its login first
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
