package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
	"berth/sshd/state"
)

// TestUpgradeFails: whatever the next process does instead of serving, this one has
// stepped back afterwards, an event has the reason, and the next try can succeed.
func TestUpgradeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	program := filepath.Join(t.TempDir(), "next")
	aside, left, sink := 0, 0, &recorder{}
	u := &upgrader{
		program: program, listeners: []net.Listener{l}, memories: func(net.Conn) memories {
			return memories{Snapshot: state.NewMemory(state.DefaultSettings()).Snapshot()}
		}, sink: sink,
		aside: func() (func(), error) { aside++; return func() { aside-- }, nil },
		leave: func(h handedOver) { left = h.pid },
		talk:  func(c net.Conn, _ *json.Decoder) { c.Close() },
	}
	const say, hear = "eval \"echo '{\\\"release\\\":\\\"2\\\"}' >&$LISTEN_PREDECESSOR_FD\"\n", "eval \"read known <&$LISTEN_PREDECESSOR_FD\"\n"
	for _, tt := range []struct{ script, want string }{
		{"", "start "}, // there is no such program
		{"exit 3\n", "has ended before it could prepare"},
		{"eval \"echo '{\\\"error\\\":\\\"line 7: no\\\"}' >&$LISTEN_PREDECESSOR_FD\"\nexit 1\n", "cannot prepare: line 7: no"},
		{"eval \"echo nonsense >&$LISTEN_PREDECESSOR_FD\"\n", "has ended before it could prepare"},
		{say + hear + "exit 3\n", "has ended before it could serve"},
		{say + hear + "eval \"echo '{\\\"error\\\":\\\"pid_file\\\"}' >&$LISTEN_PREDECESSOR_FD\"\nexec sleep 60\n", "cannot serve: pid_file"},
		{say + hear + "test \"$LISTEN_FDS\" = 1 && case $known in *penalties*) " + say + " exec sleep 60;; esac\n", ""},
		{"", "has taken over already"},
	} {
		if tt.script != "" {
			if err := os.WriteFile(program, []byte("#!/bin/bash\n"+tt.script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		*sink = nil
		next, err := u.run(map[string]string{"operator": "root"})
		if tt.want == "" {
			if err != nil || next.PID == 0 || next.PID != left || next.Release != "2" || aside != 1 {
				t.Fatalf("%q: %+v, %v, left for %d, stepped aside %d times; want success", tt.script, next, err, left, aside)
			}
			defer func() {
				if p, err := os.FindProcess(next.PID); err == nil {
					p.Kill()
				}
			}()
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.script, err, tt.want)
		}
		if left != 0 {
			continue
		}
		if aside != 0 {
			t.Errorf("%q: this process has stepped aside and not back", tt.script)
		}
		accepted := make(chan error, 1)
		go func() {
			_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := l.Accept()
			accepted <- err
		}()
		select {
		case <-accepted:
		case <-time.After(10 * time.Second): // nor would a Close end it
			if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
				c.Close()
			}
			t.Fatalf("%q: Accept of the listener that was passed has no end", tt.script)
		}
		if len(*sink) != 1 || (*sink)[0].Type != event.UpgradeFailed || !strings.Contains((*sink)[0].Detail, tt.want) || (*sink)[0].Fields["operator"] != "root" {
			t.Errorf("%q: events %v", tt.script, *sink)
		}
	}
}

// TestSockets: a socket that was passed is used for the address it is bound to, once.
func TestSockets(t *testing.T) {
	open := func(network, address string) net.Listener {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	one, all4, all := open("tcp", "127.0.0.1:0"), open("tcp4", ":0"), open("tcp", ":0")
	port := func(l net.Listener) string {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}
	s := sockets{one, all4, all}
	for _, tt := range []struct {
		network, address string
		want             net.Listener // nil: opened anew
	}{
		{"tcp", "127.0.0.2:" + port(one), nil},
		{"tcp", "127.0.0.2:0", nil},
		{"tcp4", "127.0.0.1:" + port(one), one},
		{"tcp", "127.0.0.1:0", nil},
		{"tcp4", ":" + port(all4), all4},
		{"tcp", ":" + port(all), all},
	} {
		got, err := s.listen(tt.network, tt.address)
		if err != nil {
			t.Errorf("%s %s: %v", tt.network, tt.address, err)
			continue
		}
		if got != tt.want && (tt.want != nil || got == one || got == all4 || got == all) {
			t.Errorf("%s %s: got %v, want %v", tt.network, tt.address, got.Addr(), tt.want)
		}
		if tt.want == nil {
			got.Close()
		}
	}
	s = sockets{one}
	s.giveUp(hclog.NewNullLogger())
	if len(s) != 0 {
		t.Error("a socket that nothing asks for is kept")
	}
	if c, err := net.Dial("tcp", one.Addr().String()); err == nil {
		c.Close()
		t.Error("a socket that nothing asks for takes connections")
	}
}

// TestStepBack: after an upgrade that failed, a server that ends leaves no file.
func TestStepBack(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "berth.sock")
	pid := &pidFile{path: filepath.Join(filepath.Dir(socket), "berth.pid")}
	r := &running{}
	if err := errors.Join(r.openSocket(socket), pid.write()); err != nil {
		t.Fatal(err)
	}
	back, err := r.stepAside(socket, pid)
	if err != nil {
		t.Fatal(err)
	}
	back()
	r.socket.Close()
	r.removeAside()
	pid.remove()
	if left, _ := filepath.Glob(filepath.Dir(socket) + "/*"); len(left) > 0 {
		t.Errorf("%v: left", left)
	}
}
