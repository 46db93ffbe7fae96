package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"berth/sshd/state"
)

// recorder is an Operator that notes what it is asked.
type recorder struct {
	sessions  []Session
	status    Status
	penalties []state.Penalty
	by        Caller
	kicked    string
	lifted    netip.Prefix
	waits     string
	fails     error
	drained   chan struct{}
}

func (r *recorder) Sessions() []Session { return r.sessions }

func (r *recorder) Nodes(t Task) ([]Done, error) {
	d := Perform(r, t)
	d.Node = t.Node
	return []Done{d}, errors.New("has not answered: node3")
}

func (r *recorder) Kick(by Caller, who string) []Session {
	r.by, r.kicked = by, who
	return r.sessions[:1]
}

func (r *recorder) Drain(by Caller) {
	r.by = by
	close(r.drained)
}

func (r *recorder) Reload(by Caller) (string, error) {
	r.by = by
	return r.waits, r.fails
}

func (r *recorder) Status() Status { return r.status }

func (r *recorder) Metrics() prometheus.Gatherer {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer"}, func() float64 { return 42 }))
	return reg
}

func (r *recorder) LogLevel(by Caller, level string, d time.Duration) error {
	r.by, r.kicked = by, fmt.Sprint(level, " ", d)
	return r.fails
}

func (r *recorder) Upgrade(by Caller) (Successor, error) {
	r.by = by
	return Successor{PID: 7, Release: "1.2", Drain: time.Minute}, r.fails
}

func (r *recorder) Penalties() []state.Penalty { return r.penalties }

func (r *recorder) Lift(by Caller, network netip.Prefix) []netip.Prefix {
	r.by, r.lifted = by, network
	if len(r.penalties) == 0 {
		return nil
	}
	return []netip.Prefix{r.penalties[0].Source}
}

// askedByUs reports an error unless the last request was known to come from this
// process, and forgets it.
func (r *recorder) askedByUs(t *testing.T) {
	t.Helper()
	if r.by != Self() || r.by.UID != strconv.Itoa(os.Getuid()) {
		t.Errorf("asked by %+v, want %+v", r.by, Self())
	}
	r.by = Caller{}
}

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
	r.askedByUs(t)
	if _, err = c.Kick(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "who: missing") {
		t.Errorf("Kick() = %v, want who is missing", err)
	}

	if waits, err := c.Reload(t.Context()); waits != "" || err != nil {
		t.Errorf("Reload() = %q, %v", waits, err)
	}
	r.askedByUs(t)
	r.status = Status{PID: 7, Started: time.Unix(1e9, 0).UTC(), Reloaded: &Reload{Error: "no"}, Directories: []DirectoryStatus{{Name: "corp"}}, Events: []EventsStatus{{To: "file", Dropped: 3}}}
	if got, err := c.Status(t.Context()); err != nil || !reflect.DeepEqual(got, r.status) {
		t.Errorf("Status() = %+v, %v, want %+v", got, err, r.status)
	}
	if text, err := c.Metrics(t.Context()); err != nil || !strings.Contains(string(text), "\nanswer 42\n") {
		t.Errorf("Metrics() = %q, %v", text, err)
	}
	if text, err := c.Stacks(t.Context()); err != nil || !strings.Contains(string(text), "admin.TestSocket") {
		t.Errorf("Stacks() = %q, %v", text, err)
	}
	if err := c.LogLevel(t.Context(), "debug", time.Minute); err != nil || r.kicked != "debug 1m0s" {
		t.Errorf("LogLevel() = %v, asked %q", err, r.kicked)
	}
	r.askedByUs(t)
	r.fails = errors.New("level is odd")
	if err := c.LogLevel(t.Context(), "odd", 0); err == nil || !strings.Contains(err.Error(), "level is odd") {
		t.Errorf("LogLevel(odd) = %v", err)
	}
	r.fails = nil
	r.askedByUs(t)
	if next, err := c.Upgrade(t.Context()); next != (Successor{7, "1.2", time.Minute}) || err != nil {
		t.Errorf("Upgrade() = %v, %v", next, err)
	}
	r.askedByUs(t)
	r.waits = "only a restart takes up: ssh"
	if waits, err := c.Reload(t.Context()); waits != r.waits || err != nil {
		t.Errorf("Reload() = %q, %v, want %q", waits, err, r.waits)
	}
	r.fails = errors.New("line 3: no\nline 4: no") // with all its lines, however many
	for len(r.fails.Error()) < 10_000 {
		r.fails = fmt.Errorf("%w\nand more", r.fails)
	}
	if _, err := c.Reload(t.Context()); err == nil || err.Error() != r.fails.Error() {
		t.Errorf("Reload() = %v, want %v", err, r.fails)
	}

	network := netip.MustParsePrefix("2001:db8::/64")
	if all, err := c.Penalties(t.Context()); err != nil || all == nil || len(all) != 0 {
		t.Errorf("Penalties() = %#v, %v, want an empty list", all, err)
	}
	if lifted, err := c.Lift(t.Context(), network); err != nil || len(lifted) != 0 {
		t.Errorf("Lift() = %v, %v, want nothing", lifted, err)
	}
	r.penalties = []state.Penalty{{Source: network, Left: time.Minute, KeptOut: true}, {Source: netip.MustParsePrefix("192.0.2.1/32"), Left: time.Second}}
	if all, err := c.Penalties(t.Context()); err != nil || !reflect.DeepEqual(all, r.penalties) {
		t.Errorf("Penalties() = %v, %v, want %v", all, err, r.penalties)
	}
	if lifted, err := c.Lift(t.Context(), network); err != nil || r.lifted != network || !reflect.DeepEqual(lifted, []netip.Prefix{network}) {
		t.Errorf("Lift(%v) = %v, %v", network, lifted, err)
	}
	r.askedByUs(t)
	if _, err := c.Lift(t.Context(), netip.Prefix{}); err == nil || !strings.Contains(err.Error(), "network: must be") {
		t.Errorf("Lift of nothing = %v", err)
	}

	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	<-r.drained
	r.askedByUs(t)
	l.Close()
	if err := <-served; err == nil {
		t.Error("Serve on a closed listener: no error")
	}
	if _, err := c.Sessions(t.Context()); err == nil || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("Sessions() without a server = %v", err)
	}
}

// What changes something needs POST: no page and no prefetch causes it.
func TestControlMethods(t *testing.T) {
	for _, path := range []string{"/kick?who=a", "/drain", "/reload", "/lift?network=0.0.0.0/0"} {
		r := &recorder{sessions: []Session{{}}, drained: make(chan struct{})}
		w := httptest.NewRecorder()
		Control(r).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: status %d", path, w.Code)
		}
	}
}

func TestCaller(t *testing.T) {
	if got := userName(0); got != "root" {
		t.Errorf("user 0 is %q", got)
	}
	if got := userName(4_000_000_000); got != "4000000000" {
		t.Errorf("a user that nobody has is %q", got)
	}
	if got := Self().Login; got == "4294967295" || got == "-1" {
		t.Errorf("nobody logged in to the machine, and Login is %q", got)
	}
	c := Caller{User: "berth", UID: "990", Login: "alice"}
	if want := (map[string]string{"operator": "berth", "operator_uid": "990", "operator_login": "alice", "operator_session": ""}); !reflect.DeepEqual(c.Fields(), want) {
		t.Errorf("got %v, want %v", c.Fields(), want)
	}
	if got := asking(httptest.NewRequest("GET", "/", nil)); got != (Caller{}) {
		t.Errorf("by TCP: got %+v, want nobody", got)
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

// TestNodes: the results of nodes are returned together with the error about
// those that are missing.
func TestNodes(t *testing.T) {
	r := &recorder{drained: make(chan struct{}), sessions: []Session{{ID: "a", User: "bob"}}, waits: "a restart", status: Status{Release: "1"}}
	path := filepath.Join(t.TempDir(), "sock")
	l, err := ListenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, Control(r), hclog.NewNullLogger()) }()
	for do, right := range map[string]func(Done) bool{
		DoSessions: func(d Done) bool { return len(d.Sessions) == 1 && d.Sessions[0].User == "bob" },
		DoKick:     func(Done) bool { return r.kicked == "bob" },
		DoStatus:   func(d Done) bool { return d.Status.Release == "1" },
		DoDrain:    func(Done) bool { <-r.drained; return true },
		DoReload:   func(d Done) bool { return d.Waits == "a restart" },
		DoLogLevel: func(d Done) bool { return d.Error == "" && r.kicked == "odd 1m0s" },
		"dance":    func(d Done) bool { return strings.Contains(d.Error, `"dance": this version cannot`) },
	} {
		got, err := Dial(path).Nodes(t.Context(), Task{Do: do, Node: "node2", Who: "bob", Level: "odd", For: time.Minute})
		if err == nil || err.Error() != "has not answered: node3" || len(got) != 1 || got[0].Node != "node2" || !right(got[0]) {
			t.Errorf("%s: %+v, %v", do, got, err)
		}
		if do == DoKick && r.by.UID == "" {
			t.Error("who asked is not known")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
