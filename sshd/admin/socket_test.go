package admin

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// recorder is an Operator that notes what it is asked.
type recorder struct {
	sessions []Session
	kicked   string
	drained  chan struct{}
}

func (r *recorder) Sessions() []Session { return r.sessions }

func (r *recorder) Kick(who string) []Session {
	r.kicked = who
	return r.sessions[:1]
}

func (r *recorder) Drain() { close(r.drained) }

func TestSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	l, err := ListenSocket(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{drained: make(chan struct{}), sessions: []Session{
		{
			ID: "1a2b", User: "älice", Remote: netip.MustParseAddrPort("[2001:db8::1]:2022"), Method: "publickey", Client: "SSH-2.0-x",
			Since: time.Unix(1e9, 0).UTC(), Idle: time.Second, Files: 2, Read: 3, Written: 4, Services: []string{"sftp"},
		},
		{ID: "3c4d", User: "bob"},
	}}
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), l, Control(r), hclog.NewNullLogger()) }()
	c := Dial(file)
	got, err := c.Sessions(t.Context())
	if err != nil || !reflect.DeepEqual(got, r.sessions) {
		t.Errorf("Sessions() = %+v, %v, want %+v", got, err, r.sessions)
	}
	got, err = c.Kick(t.Context(), "a&b=c d+ä")
	if err != nil || !reflect.DeepEqual(got, r.sessions[:1]) || r.kicked != "a&b=c d+ä" {
		t.Errorf("Kick(a&b=c d+ä) = %+v, %v, kicked %q", got, err, r.kicked)
	}
	if _, err = c.Kick(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "who: missing") {
		t.Errorf("Kick() = %v, want who is missing", err)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	<-r.drained
	l.Close()
	if err := <-served; err == nil {
		t.Error("Serve on a closed listener: no error")
	}
	if _, err := c.Sessions(t.Context()); err == nil || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("Sessions() without a server = %v", err)
	}
}

func TestSessionsOfNobody(t *testing.T) {
	l, err := ListenSocket(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, Control(&recorder{}))
	got, err := Dial(l.Addr().String()).Sessions(t.Context())
	if err != nil || got == nil || len(got) != 0 {
		t.Errorf("Sessions() = %#v, %v, want an empty list", got, err)
	}
}

// A socket is its owner's. What a server that was killed left is no obstacle,
// one that answers is, and what is no socket is left alone.
func TestListenSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	l, err := ListenSocket(file)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 600", fi.Mode(), err)
	}
	if _, err := ListenSocket(file); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a second server: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = ListenSocket(file)
	if err != nil {
		t.Fatalf("over what a dead server left: %v", err)
	}
	l.Close()

	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenSocket(file); err == nil {
		t.Error("a file was taken for a socket")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file in the way has %q, %v", text, err)
	}
}
