package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"berth/sshd/admin"
)

// refusingNode is a server whose other node can do nothing it is asked for.
type refusingNode struct{ admin.Operator }

func (refusingNode) Nodes(admin.Task) ([]admin.Done, error) {
	return []admin.Done{{Node: "n2", Error: "this version cannot do that"}}, nil
}
func (refusingNode) Metrics() prometheus.Gatherer              { return prometheus.NewRegistry() }
func (refusingNode) Sessions() []admin.Session                 { return nil }
func (refusingNode) Kick(admin.Caller, string) []admin.Session { return nil }

// TestNodeThatCannot: what a node could not do is an error, not an empty answer.
func TestNodeThatCannot(t *testing.T) {
	d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	l, err := admin.ListenSocket(d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- admin.Serve(ctx, l, admin.Control(refusingNode{}), hclog.NewNullLogger()) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for _, command := range []string{"status --node n2", "sessions --node n2", "sessions", "kick alice --node n2", "kick alice", "reload --node n2"} {
		out, code := called(t, append(strings.Fields(command), "--config="+filepath.Join(d.Dir, "berth.yaml"))...)
		if code != 1 || !strings.Contains(out, "n2: ") || !strings.Contains(out, "this version cannot do that") {
			t.Errorf("berth %s: exit status %d, %q", command, code, out)
		}
	}
}
