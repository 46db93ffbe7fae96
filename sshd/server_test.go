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
	"berth/sshd/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people is a directory that can be told to fail; the real ones are in the
// end-to-end tests.
type people struct {
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

// set changes a user's state.
func (p *people) set(name string, s directory.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[name].State.Status = s
}

// rules lets tests say what Resolve answers.
type rules func(policy.Request) (*policy.Policy, error)

func (r rules) Resolve(q policy.Request) (*policy.Policy, error) { return r(q) }

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

// reasons returns the reasons of the events of a type, in order.
func (r *recorder) reasons(t event.Type) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reasons []string
	for _, e := range r.events {
		if e.Type == t {
			reasons = append(reasons, e.Reason)
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
			Name: "alice", ID: "id-1", DN: "uid=alice", Keys: []directory.Key{{PublicKey: f.key.PublicKey()}},
			State: directory.State{Status: directory.StatusActive},
		}},
		password: map[string]string{"alice": "secret-1"},
	}
	dir := t.TempDir()
	f.Server = &Server{
		Settings:  DefaultSettings(),
		Directory: f.people,
		Policy: rules(func(q policy.Request) (*policy.Policy, error) {
			return &policy.Policy{
				User: q.User, Rules: []string{"all"}, Services: []string{"sftp", "scp", "passwd", "whoami", "quota", "help"},
				Folders: []policy.Folder{{Path: "/", Host: dir, Umask: 0o27}},
				Access:  []policy.Access{{Path: "/", Ops: policy.Full}},
			}, nil
		}),
		Open:     func(p *policy.Policy) (fs.FS, error) { return fs.Open(p, fs.Settings{}) },
		HostKeys: []ssh.Signer{newSigner(t)},
		Events:   f.events,
		Log:      hclog.NewNullLogger(),
		State:    state.NewMemory(state.DefaultSettings()),
	}
	f.RefusalDelay = 0
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
	})
	return f
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

// hangUp waits until the server has noticed that all clients are gone.
func (f *fixture) hangUp() {
	for f.Sessions() > 0 {
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

func TestLogin(t *testing.T) {
	key := func(f *fixture) ssh.AuthMethod { return ssh.PublicKeys(f.key) }
	password := func(p string) func(*fixture) ssh.AuthMethod {
		return func(*fixture) ssh.AuthMethod { return ssh.Password(p) }
	}
	prompt := func(p string) func(*fixture) ssh.AuthMethod {
		return func(*fixture) ssh.AuthMethod { return answering([]string{p}) }
	}
	tests := []struct {
		name   string
		user   string
		method func(*fixture) ssh.AuthMethod
		state  directory.Status
		down   bool
		want   string // reason of the refusal, "" for a login
		told   string // in the banner
	}{
		{name: "password", user: "alice", method: password("secret-1"), state: directory.StatusActive},
		{name: "prompt", user: "alice", method: prompt("secret-1"), state: directory.StatusActive},
		{name: "key", user: "alice", method: key, state: directory.StatusActive},
		{name: "other spelling", user: "ALICE", method: password("secret-1"), state: directory.StatusActive},
		{name: "wrong password", user: "alice", method: password("x"), state: directory.StatusActive, want: "bad_password"},
		{name: "empty password", user: "alice", method: password(""), state: directory.StatusActive, want: "bad_password"},
		{name: "NUL in the password", user: "alice", method: password("secret-1\x00"), state: directory.StatusActive, want: "bad_password"},
		{name: "unknown user", user: "zoe", method: password("x"), state: directory.StatusActive, want: "unknown_user"},
		{name: "blank after the name", user: "alice ", method: password("secret-1"), state: directory.StatusActive, want: "unknown_user"},
		{name: "NUL in the name", user: "alice\x00", method: key, state: directory.StatusActive, want: "key_not_accepted"},
		{name: "disabled, password", user: "alice", method: password("secret-1"), state: directory.StatusDisabled, want: "account_disabled", told: "disabled"},
		{name: "disabled, wrong password", user: "alice", method: password("x"), state: directory.StatusDisabled, want: "bad_password"},
		{name: "disabled, key", user: "alice", method: key, state: directory.StatusDisabled, want: "account_disabled", told: "disabled"},
		{name: "locked, key", user: "alice", method: key, state: directory.StatusLocked, want: "account_locked", told: "locked"},
		{name: "unknown state, key", user: "alice", method: key, state: directory.StatusUnknown, want: "state_unknown", told: "could not be read"},
		{name: "directory down, password", user: "alice", method: password("secret-1"), down: true, want: "directory_unavailable", told: "cannot be reached"},
		{name: "directory down, key", user: "alice", method: key, down: true, want: "directory_unavailable", told: "cannot be reached"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			f.people.set("alice", tt.state)
			f.people.down = tt.down
			c, banner, err := f.dial(t, tt.user, tt.method(f))
			if (err == nil) != (tt.want == "") {
				t.Fatalf("login = %v, want reason %q", err, tt.want)
			}
			if !strings.Contains(banner, tt.told) || (tt.told == "" && banner != "") {
				t.Errorf("banner = %q, want %q in it", banner, tt.told)
			}
			if err != nil {
				f.hangUp()
				if got := f.events.reasons(event.LoginRejected); !slices.Contains(got, tt.want) {
					t.Errorf("reasons = %q, want %q", got, tt.want)
				}
				return
			}
			c.Close()
			if got := f.events.reasons(event.LoginAccepted); len(got) != 1 {
				t.Errorf("%d events of the login, want 1", len(got))
			}
		})
	}
}

func TestOneWrongPasswordIsOneBind(t *testing.T) {
	for name, method := range map[string]ssh.AuthMethod{"password": ssh.Password("x"), "prompt": answering([]string{"x"})} {
		f := start(t)
		f.dial(t, "alice", method)
		if f.people.binds != 1 {
			t.Errorf("%s: %d binds, want 1", name, f.people.binds)
		}
	}
}

func TestDenied(t *testing.T) {
	f := start(t, func(f *fixture) {
		f.Policy = rules(func(policy.Request) (*policy.Policy, error) {
			return nil, fmt.Errorf("no rule: %w", &policy.Denied{Reason: policy.NoRule})
		})
	})
	for _, m := range []ssh.AuthMethod{ssh.Password("secret-1"), ssh.PublicKeys(f.key)} {
		_, banner, err := f.dial(t, "alice", m)
		if err == nil || !strings.Contains(banner, "no access") {
			t.Errorf("login = %v, banner %q", err, banner)
		}
	}
	if got := f.events.reasons(event.LoginDenied); !slices.Equal(got, []string{"no_rule", "no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestSeveralFactors(t *testing.T) {
	tests := []struct {
		name    string
		require [][]string
		methods func(*fixture) []ssh.AuthMethod
		want    bool
	}{
		{"both", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key), ssh.Password("secret-1")}
		}, true},
		{"the second by prompt", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key), answering([]string{"secret-1"})}
		}, true},
		{"only the first", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key)}
		}, false},
		{"the second wrong", [][]string{{"publickey", "password"}}, func(f *fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(f.key), ssh.Password("x")}
		}, false},
		{"password first", [][]string{{"publickey", "password"}}, func(*fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("secret-1")}
		}, false},
		{"either", [][]string{{"publickey"}, {"password"}}, func(*fixture) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("secret-1")}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			resolve := f.Policy
			f.Policy = rules(func(q policy.Request) (*policy.Policy, error) {
				p, err := resolve.Resolve(q)
				p.Require = tt.require
				return p, err
			})
			_, banner, err := f.dial(t, "alice", tt.methods(f)...)
			if (err == nil) != tt.want {
				t.Errorf("login = %v, want %t", err, tt.want)
			}
			if banner != "" {
				t.Errorf("%q tells which factor was right", banner)
			}
		})
	}
}

func TestMustChange(t *testing.T) {
	t.Run("inside the login", func(t *testing.T) {
		f := start(t)
		f.people.set("alice", directory.StatusMustChange)
		c := f.must(t, answering([]string{"secret-1"}, []string{"short", "short"}, []string{"a longer one", "a longer one"}))
		if out, _, status := run1(t, c, "whoami", ""); status != 0 || !strings.Contains(out, "alice") {
			t.Errorf("whoami = %q, %d", out, status)
		}
		if f.people.password["alice"] != "a longer one" {
			t.Error("the password was not changed")
		}
	})
	t.Run("nothing but passwd after a key", func(t *testing.T) {
		f := start(t)
		f.people.set("alice", directory.StatusPasswordExpired)
		c := f.must(t)
		_, stderr, status := run1(t, c, "scp -f x", "")
		if status == 0 || !strings.Contains(stderr, "expired") || !strings.Contains(stderr, "passwd") {
			t.Errorf("scp = %d, %q", status, stderr)
		}
		out, _, status := run1(t, c, "passwd", "secret-1\na longer one\na longer one\n")
		if status != 0 || !strings.HasSuffix(out, textUpdated+"\n") {
			t.Errorf("passwd = %d, %q", status, out)
		}
	})
	t.Run("not when the password was wrong", func(t *testing.T) {
		f := start(t)
		f.people.set("alice", directory.StatusMustChange)
		if _, _, err := f.dial(t, "alice", answering([]string{"x"}, []string{"a longer one", "a longer one"})); err == nil {
			t.Error("logged in")
		}
	})
}

func TestPasswd(t *testing.T) {
	const good = "a longer one"
	tests := []struct {
		name, input, want string
		status            int
	}{
		{"changed", "secret-1\n" + good + "\n" + good + "\n", textUpdated + "\n", 0},
		{"no newline at the end", "secret-1\n" + good + "\n" + good, textUpdated + "\n", 0},
		{"line ends of Windows", "secret-1\r\n" + good + "\r\n" + good + "\r\n", textUpdated + "\n", 0},
		{"wrong current", "x\n" + good + "\n" + good + "\n", "The current password is wrong.\n" + textFailed + "\n", 1},
		{"mismatch", "secret-1\n" + good + "\nother\n", "The new passwords do not match.\n" + textFailed + "\n", 1},
		{"blank first", "secret-1\n " + good + "\n " + good + "\n", "space or a tab.\n" + textFailed + "\n", 1},
		{"tab last", "secret-1\n" + good + "\t\n" + good + "\t\n", "space or a tab.\n" + textFailed + "\n", 1},
		{"empty", "secret-1\n\n\n", "The new password is empty.\n" + textFailed + "\n", 1},
		{"refused", "secret-1\nx\nx\n", "The new password is too short.\n" + textFailed + "\n", 1},
		{"input over", "secret-1\n", "The dialogue was ended.\n" + textFailed + "\n", 1},
		{"line too long", strings.Repeat("x", 5000) + "\n", "The dialogue was ended.\n" + textFailed + "\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			c := f.must(t)
			out, _, status := run1(t, c, "passwd", tt.input)
			if status != tt.status || !strings.HasSuffix(out, tt.want) {
				t.Errorf("status %d, output %q; want %d, %q at the end", status, out, tt.status, tt.want)
			}
			if !strings.HasPrefix(out, promptCurrent) {
				t.Errorf("output %q does not begin with the first prompt", out)
			}
			if err := c.Wait(); err == nil {
				t.Error("the connection is still open")
			}
		})
	}
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
}

func TestSessionsAreLimited(t *testing.T) {
	f := start(t)
	resolve := f.Policy
	f.Policy = rules(func(q policy.Request) (*policy.Policy, error) {
		p, err := resolve.Resolve(q)
		p.Limits.Sessions = 1
		return p, err
	})
	first := f.must(t)
	_, banner, err := f.dial(t, "alice", ssh.PublicKeys(f.key))
	if err == nil || !strings.Contains(banner, "Too many sessions") {
		t.Errorf("second login = %v, banner %q", err, banner)
	}
	first.Close()
	f.hangUp()
	f.must(t)
}

func TestReconsider(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "") // once it answers, the session stands
	f.people.down = true
	f.Reconsider(t.Context())
	if _, _, status := run1(t, c, "whoami", ""); status != 0 {
		t.Error("a directory that is down ended the session")
	}
	f.people.down = false
	f.people.set("alice", directory.StatusDisabled)
	f.Reconsider(t.Context())
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"account_disabled"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestExpiryIsTold(t *testing.T) {
	f := start(t)
	f.people.users["alice"].State.PasswordExpires = time.Now().Add(50 * time.Hour)
	f.people.users["alice"].State.ExpiresSoon = true
	_, banner, err := f.dial(t, "alice", ssh.PublicKeys(f.key))
	if err != nil || !strings.Contains(banner, "in 2 days") {
		t.Errorf("login = %v, banner %q", err, banner)
	}
	if got := f.events.reasons(event.PasswordExpiring); len(got) != 1 {
		t.Errorf("%d events, want 1", len(got))
	}
}

func TestRightsEndAtTheirHour(t *testing.T) {
	f := start(t)
	resolve := f.Policy
	var over atomic.Bool
	f.Policy = rules(func(q policy.Request) (*policy.Policy, error) {
		if over.Load() {
			return nil, &policy.Denied{Reason: policy.NoRule}
		}
		p, err := resolve.Resolve(q)
		p.ValidUntil = time.Now().Add(time.Hour)
		return p, err
	})
	run1(t, f.must(t), "help", "") // once it answers, the session stands
	over.Store(true)
	for _, open := range f.open() {
		f.lapse(t.Context(), open, time.Now())
		if open.reason.Load() != nil {
			t.Error("ended before the hour")
		}
		f.lapse(t.Context(), open, time.Now().Add(2*time.Hour))
	}
	f.hangUp()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	panics := true
	f := start(t, func(f *fixture) {
		open := f.Open
		f.Open = func(p *policy.Policy) (fs.FS, error) {
			if panics {
				panics = false
				panic("a bug")
			}
			return open(p)
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

func TestSessionsEndInTime(t *testing.T) {
	tests := []struct {
		name   string
		limits policy.Limits
		after  time.Duration
		want   string
	}{
		{"idle", policy.Limits{Idle: time.Minute}, time.Minute, "idle"},
		{"not idle yet", policy.Limits{Idle: time.Minute}, 50 * time.Second, ""},
		{"open too long", policy.Limits{SessionTime: time.Hour}, time.Hour, "session_time_over"},
		{"no limits", policy.Limits{}, 30 * time.Second, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			resolve := f.Policy
			f.Policy = rules(func(q policy.Request) (*policy.Policy, error) {
				p, err := resolve.Resolve(q)
				p.Limits = tt.limits
				return p, err
			})
			run1(t, f.must(t), "help", "")
			c := f.open()[0]
			c.look(time.Now().Add(tt.after))
			got := ""
			if why := c.reason.Load(); why != nil {
				got = *why
			}
			if got != tt.want {
				t.Errorf("after %v: closed for %q, want %q", tt.after, got, tt.want)
			}
		})
	}
}

// TestSilentClientsAreLetGo has a client that is not there any more: nothing
// answers on its side of the connection.
func TestSilentClientsAreLetGo(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c := f.open()[0]
	now := time.Now()
	c.silent.Store(unanswered) // as many have stayed away
	c.look(now.Add(f.KeepAlive))
	if why := c.reason.Load(); why == nil || *why != "client does not answer" {
		t.Errorf("closed for %v", why)
	}
}

func TestKeepAliveIsAnswered(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c := f.open()[0]
	c.look(time.Now().Add(f.KeepAlive))
	for c.silent.Load() != 0 {
		time.Sleep(time.Millisecond)
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

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"alice": true, "CORP\\alice": true, "alice@corp.example": true, "jörg": true, "o'neil": true, "*": true,
		"": false, " alice": false, "alice ": false, "alice\x00": false, "al\nice": false, strings.Repeat("a", 257): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName(%q) = %v, want allowed: %t", name, err, ok)
		}
	}
}

func TestPasswdWithTerminal(t *testing.T) {
	f := start(t)
	c := f.must(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdin, s.Stdout = strings.NewReader("secret-1\ra longer onX\x7fe\ra longer one\r"), &out
	if err := s.Run("passwd"); err != nil {
		t.Errorf("passwd = %v, %q", err, out.String())
	}
	if got := out.String(); strings.Contains(got, "secret-1") || strings.Contains(got, "longer") || !strings.HasSuffix(got, textUpdated+"\r\n") {
		t.Errorf("output %q", got)
	}
}

func TestCtrlCEndsPasswd(t *testing.T) {
	f := start(t)
	c := f.must(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	s.Stdin = strings.NewReader("secret-1\r\x03")
	if err := s.Run("passwd"); err == nil {
		t.Error("passwd succeeded")
	}
	if got := f.events.reasons(event.PasswordChangeFailed); !slices.Equal(got, []string{"no_answer"}) {
		t.Errorf("reasons = %q", got)
	}
}
