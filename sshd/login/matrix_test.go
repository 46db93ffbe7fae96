package login

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// The matrix plays every chain of factors, every state of the account, every
// order in which a client may try, every outcome of the rules, and every factor
// right or wrong, through the callbacks of the SSH library and without a
// connection. What must hold is written as rules over what happened, and not as
// a second implementation.

const (
	rightPassword = "right password"
	newPassword   = "a new password"
	tokenSecret   = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
)

// A world is one person in one directory, who tries to log in.
type world struct {
	directory.Directory // what is not below is not called
	mu                  sync.Mutex

	user     directory.User
	password string
	binds    int
	lookups  int
	slow     time.Duration // what a look-up and a bind take
	changes  int
	between  func(*directory.User) // what happens to the account after the first factor

	policy  *policy.Policy
	denied  error
	events  []event.Event
	banners []string
}

func (w *world) Lookup(_ context.Context, name string) (*directory.User, error) {
	time.Sleep(w.slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups++
	if name != w.user.Name {
		return nil, &directory.Refusal{Why: directory.ErrNoUser}
	}
	u := w.user
	return &u, nil
}

func (w *world) Authenticate(_ context.Context, u *directory.User, password string) error {
	time.Sleep(w.slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.binds++
	if password != w.password {
		return &directory.Refusal{Why: directory.ErrBadPassword}
	}
	err := w.user.State.Err()
	var r *directory.Refusal
	if errors.As(err, &r) {
		r.Proved = true
	}
	return err
}

func (w *world) PasswordRules(context.Context, *directory.User) (directory.PasswordRules, error) {
	return directory.PasswordRules{Length: 8, History: 3}, nil
}

func (w *world) ChangePassword(_ context.Context, _ *directory.User, old, new string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old != w.password {
		return &directory.Refusal{Why: directory.ErrBadPassword}
	}
	w.password, w.user.State.Status, w.user.State.PasswordChanged = new, directory.StatusActive, time.Now()
	w.changes++
	return nil
}

func (w *world) Resolve(q policy.Request) (*policy.Policy, error) {
	if w.denied != nil {
		return nil, w.denied
	}
	p := *w.policy
	p.User = q.User
	return &p, nil
}

func (w *world) Hash() string { return "h" }

func (w *world) Explain(policy.Request) policy.Explanation { return policy.Explanation{} }

// meta is the connection as the library shows it to callbacks.
type meta struct{ name string }

func (m meta) User() string          { return m.name }
func (m meta) SessionID() []byte     { return nil }
func (m meta) ClientVersion() []byte { return nil }
func (m meta) ServerVersion() []byte { return nil }
func (m meta) RemoteAddr() net.Addr  { return &net.TCPAddr{} }
func (m meta) LocalAddr() net.Addr   { return &net.TCPAddr{} }

// preAuth takes banners. The interface of the library cannot be implemented
// elsewhere, so it is embedded.
type preAuth struct {
	ssh.ServerPreAuthConn
	w *world
}

func (p preAuth) SendAuthBanner(text string) error {
	p.w.banners = append(p.w.banners, text)
	return nil
}

var testKey = func() ssh.PublicKey {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		panic(err)
	}
	return k
}()

// A try is one method with one credential.
type try struct {
	factor string // publickey, password, keyboard-interactive, totp
	right  bool
}

func (t try) String() string {
	if t.right {
		return t.factor
	}
	return "wrong " + t.factor
}

// newAttempt begins a login in w.
func newAttempt(w *world) *Attempt {
	s := DefaultSettings()
	s.RefusalDelay = 0
	g := &Gate{
		Settings: s, Directory: w, Rules: w, State: state.NewMemory(state.DefaultSettings()), Codes: &totp.Codes{},
		Emit: func(e event.Event) { w.events = append(w.events, e) }, Log: hclog.NewNullLogger(),
		Service: func(string) string { return "" },
	}
	a := &Attempt{
		gate: g, ctx: context.Background(), log: g.Log, pre: preAuth{w: w},
		peer: Peer{Session: "1", Remote: netip.MustParseAddrPort("192.0.2.1:22"), Source: netip.MustParseAddr("192.0.2.1"), Opened: time.Now()},
	}
	return a
}

// answer answers the questions of a dialogue, and notes a question for a new
// password.
type answer struct {
	try        try
	code       string
	wantsNew   bool // the client answers when a new password is asked for
	askedToNew bool
}

func (n *answer) challenge(_, _ string, questions []string, _ []bool) ([]string, error) {
	var all []string
	for _, q := range questions {
		switch {
		case q == PromptNew || q == PromptConfirm:
			n.askedToNew = true
			if !n.wantsNew {
				return nil, errors.New("no answer")
			}
			all = append(all, newPassword)
		case q == promptCode && (n.try.right || n.try.factor != factorCode):
			all = append(all, n.code)
		case q == promptPassword && n.try.right && n.try.factor != factorCode:
			all = append(all, rightPassword)
		default:
			all = append(all, "wrong")
		}
	}
	return all, nil
}

// play lets a client make tries until one of them ends the login, as the library
// would. It returns the grant, and whether a new password was asked for.
func play(w *world, a *Attempt, tries []try, wantsNew bool) (g *Grant, askedToNew bool, text string) {
	offered := a.callbacks()
	m := meta{w.user.Name}
	for i, t := range tries {
		if i == 1 && w.between != nil {
			w.between(&w.user)
		}
		var perms *ssh.Permissions
		err := errors.New("method not offered")
		n := &answer{try: t, wantsNew: wantsNew, code: codeOf(tokenSecret)}
		switch t.factor {
		case methodPublicKey:
			if offered.PublicKeyCallback == nil {
				break
			}
			key := testKey
			if !t.right {
				key = otherKey
			}
			if perms, err = offered.PublicKeyCallback(m, key); err == nil {
				perms, err = a.key(m, key, perms, "")
			}
		case methodPassword:
			if offered.PasswordCallback == nil {
				break
			}
			password := "wrong"
			if t.right {
				password = rightPassword
			}
			perms, err = offered.PasswordCallback(m, []byte(password))
		default:
			if offered.KeyboardInteractiveCallback == nil {
				break
			}
			perms, err = offered.KeyboardInteractiveCallback(m, n.challenge)
		}
		askedToNew = askedToNew || n.askedToNew
		var banner *ssh.BannerError
		if errors.As(err, &banner) {
			text += banner.Message
		}
		if partial, ok := err.(*ssh.PartialSuccessError); ok {
			offered = partial.Next
			continue
		}
		if err == nil {
			if g, err = Granted(perms); err != nil {
				panic(err)
			}
			return g, askedToNew, text
		}
	}
	a.Failed()
	return nil, askedToNew, text
}

var otherKey = func() ssh.PublicKey {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	k, _ := ssh.NewPublicKey(public)
	return k
}()

// chains are what rules may ask for.
var chains = [][][]string{
	nil,
	{{"publickey"}},
	{{"password"}},
	{{"publickey", "password"}},
	{{"password", "publickey"}},
	{{"publickey", "totp"}},
	{{"password", "totp"}},
	{{"publickey", "password", "totp"}},
	{{"publickey"}, {"password", "totp"}},
	{{"publickey", "password"}, {"password", "publickey"}},
}

// orders are all sequences of up to three tries.
func orders() [][]try {
	var single []try
	for _, f := range []string{methodPublicKey, methodPassword, methodInteractive, factorCode} {
		single = append(single, try{f, true}, try{f, false})
	}
	var all [][]try
	var grow func(prefix []try)
	grow = func(prefix []try) {
		if len(prefix) > 0 {
			all = append(all, slices.Clone(prefix))
		}
		if len(prefix) == 3 {
			return
		}
		for _, t := range single {
			grow(append(prefix, t))
		}
	}
	grow(nil)
	return all
}

// TestMatrix holds what a login does to what must be true of it, over all chains
// x states x orders x outcomes of the rules.
func TestMatrix(t *testing.T) {
	states := []directory.Status{
		directory.StatusActive, directory.StatusDisabled, directory.StatusLocked, directory.StatusExpired,
		directory.StatusOutsideHours, directory.StatusUnknown, directory.StatusPasswordExpired, directory.StatusMustChange,
	}
	type outcome struct {
		name     string
		denied   error
		services []string
	}
	outcomes := []outcome{
		{"allowed", nil, []string{"sftp", "passwd"}},
		{"without passwd", nil, []string{"sftp"}},
		{"no rule", &policy.Denied{Reason: policy.NoRule}, nil},
		{"deny rule", &policy.Denied{Reason: policy.DenyRule}, nil},
	}
	all := orders()
	whole := os.Getenv("BERTH_PEERS") != "" // else every eleventh of the longest orders
	played := 0
	for c, chain := range chains {
		for _, status := range states {
			for _, out := range outcomes {
				for i, order := range all {
					if len(order) == 3 && !whole && (i+c)%11 != 0 {
						continue
					}
					for _, wantsNew := range []bool{true, false} {
						if wantsNew && status != directory.StatusPasswordExpired && status != directory.StatusMustChange {
							continue // nobody is asked
						}
						played++
						w := newWorld(status)
						w.policy = &policy.Policy{Services: out.services, Require: chain, Rules: []string{"r"}}
						w.denied = out.denied
						a := newAttempt(w)
						g, asked, text := play(w, a, order, wantsNew)
						for _, wrong := range violations(w, a, g, asked, text, chain, status, out.denied != nil, order) {
							t.Fatalf("chain %v, state %v, rules %s, client tries %v (new password: %t): %s", chain, status, out.name, order, wantsNew, wrong)
						}
					}
				}
			}
		}
	}
	t.Logf("%d logins", played)
}

func newWorld(status directory.Status) *world {
	return &world{
		user: directory.User{
			Identity: directory.Identity{Source: "corp", ID: "7"}, Name: "alice", DN: "uid=alice",
			Keys: []directory.Key{{PublicKey: testKey}}, TOTP: []directory.Secret{directory.NewSecret(tokenSecret)},
			State: directory.State{Status: status},
		},
		password: rightPassword,
	}
}

// violations returns what must not be of one login.
func violations(w *world, a *Attempt, g *Grant, asked bool, text string, chain [][]string, status directory.Status, denied bool, order []try) []string {
	var wrong []string
	must := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	restricts := status == directory.StatusPasswordExpired || status == directory.StatusMustChange
	right := func(factor string) bool {
		return slices.ContainsFunc(order, func(t try) bool {
			return t.right && (t.factor == factor || (factor == methodPassword && t.factor == methodInteractive)) ||
				factor == factorCode && t.factor == methodInteractive // its code is always right
		})
	}
	provable := len(chain) == 0 || slices.ContainsFunc(chain, func(want []string) bool {
		return !slices.ContainsFunc(want, func(f string) bool { return !right(f) })
	})
	count := func(types ...event.Type) (n int) {
		for _, e := range w.events {
			if slices.Contains(types, e.Type) {
				n++
			}
		}
		return n
	}
	mayChange := !denied && slices.Contains(w.policy.Services, "passwd") && restricts && provable

	// Nothing with an effect happens before the decision.
	must(w.changes == 0 || mayChange, "the password was changed")
	must(!asked || mayChange, "a new password was asked for")
	if len(chain) > 0 && !slices.ContainsFunc(chain, func(want []string) bool { return want[0] == "password" }) && order[0].factor != methodPublicKey {
		if len(order) == 1 && !denied {
			must(w.binds == 0, "%d binds although the rules ask for a key first", w.binds)
		}
	}
	// Who gets in has proved what the rules ask for, and may be here.
	if g != nil {
		_, done := missing(chain, g.proofs.factors)
		must(done, "in with %v", g.proofs.factors)
		must(provable, "in without the right factors")
		must(!denied, "in against the rules")
		must(status == directory.StatusActive || restricts, "in with state %v", status)
		must((g.Restriction != nil) == (restricts && w.changes == 0), "restriction %v after %d changes", g.Restriction, w.changes)
		must(count(event.LoginAccepted) == 1, "%d events of the login", count(event.LoginAccepted))
	} else {
		must(count(event.LoginAccepted) == 0, "a login that failed is accepted in the events")
		must(w.changes == 0, "the password was changed and the login failed")
		must(count(event.LoginRejected, event.LoginDenied, event.LoginPartial) > 0, "no event has the failure")
	}
	// A client that proved nothing the rules ask for now is not told to go on.
	begun := slices.ContainsFunc(chain, func(want []string) bool { return right(want[0]) })
	must(begun || count(event.LoginPartial) == 0, "partial success for nothing")
	// Reasons are for who has proved what is asked for before them.
	anyRight := slices.ContainsFunc(order, func(t try) bool { return t.right })
	must(text == "" || anyRight, "a stranger is told %q", text)
	if first := order[0]; len(order) == 1 && !first.right {
		must(text == "", "a wrong %s is told %q", first.factor, text)
		must(a.penalized, "a wrong %s is free", first.factor)
	}
	// A session is counted as long as there is a grant, and not otherwise.
	_, sessions, _ := a.gate.State.(*state.Memory).Counts()
	must((sessions == 1) == (g != nil), "%d sessions are counted", sessions)
	return wrong
}

// TestBetweenFactors changes the account after the first of two factors.
func TestBetweenFactors(t *testing.T) {
	status := func(s directory.Status) func(*directory.User) {
		return func(u *directory.User) { u.State.Status = s }
	}
	tests := []struct {
		name    string
		between func(*directory.User)
		want    string // "in", "restricted", "out"
	}{
		{"nothing", func(*directory.User) {}, "in"},
		{"disabled", status(directory.StatusDisabled), "out"},
		{"unreadable", status(directory.StatusUnknown), "out"},
		{"must change", status(directory.StatusMustChange), "restricted"},
		{"somebody else has the name", func(u *directory.User) { u.ID = "8" }, "out"},
		{"the same id in another directory", func(u *directory.User) { u.Source = "partner" }, "out"},
		{"the key is removed", func(u *directory.User) { u.Keys = nil }, "out"},
	}
	key, password, code := try{methodPublicKey, true}, try{methodPassword, true}, try{factorCode, true}
	for _, order := range [][]try{{key, password}, {key, code}, {password, key}} {
		chain := []string{order[0].factor, order[1].factor}
		for _, tt := range tests {
			if order[1] == key && tt.name == "the key is removed" {
				continue // it is refused when it is offered, below
			}
			w := newWorld(directory.StatusActive)
			w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}, Require: [][]string{chain}}
			w.between = tt.between
			g, _, _ := play(w, newAttempt(w), order, false)
			got := "out"
			if g != nil && g.Restriction != nil {
				got = "restricted"
			} else if g != nil {
				got = "in"
			}
			if got != tt.want {
				t.Errorf("%v, after the first %s: got %s, want %s", chain, tt.name, got, tt.want)
			}
		}
	}
}

// TestRestrictionOfTheBind: some servers say only in the bind that a password
// must be changed. A later factor does not make that undone.
func TestRestrictionOfTheBind(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}, Require: [][]string{{"password", "publickey"}}}
	a := newAttempt(w)
	d := restricting{w}
	a.gate.Directory = d
	g, _, _ := play(w, a, []try{{methodPassword, true}, {methodPublicKey, true}}, false)
	if g == nil || !errors.Is(g.Restriction, directory.ErrMustChange) {
		t.Errorf("grant = %+v, want one that is restricted", g)
	}
}

type restricting struct{ *world }

func (r restricting) Authenticate(ctx context.Context, u *directory.User, password string) error {
	if err := r.world.Authenticate(ctx, u, password); err != nil {
		return err
	}
	return &directory.Refusal{Why: directory.ErrMustChange, Proved: true, Bound: true}
}

// TestEachNamePays offers a key for several names on one connection.
func TestEachNamePays(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{}
	s := state.DefaultSettings()
	s.Penalties.Min, s.Penalties.Max = time.Hour, time.Hour
	a := newAttempt(w)
	store := &countingStore{Store: state.NewMemory(s)}
	a.gate.State = store
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		for range 3 {
			if _, err := a.offer(meta{name}, otherKey); err == nil {
				t.Fatal("a key of nobody was accepted")
			}
		}
	}
	a.Failed()
	var reasons []string
	for _, e := range w.events {
		reasons = append(reasons, e.User+" "+e.Reason.String())
	}
	want := []string{"alice key_not_accepted", "bob unknown_user", "carol unknown_user", "dave unknown_user"}
	if !slices.Equal(reasons, want) || store.penalties != len(want) {
		t.Errorf("events %q and %d penalties, want %q and one each", reasons, store.penalties, want)
	}
	if w.lookups != len(want) {
		t.Errorf("the directory was asked %d times, want once for each name", w.lookups)
	}
}

type countingStore struct {
	state.Store
	penalties int
}

func (c *countingStore) Penalize(remote netip.Addr, k state.Kind) {
	c.penalties++
	c.Store.Penalize(remote, k)
}

// TestBarredInTheMiddle: a connection that is open is of no use to a source that
// has failed too often elsewhere, for any name.
func TestBarredInTheMiddle(t *testing.T) {
	for _, name := range []string{"alice", "zoe"} {
		w := newWorld(directory.StatusActive)
		w.policy = &policy.Policy{}
		a := newAttempt(w)
		for range 5 {
			a.gate.State.Penalize(a.peer.Source, state.LoginFailed)
		}
		_, err := a.password(meta{name}, []byte(rightPassword))
		var banner *ssh.BannerError
		if !errors.As(err, &banner) || !strings.Contains(banner.Message, "from your address") || w.binds != 0 {
			t.Errorf("%s: got %v after %d binds, want to be told that the address is barred", name, err, w.binds)
		}
		if _, err := a.offer(meta{name}, testKey); err == nil {
			t.Errorf("%s: a key was accepted", name)
		}
	}
}

// TestPenaltiesTellNothing: with a key required first, a right password costs
// what a wrong one does, and is not asked about.
func TestPenaltiesTellNothing(t *testing.T) {
	var seen []string
	for _, right := range []bool{true, false} {
		for _, method := range []string{methodPassword, methodInteractive} {
			w := newWorld(directory.StatusActive)
			w.policy = &policy.Policy{Require: [][]string{{"publickey", "password"}}}
			a := newAttempt(w)
			a.gate.Codes = nil
			_, _, text := play(w, a, []try{{method, right}}, true)
			seen = append(seen, fmt.Sprint(text, a.penalized, w.binds, len(w.events), w.events[0].Reason))
		}
	}
	for _, s := range seen {
		if s != seen[0] {
			t.Errorf("got %q, want the same for right and wrong", seen)
		}
	}
}

// TestReview makes the decision of the login again.
func TestReview(t *testing.T) {
	w := newWorld(directory.StatusActive)
	w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}}
	a := newAttempt(w)
	g, _, _ := play(w, a, []try{{methodPassword, true}}, false)
	if g == nil {
		t.Fatal("no login")
	}
	review := func(change func(*directory.User), err error) (*Grant, error) {
		u := w.user
		change(&u)
		return a.gate.Review(g, &u, err)
	}
	same := func(*directory.User) {}
	if next, err := review(same, nil); next != g || err != nil {
		t.Errorf("nothing has changed: got %p, %v, want the grant itself, %p", next, err, g)
	}
	if next, err := review(same, errors.New("no server answers")); next != g || err != nil {
		t.Errorf("the directory is down: got %p, %v, want the grant itself", next, err)
	}
	moved, err := review(func(u *directory.User) { u.DN = "uid=alice,ou=elsewhere" }, nil)
	if err != nil || moved == g || moved.User.DN != "uid=alice,ou=elsewhere" || !moved.SameRights(g) {
		t.Errorf("moved: got %+v, %v, want the new DN and the same rights", moved, err)
	}
	w.policy = &policy.Policy{Services: w.policy.Services, ValidUntil: time.Now().Add(time.Hour)}
	if later, err := review(same, nil); err != nil || later == g || !later.SameRights(g) {
		t.Errorf("other hours: got %+v, %v, want another grant with the same rights", later, err)
	}
	narrowed, err := review(func(u *directory.User) { u.State.Status = directory.StatusMustChange }, nil)
	if err != nil || narrowed.Restriction == nil {
		t.Errorf("must change: got %+v, %v, want a restricted grant", narrowed, err)
	}
	for name, err := range map[string]error{
		"disabled": func() error {
			_, err := review(func(u *directory.User) { u.State.Status = directory.StatusDisabled }, nil)
			return err
		}(),
		"password changed": func() error {
			_, err := review(func(u *directory.User) { u.State.PasswordChanged = time.Now() }, nil)
			return err
		}(),
		"no user": func() error {
			_, err := a.gate.Review(g, nil, &directory.Refusal{Why: directory.ErrNoUser})
			return err
		}(),
		"another method is required": func() error {
			w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{{"publickey"}}}
			_, err := review(same, nil)
			return err
		}(),
		"another factor is required": func() error {
			w.policy = &policy.Policy{Services: []string{"sftp"}, Require: [][]string{{"password", "totp"}}}
			_, err := review(same, nil)
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("%s: the session goes on", name)
		}
	}
}

// codeOf is the code of a secret now: RFC 4226, section 5.4, and not the code
// under test.
func codeOf(secret string) string {
	key, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha1.New, key)
	binary.Write(mac, binary.BigEndian, uint64(time.Now().Unix()/30))
	hs := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(hs[hs[19]&0xf:])&0x7fffffff%1_000_000)
}
