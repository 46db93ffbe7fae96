package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"berth/sshd/admin"
)

// aServer makes a configuration with the socket of a server that answers with h.
func aServer(t *testing.T, h http.Handler) (config, socket string) {
	t.Helper()
	d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	answerOn(t, d.Socket, h)
	return "--config=" + filepath.Join(d.Dir, "berth.yaml"), d.Socket
}

// answerOn answers operators on a socket until the test ends.
func answerOn(t *testing.T, socket string, h http.Handler) {
	t.Helper()
	l, err := admin.ListenSocket(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- admin.Serve(ctx, l, h, hclog.NewNullLogger()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestOldProcessThatCannot: sessions of a process from before an upgrade that does not
// answer are not taken for none. One that has ended has left its socket.
func TestOldProcessThatCannot(t *testing.T) {
	config, socket := aServer(t, admin.Control(aloneServer{}))
	gone, err := net.Listen("unix", socket+".1")
	if err != nil {
		t.Fatal(err)
	}
	gone.(*net.UnixListener).SetUnlinkOnClose(false)
	gone.Close()
	if out, code := called(t, "sessions", config); code != 0 || out != "nobody is logged in\n" {
		t.Errorf("beside a process that has ended: exit status %d, %q", code, out)
	}
	answerOn(t, socket+".2", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "it is stuck", http.StatusInternalServerError)
	}))
	for _, command := range []string{"sessions", "kick alice"} {
		out, code := called(t, append(strings.Fields(command), config)...)
		if code != 1 || !strings.Contains(out, "it is stuck") {
			t.Errorf("berth %s: exit status %d, %q", command, code, out)
		}
	}
}

// aloneServer is a server without sessions and other nodes.
type aloneServer struct{ admin.Operator }

func (aloneServer) Metrics() prometheus.Gatherer              { return prometheus.NewRegistry() }
func (aloneServer) Sessions() []admin.Session                 { return nil }
func (aloneServer) Kick(admin.Caller, string) []admin.Session { return nil }
func (aloneServer) Nodes(admin.Task) ([]admin.Done, error)    { return nil, nil }

// refusingNode is a server whose other node can do nothing that it is asked for.
type refusingNode struct{ aloneServer }

func (refusingNode) Nodes(admin.Task) ([]admin.Done, error) {
	return []admin.Done{{Node: "n2", Error: "this version cannot do that"}}, nil
}

// TestNodeThatCannot: what a node could not do is an error, not an empty answer.
func TestNodeThatCannot(t *testing.T) {
	config, _ := aServer(t, admin.Control(refusingNode{}))
	for _, command := range []string{"status --node n2", "sessions --node n2", "sessions", "kick alice --node n2", "kick alice", "reload --node n2"} {
		out, code := called(t, append(strings.Fields(command), config)...)
		if code != 1 || !strings.Contains(out, "n2: ") || !strings.Contains(out, "this version cannot do that") {
			t.Errorf("berth %s: exit status %d, %q", command, code, out)
		}
	}
}

// onePicture ends a watch after the first picture.
type onePicture struct {
	text string
	end  context.CancelFunc
}

func (p *onePicture) Write(b []byte) (int, error) {
	p.text += string(b)
	p.end()
	return len(b), nil
}

// TestWatchWithoutNode: a node that cannot answer does not end a watch, also while nobody is
// logged in. A server that does not answer does.
func TestWatchWithoutNode(t *testing.T) {
	_, socket := aServer(t, admin.Control(refusingNode{}))
	ctx, end := context.WithCancel(t.Context())
	out := &onePicture{end: end}
	if err := watchSessions(ctx, out, admin.Dial(socket)); err != nil || !strings.Contains(out.text, "warning: n2: this version cannot do that") {
		t.Errorf("watchSessions = %v, %q", err, out.text)
	}
	if err := watchSessions(t.Context(), io.Discard, admin.Dial(socket+".none")); !errors.Is(err, admin.ErrNobody) {
		t.Errorf("without a server: %v, want %v", err, admin.ErrNobody)
	}
}
