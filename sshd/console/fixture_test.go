package console

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/policy"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/login"
	"berth/sshd/state"
)

// people is a directory in which everybody's password is "right".
type people struct {
	directory.Directory // what is not below is not called
	mu                  sync.Mutex
	states              map[string]directory.Status
	binds               int
	listErr             error // after everybody
	listPanics          bool
	down                error          // nobody can be looked up
	user                directory.User // what everybody has in common
	groups              []directory.Nested
	groupsErr           error
	answering           func(context.Context) // is called when a person was found, before that is answered
}

func (p *people) Lookup(ctx context.Context, name string) (*directory.User, error) {
	p.mu.Lock()
	status, known := p.states[name]
	down, u, answering := p.down, p.user, p.answering
	p.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if !known {
		return nil, &directory.Refusal{Why: directory.ErrNoUser}
	}
	if answering != nil {
		answering(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	u.Identity, u.Name, u.State = directory.Identity{Source: "corp", ID: "id-" + name}, name, directory.State{Status: status}
	return &u, nil
}

func (p *people) Authenticate(ctx context.Context, u *directory.User, password string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.binds++
	if password != "right" {
		return &directory.Refusal{Why: directory.ErrBadPassword}
	}
	err := (&directory.State{Status: p.states[u.Name]}).Err()
	if r, ok := errors.AsType[*directory.Refusal](err); ok {
		r.Proved = true
	}
	return err
}

func (p *people) Users(ctx context.Context) iter.Seq2[*directory.User, error] {
	return func(yield func(*directory.User, error) bool) {
		if p.listPanics {
			panic("of a test")
		}
		for _, name := range slices.Sorted(maps.Keys(p.states)) {
			if !yield(p.Lookup(ctx, name)) {
				return
			}
		}
		if p.listErr != nil {
			yield(nil, p.listErr)
		}
	}
}

func (p *people) Nesting(context.Context) ([]directory.Nested, error) { return p.groups, p.groupsErr }

func (p *people) Find(_ context.Context, prefix string, most int) (found []directory.Found, more bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(p.states)) {
		if strings.HasPrefix(name, prefix) {
			found = append(found, directory.Found{Source: "corp", Name: name, FullName: "<i>" + name})
		}
	}
	return found[:min(most, len(found))], len(found) > most, p.listErr
}

func (p *people) Lockout(context.Context, *directory.User) (int, time.Duration, error) {
	return 0, 0, nil
}

func (p *people) set(name string, s directory.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states[name] = s
}

// operators are those who the console asks. They remember who did what.
type operators struct {
	mu     sync.Mutex
	open   []admin.Session
	others []admin.Done // what other nodes answer about sessions
	health []admin.Done
	ended  []admin.Session // what they answer about the end of a session
	failed string          // what they answer that they could not do
	err    error
	done   []string
}

func (o *operators) Nodes(t admin.Task) ([]admin.Done, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch t.Do {
	case admin.DoSessions:
		return o.others, o.err
	case admin.DoStatus:
		return o.health, o.err
	}
	o.done = append(o.done, strings.ReplaceAll(t.Do+" "+t.Who+" on ", "  ", " ")+t.Node+" by "+t.By.User+" in "+t.By.Console)
	return []admin.Done{{Node: t.Node, Sessions: o.ended, Error: o.failed}}, o.err
}

func (o *operators) Sessions() []admin.Session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.open)
}

func (o *operators) Kick(by admin.Caller, who string) []admin.Session {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, "kick "+who+" by "+by.User+" in "+by.Console)
	return []admin.Session{{ID: who}}
}

func (o *operators) Drain(by admin.Caller) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, "drain by "+by.User)
}

// events remembers.
type events struct {
	mu  sync.Mutex
	all []event.Event
}

func (e *events) Emit(ev event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// of returns the users and reasons of the events of a type.
func (e *events) of(t event.Type) (all []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev.Type == t {
			all = append(all, strings.TrimSpace(ev.User+" "+ev.Reason.String()))
		}
	}
	return all
}

// fixture is a console with root, who operates, rita, who reads, and others.
type fixture struct {
	*Console
	people    *people
	operators *operators
	events    *events
	handler   http.Handler
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	set, err := policy.Compile([]policy.Rule{
		{Name: "operators", When: policy.When{Users: []string{"root"}}, Services: []string{"console_read", "console_operate"}, Limits: policy.Quantity{Sessions: &policy.Amount[int]{Value: new(2)}}},
		{Name: "readers", When: policy.When{Users: []string{"rita"}}, Services: []string{"console_read"}},
		{
			Name: "all", When: policy.When{Users: []string{"alice", "dave", "erin"}},
			Folders: []policy.Mount{{Path: "/shared", Host: "/srv/shared", Permissions: []string{"read_only"}}},
		},
		{Name: "two factors", When: policy.When{Users: []string{"tom"}}, Services: []string{"console_read"}, Require: [][]string{{"publickey", "password"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		people: &people{states: map[string]directory.Status{
			"root": directory.StatusActive, "rita": directory.StatusActive, "alice": directory.StatusActive, "tom": directory.StatusActive,
			"dave": directory.StatusDisabled, "erin": directory.StatusMustChange,
		}},
		operators: &operators{health: []admin.Done{{Status: &admin.Status{Sessions: 1}}}, open: []admin.Session{{
			ID: "0123456789abcdef", User: "<script>alice", Remote: netip.MustParseAddrPort("192.0.2.7:22"), Method: "password", Services: []string{"sftp"},
			Transfers: []admin.Transfer{{Path: "/big", Mode: "reading", Bytes: 5, Position: 5, Size: 10}},
		}}},
		events: &events{},
	}
	settings := login.DefaultSettings()
	settings.RefusalDelay = 0
	f.Console = &Console{
		Settings: DefaultSettings(),
		Gate: &login.Gate{
			Settings: settings, Directory: f.people, Rules: set, State: state.NewMemory(state.DefaultSettings()), Emit: f.events.Emit, Log: hclog.NewNullLogger(),
		},
		Operators: f.operators, Events: f.events, History: &History{}, Recheck: time.Minute, Rules: &rulesFile{set: set}, Log: hclog.NewNullLogger(),
	}
	f.handler = f.Handler()
	return f
}

// A browser keeps the cookie. It is at an address.
type browser struct {
	*fixture
	at     string
	cookie *http.Cookie
	header map[string]string
}

func (f *fixture) browser(at string) *browser { return &browser{fixture: f, at: at} }

// do makes a request over TLS. form is nil for GET.
func (b *browser) do(path string, form url.Values) *http.Response {
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r := httptest.NewRequest(method, "https://console.example"+path, strings.NewReader(body))
	r.TLS, r.RemoteAddr = &tls.ConnectionState{}, b.at+":1234"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.header {
		r.Header.Set(name, value)
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		b.cookie = c
	}
	return res
}

func text(t testing.TB, res *http.Response) string {
	t.Helper()
	var b strings.Builder
	if _, err := bufio.NewReader(res.Body).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// login logs in and returns the status.
func (b *browser) login(name, password string) *http.Response {
	return b.do("/login", url.Values{"name": {name}, "password": {password}})
}

// in is a browser in which name has logged in, and the token of its forms.
func (f *fixture) in(t testing.TB, name, at string) (b *browser, csrf string) {
	t.Helper()
	b = f.browser(at)
	if res := b.login(name, "right"); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("login of %s: %s\n%s", name, res.Status, text(t, res))
	}
	m := regexp.MustCompile(`name="csrf" value="([0-9a-f]{64})"`).FindStringSubmatch(text(t, b.do("/", nil)))
	if m == nil {
		t.Fatalf("no token in the page of %s", name)
	}
	return b, m[1]
}

// out reports whether the session of b has ended.
func (b *browser) out() bool {
	kept := *b
	res := kept.do("/", nil)
	return res.StatusCode == http.StatusSeeOther && res.Header.Get("Location") == "/login"
}
