package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/login"
	"berth/sshd/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people is a directory that a test can make fail. Real directories are in
// the end-to-end tests.
type people struct {
	directory.Directory // nil: what else it has is not called

	mu       sync.Mutex
	users    map[string]*directory.User
	password map[string]string
	down     bool
	binds    int
	lookups  int
}

var errDown = errors.New("no server answers")

func (p *people) Lookup(_ context.Context, name string) (*directory.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookups++
	if p.down {
		return nil, errDown
	}
	u := p.users[strings.ToLower(name)]
	if u == nil {
		return nil, &directory.Refusal{Why: directory.ErrNoUser}
	}
	copied := *u
	return &copied, nil
}

func (p *people) LookupMany(ctx context.Context, names []string) map[string]directory.Answer {
	answers := map[string]directory.Answer{}
	for _, name := range names {
		u, err := p.Lookup(ctx, name)
		answers[name] = directory.Answer{User: u, Err: err}
	}
	return answers
}

func (p *people) Authenticate(_ context.Context, u *directory.User, password string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.binds++
	switch {
	case p.down:
		return errDown
	case p.password[u.Name] != password:
		return &directory.Refusal{Why: directory.ErrBadPassword}
	}
	err := u.State.Err()
	if r := (*directory.Refusal)(nil); errors.As(err, &r) {
		r.Proved = true
	}
	return err
}

func (p *people) ChangePassword(_ context.Context, u *directory.User, old, new string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.password[u.Name] != old:
		return &directory.Refusal{Why: directory.ErrBadPassword}
	case len(new) < 8:
		return &directory.Refusal{Why: directory.ErrPasswordTooShort}
	}
	p.password[u.Name] = new
	p.users[u.Name].State.Status = directory.StatusActive
	return nil
}

func (p *people) PasswordRules(context.Context, *directory.User) (directory.PasswordRules, error) {
	return directory.PasswordRules{Length: 8}, nil
}

// set changes a user's state.
func (p *people) set(name string, s directory.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[name].State.Status = s
}

// rules lets tests say what Resolve answers.
type rules func(policy.Request) (*policy.Policy, error)

func (r rules) Resolve(q policy.Request) (*policy.Policy, error) { return r(q) }

func (r rules) Hash() string { return "h" }

func (r rules) Explain(q policy.Request) policy.Explanation {
	return policy.Explanation{User: policy.ExplainedUser{Name: q.User.Name}, Remote: q.Remote.String(), Method: q.Method, Time: q.Time}
}

// recorder is a sink that remembers.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// reasons returns the reasons of the events of a type, in order.
func (r *recorder) reasons(t event.Type) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reasons []string
	for _, e := range r.events {
		if e.Type == t {
			reasons = append(reasons, e.Reason.String())
		}
	}
	return reasons
}

// fixture is a server with alice, who has a password and a key.
type fixture struct {
	*Server
	people *people
	events *recorder
	key    ssh.Signer
	addr   string
	log    bytes.Buffer
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs a server; change may alter it before it listens.
func start(t *testing.T, change ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{key: newSigner(t), events: &recorder{}}
	f.people = &people{
		users: map[string]*directory.User{"alice": {
			Name: "alice", Identity: directory.Identity{ID: "id-1"}, DN: "uid=alice", Keys: []directory.Key{{PublicKey: f.key.PublicKey()}},
			State: directory.State{Status: directory.StatusActive},
		}},
		password: map[string]string{"alice": "secret-1"},
	}
	dir := t.TempDir()
	f.Server = &Server{
		Settings: DefaultSettings(),
		Gate:     &login.Gate{Settings: login.DefaultSettings(), Directory: f.people, HostKeys: []ssh.Signer{newSigner(t)}, State: state.NewMemory(state.DefaultSettings()), Service: ServiceName, Emit: f.events.Emit},
		Open:     func(p *policy.Policy, pace *fs.Pace) (*fs.View, error) { return fs.Open(p, fs.Settings{Pace: pace}) },
		Events:   f.events,
		Log:      hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &f.log}),
	}
	f.Gate.Log = f.Log
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		return &policy.Policy{
			User: q.User, Rules: []string{"all"}, Services: []string{"sftp", "scp", "passwd", "whoami", "quota", "help"},
			Folders: []policy.Folder{{Path: "/", Host: dir, Umask: 0o27}},
			Access:  []policy.Access{{Path: "/", Ops: policy.Full}},
		}, nil
	})
	f.Gate.RefusalDelay = 0
	for _, c := range change {
		c(f)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx, Behind(l, f.ProxyFrom)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		f.keepsSecrets(t)
	})
	return f
}

// change has change alter every policy before it is used.
func (f *fixture) change(change func(*policy.Policy)) {
	resolve := f.Gate.Rules
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		p, err := resolve.Resolve(q)
		if err == nil {
			change(p)
		}
		return p, err
	})
}

// revocable returns a function that makes the rules let in nobody any more.
func (f *fixture) revocable() (revoke func()) {
	resolve := f.Gate.Rules
	var over atomic.Bool
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		if over.Load() {
			return nil, &policy.Denied{Reason: policy.NoRule}
		}
		return resolve.Resolve(q)
	})
	return func() { over.Store(true) }
}

// keepsSecrets looks for passwords of these tests in the log and the events.
func (f *fixture) keepsSecrets(t *testing.T) {
	t.Helper()
	said := f.log.String() + fmt.Sprintf("%+v", f.events.events)
	for _, password := range []string{"secret-1", f.people.password["alice"], "a longer"} {
		if strings.Contains(said, password) {
			t.Errorf("the password %q is in the log or in an event:\n%s", password, said)
		}
	}
}

// dial logs in; banner collects what the server says before.
func (f *fixture) dial(t *testing.T, user string, methods ...ssh.AuthMethod) (*ssh.Client, string, error) {
	t.Helper()
	var banner strings.Builder
	c, err := ssh.Dial("tcp", f.addr, &ssh.ClientConfig{
		User: user, Auth: methods, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second,
		BannerCallback: func(text string) error { banner.WriteString(text); return nil },
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, banner.String(), err
}

// must is dial for those who get in.
func (f *fixture) must(t *testing.T, methods ...ssh.AuthMethod) *ssh.Client {
	t.Helper()
	if len(methods) == 0 {
		methods = []ssh.AuthMethod{ssh.PublicKeys(f.key)}
	}
	c, _, err := f.dial(t, "alice", methods...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits until what happens, which done reports.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 30_000 {
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("within 30 s it is not so that %s", what)
}

// hangUp waits until the server has noticed that all clients are gone.
func (f *fixture) hangUp() {
	for len(f.connections()) > 0 {
		runtime.Gosched()
	}
}

// answering is keyboard-interactive with prepared answers, one list a round.
func answering(rounds ...[]string) ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		if len(questions) == 0 {
			return nil, nil
		}
		if len(rounds) == 0 {
			return nil, errors.New("no more answers")
		}
		answers := rounds[0]
		rounds = rounds[1:]
		return answers, nil
	})
}

// run runs a command and returns its outputs and status.
func run1(t *testing.T, c *ssh.Client, command, input string) (stdout, stderr string, status int) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader(input), &out, &errs
	err = s.Run(command)
	if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitStatus()
	} else if err != nil {
		t.Fatalf("run %q: %v (stdout %q, stderr %q)", command, err, out.String(), errs.String())
	}
	return out.String(), errs.String(), status
}

func TestServices(t *testing.T) {
	f := start(t)
	c := f.must(t)
	for command, want := range map[string]string{
		"id; ls":           "This server moves files",
		"":                 "no shell here",
		"rsync --server .": "rsync is not available",
		"passwd bob":       "takes no arguments",
	} {
		if _, stderr, status := run1(t, c, command, ""); status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%q = %d, %q, want %q", command, status, stderr, want)
		}
	}
	if out, _, status := run1(t, c, "help", ""); status != 0 || !strings.Contains(out, "passwd") {
		t.Errorf("help = %d, %q", status, out)
	}
	if out, _, status := run1(t, c, "quota", ""); status != 0 || !strings.Contains(out, "iB") {
		t.Errorf("quota = %d, %q", status, out)
	}
	if _, err := c.Dial("tcp", "127.0.0.1:22"); err == nil {
		t.Error("forwarding is possible")
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("forwarding back is possible")
	}
	if e := f.events.last(event.ServiceRefused); e.Reason != event.NoForwarding || e.Service != "tcpip-forward" {
		t.Errorf("event = %+v", e)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestSubsystem("netconf"); err == nil {
		t.Error("an unknown subsystem was accepted")
	}
}

func TestChannelsAreLimited(t *testing.T) {
	f := start(t, func(f *fixture) { f.MaxChannels = 2 })
	c := f.must(t)
	for i := range 3 {
		_, err := c.NewSession()
		if (err == nil) != (i < 2) {
			t.Errorf("session %d = %v", i, err)
		}
	}
	if _, err := c.Dial("tcp", "127.0.0.1:22"); err == nil {
		t.Error("forwarding is possible")
	}
	if got := f.events.reasons(event.ServiceRefused); !slices.Equal(got, []string{"too_many_channels", "no_forwarding"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestSessionsAreLimited(t *testing.T) {
	f := start(t)
	f.change(func(p *policy.Policy) { p.Limits.Sessions = 1 })
	first := f.must(t)
	_, banner, err := f.dial(t, "alice", ssh.PublicKeys(f.key))
	if err == nil || !strings.Contains(banner, "Too many sessions") {
		t.Errorf("second login = %v, banner %q", err, banner)
	}
	first.Close()
	f.hangUp()
	f.must(t)
}

// TestChannelsShareOnePace checks that the rates of a session are those of the
// connection, not of each channel.
func TestChannelsShareOnePace(t *testing.T) {
	var paces []*fs.Pace
	f := start(t, func(f *fixture) {
		open := f.Open
		f.Open = func(p *policy.Policy, pace *fs.Pace) (*fs.View, error) {
			paces = append(paces, pace)
			return open(p, pace)
		}
	})
	first, second := f.must(t), f.must(t)
	for _, c := range []*ssh.Client{first, first, second} {
		run1(t, c, "quota", "")
	}
	if len(paces) != 3 || paces[0] == nil || paces[0] != paces[1] || paces[0] == paces[2] {
		t.Errorf("paces of two channels of one connection and one of another: %v", paces)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	var panicked atomic.Bool
	f := start(t, func(f *fixture) {
		open := f.Open
		f.Open = func(p *policy.Policy, pace *fs.Pace) (*fs.View, error) {
			if !panicked.Swap(true) {
				panic("a bug")
			}
			return open(p, pace)
		}
	})
	other, c := f.must(t), f.must(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run("quota"); err == nil {
		t.Error("quota succeeded")
	}
	if err := c.Wait(); err == nil {
		t.Error("the connection is still open")
	}
	if _, _, status := run1(t, other, "quota", ""); status != 0 {
		t.Error("another connection suffered")
	}
}

// failingOnce are rules with a fault that shows once, when a login has been decided and
// its session is counted.
type failingOnce struct {
	login.Rules
	failed atomic.Bool
}

func (r *failingOnce) Hash() string {
	if !r.failed.Swap(true) {
		panic("a bug")
	}
	return r.Rules.Hash()
}

// TestPanicInLoginCountsNoSession: the next login is not refused because of one that a
// panic has ended.
func TestPanicInLoginCountsNoSession(t *testing.T) {
	f := start(t, func(f *fixture) {
		f.change(func(p *policy.Policy) { p.Limits.Sessions = 1 })
		f.Gate.Rules = &failingOnce{Rules: f.Gate.Rules}
	})
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		t.Fatal("a login with a panic succeeded")
	}
	f.hangUp() // the session is given back after the connection is closed
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err != nil {
		t.Errorf("the next login = %v, refused for %v", err, f.events.reasons(event.LoginDenied))
	}
}

func TestShutdown(t *testing.T) {
	f := start(t)
	c := f.must(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := c.Wait(); err == nil {
		t.Error("the connection is still open")
	}
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		t.Error("a new connection was served")
	}
}

func TestSettingsCheck(t *testing.T) {
	s := DefaultSettings()
	if errs := s.Check(); len(errs) > 0 {
		t.Errorf("defaults: %v", errs)
	}
	s.Ciphers = []string{"rot13"}
	s.MACs = nil
	s.LoginGrace = -1
	s.MaxTries = 0
	got := errors.Join(s.Check()...).Error()
	for _, want := range []string{`ciphers: "rot13" is not known`, "macs: empty", "login_grace: -1ns: must be a positive time", "max_tries: 0: must be at least 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

// buggy is a directory with a fault, once it is on.
type buggy struct {
	directory.Directory
	on *atomic.Bool
}

func (b buggy) Lookup(ctx context.Context, name string) (*directory.User, error) {
	if b.on.Load() {
		panic("a bug")
	}
	return b.Directory.Lookup(ctx, name)
}

// TestPanicInALogin ends that connection, and no other one.
func TestPanicInALogin(t *testing.T) {
	var on atomic.Bool
	f := start(t, func(f *fixture) { f.Gate.Directory = buggy{f.people, &on} })
	first := f.must(t)
	run1(t, first, "help", "")
	on.Store(true)
	if c, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		c.Close()
		t.Error("a login without an answer")
	}
	on.Store(false)
	run1(t, first, "whoami", "")
	f.must(t)
	eventually(t, "the connection has ended for a reason", func() bool { return slices.Contains(f.events.reasons(event.ConnectionClosed), "internal_error") })
}

// TestBadSCP: a command that scp does not have ends, and says why.
func TestBadSCP(t *testing.T) {
	f := start(t)
	if _, stderr, status := run1(t, f.must(t), "scp -X -f x", ""); status != 1 || !strings.Contains(stderr, "scp") {
		t.Errorf("%d, %q", status, stderr)
	}
}

// TestRunningServices: an operator sees what runs.
func TestRunningServices(t *testing.T) {
	f := start(t)
	s, err := f.must(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("scp -t ."); err != nil {
		t.Fatal(err)
	}
	services := func() []string {
		var all []string
		for _, s := range f.Sessions() {
			all = append(all, s.Services...)
		}
		return all
	}
	eventually(t, "scp runs", func() bool { return slices.Equal(services(), []string{"scp"}) })
	stdin.Close()
	s.Wait()
	eventually(t, "nothing runs", func() bool { return len(services()) == 0 })
}

// TestLeftWithoutALogin: the last event says so, and does not repeat every try.
func TestLeftWithoutALogin(t *testing.T) {
	f := start(t)
	if c, _, err := f.dial(t, "alice", ssh.Password("wrong")); err == nil {
		c.Close()
		t.Fatal("logged in with a wrong password")
	}
	f.hangUp()
	if e := f.events.last(event.ConnectionClosed); e.Reason != event.NotAuthenticated || e.Err == nil || e.Err.Error() != "the client left without a login" {
		t.Errorf("closed for %q: %v", e.Reason, e.Err)
	}
}
