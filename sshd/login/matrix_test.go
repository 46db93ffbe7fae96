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
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/kerberos"
	"berth/sshd/oidc"
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

	other   *directory.User  // somebody else in the directory; nil: nobody
	keytab  *kerberos.Keytab // nil: no tickets
	browser *browser         // nil: no sign-in with the browser
	wrong   int              // what is wrong with a wrong ticket or sign-in: see wrongPrincipals and browser

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
	if w.other != nil && name == w.other.Name {
		u := *w.other
		return &u, nil
	}
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
	factor string // publickey, password, keyboard-interactive, gssapi-with-mic, oidc, totp
	right  bool
}

func (t try) String() string {
	if t.right {
		return t.factor
	}
	return "wrong " + t.factor
}

// proves returns the factors that a try can prove, whatever the server asks for. Who
// answers a dialogue knows the code, even with a wrong password.
func (t try) proves() []string {
	switch {
	case t.factor == methodInteractive && t.right:
		return []string{methodPassword, factorCode}
	case t.factor == methodInteractive:
		return []string{factorCode}
	case t.right:
		return []string{t.factor}
	}
	return nil
}

// The principals of tickets: of alice, and three that are not hers. One is of somebody
// else, one of an alice in another directory, and one of an alice in no directory.
const rightPrincipal = "alice@CORP.EXAMPLE"

var wrongPrincipals = []string{"bob@CORP.EXAMPLE", "alice@PARTNER.EXAMPLE", "alice@ELSEWHERE.EXAMPLE"}

// newKeytab accepts tickets of two directories.
func newKeytab(t *testing.T) *kerberos.Keytab {
	t.Helper()
	keys := keytab.New()
	if err := keys.AddEntry("host/sftp.corp.example", "CORP.EXAMPLE", "secret", time.Unix(1, 0), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
		t.Fatal(err)
	}
	file, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keytab")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := kerberos.Open(kerberos.Settings{Keytab: path, Realms: []kerberos.Realm{
		{Name: "CORP.EXAMPLE", Directory: "corp"}, {Name: "PARTNER.EXAMPLE", Directory: "partner"},
	}}, "corp", "partner")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const rightSubject = "sub-1"

// A browser is an identity provider and the person in front of it.
type browser struct {
	only  bool // the login asks for no password
	try   try  // under way: only a client that tries the browser opens the link
	wrong int  // what is wrong with a wrong sign-in: somebody else, another directory, nobody at all
}

func (b *browser) Begin(context.Context, netip.Addr) (*oidc.SignIn, error) {
	return &oidc.SignIn{Link: "https://id.example/device", Code: "ABCD-EFGH", Wait: b.wait, Close: func() {}}, nil
}

func (b *browser) wait(context.Context) (oidc.Person, error) {
	switch {
	case b.try.factor != methodBrowser, !b.try.right && b.wrong == 2:
		return oidc.Person{}, oidc.ErrNotSignedIn
	case !b.try.right && b.wrong == 0:
		return oidc.Person{Name: "bob", Claim: "bob", Subject: "sub-2"}, nil
	}
	return oidc.Person{Name: "alice", Claim: "alice", Subject: rightSubject}, nil
}

func (b *browser) Directory() string {
	if b.try.factor == methodBrowser && !b.try.right && b.wrong == 1 {
		return "partner"
	}
	return "corp"
}

func (b *browser) BrowserOnly() bool { return b.only }

func (b *browser) Timeout() time.Duration { return time.Minute }

// newAttempt begins a login in w.
func newAttempt(w *world) *Attempt {
	s := DefaultSettings()
	s.RefusalDelay = 0
	g := &Gate{
		Settings: s, Directory: w, Rules: w, State: state.NewMemory(state.DefaultSettings()), Codes: &totp.Codes{},
		Emit: func(e event.Event) { w.events = append(w.events, e) }, Log: hclog.NewNullLogger(),
		Service: func(string) string { return "" }, Kerberos: w.keytab,
	}
	if w.browser != nil {
		g.SignIn = w.browser
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
		case q == promptCode && (n.try.factor == methodInteractive || (n.try.factor == factorCode && n.try.right)):
			all = append(all, n.code)
		case q == promptChoice && n.try.factor == methodBrowser:
			all = append(all, "")
		case (q == promptPassword || q == promptChoice) && n.try.factor == methodInteractive && n.try.right:
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
		case methodTicket:
			if offered.GSSAPIWithMICConfig == nil {
				break
			}
			principal := rightPrincipal
			if !t.right {
				principal = wrongPrincipals[w.wrong]
			}
			perms, err = offered.GSSAPIWithMICConfig.AllowLogin(m, principal)
		default:
			if w.browser != nil {
				w.browser.try, w.browser.wrong = t, w.wrong
			}
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

// chains are what rules may ask for: every one or two methods in every order, without
// and with a code at the end, and some choices between several.
func chains() [][][]string {
	all := [][][]string{
		nil,
		{{"publickey", "password", "gssapi-with-mic"}},
		{{"gssapi-with-mic", "oidc", "password", "totp"}},
		{{"publickey"}, {"password", "totp"}},
		{{"publickey", "password"}, {"password", "publickey"}},
		{{"gssapi-with-mic", "totp"}, {"publickey", "oidc"}},
		{{"publickey", "gssapi-with-mic"}, {"publickey", "oidc"}, {"password"}},
		{{"publickey", "oidc"}, {"publickey", "password"}},
	}
	methods := []string{methodPublicKey, methodPassword, methodTicket, methodBrowser}
	for _, first := range methods {
		all = append(all, [][]string{{first}}, [][]string{{first, factorCode}})
		for _, second := range methods {
			if second != first {
				all = append(all, [][]string{{first, second}}, [][]string{{first, second, factorCode}})
			}
		}
	}
	return all
}

// orders are all sequences of up to three tries.
func orders() [][]try {
	var single []try
	for _, f := range []string{methodPublicKey, methodPassword, methodInteractive, methodTicket, methodBrowser, factorCode} {
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

// uses reports whether order has only right tries, of factors that chain asks for, and
// each once. Such orders are always played, because they are the ones that can succeed.
func uses(chain [][]string, order []try) bool {
	for i, t := range order {
		factor := t.factor
		if factor == methodInteractive {
			factor = methodPassword
		}
		if !t.right || slices.Contains(order[:i], t) || !slices.Contains(slices.Concat(chain...), factor) {
			return false
		}
	}
	return true
}

// An outcome is what the rules say.
type outcome struct {
	name     string
	denied   error
	services []string
}

// TestMatrix holds what a login does to what must be true of it, over all chains
// x states x orders x outcomes of the rules.
func TestMatrix(t *testing.T) {
	states := []directory.Status{
		directory.StatusActive, directory.StatusDisabled, directory.StatusLocked, directory.StatusExpired,
		directory.StatusOutsideHours, directory.StatusUnknown, directory.StatusPasswordExpired, directory.StatusMustChange,
	}
	outcomes := []outcome{
		{"allowed", nil, []string{"sftp", "passwd"}},
		{"without passwd", nil, []string{"sftp"}},
		{"no rule", &policy.Denied{Reason: policy.NoRule}, nil},
		{"deny rule", &policy.Denied{Reason: policy.DenyRule}, nil},
	}
	all, keytab := orders(), newKeytab(t)
	stride := []int{1: 1, 2: 11, 3: 127} // of the orders of a length, every how many are played
	if os.Getenv("BERTH_PEERS") != "" {
		stride = []int{1: 1, 2: 1, 3: 5}
	}
	var played, in atomic.Int32
	t.Cleanup(func() { t.Logf("%d logins, of which %d succeeded", played.Load(), in.Load()) })
	for c, chain := range chains() {
		t.Run(fmt.Sprint(chain), func(t *testing.T) {
			t.Parallel()
			signIn := slices.Contains(slices.Concat(chain...), methodBrowser)
			for s, status := range states {
				for o, out := range outcomes {
					for i, order := range all {
						n := i + c + s + o
						always := uses(chain, order)
						if !always && n%stride[len(order)] != 0 {
							continue
						}
						for k := range 4 {
							wantsNew, only := k&1 != 0, k&2 != 0
							if wantsNew && status != directory.StatusPasswordExpired && status != directory.StatusMustChange {
								continue // nobody is asked
							}
							if only != (n%2 == 0) && !(always && signIn) {
								continue // one kind of prompt is enough
							}
							w := newWorld(status)
							w.policy = &policy.Policy{Services: out.services, Require: chain, Rules: []string{"r"}}
							w.denied = out.denied
							w.other = &directory.User{Identity: directory.Identity{Source: "corp", ID: "8"}, Name: "bob"}
							w.keytab, w.browser, w.wrong = keytab, &browser{only: only}, n%3
							a := newAttempt(w)
							g, asked, text := play(w, a, order, wantsNew)
							played.Add(1)
							if g != nil {
								in.Add(1)
							}
							for _, wrong := range violations(w, a, g, asked, text, chain, status, order, wantsNew) {
								t.Fatalf("state %v, rules %s, client tries %v (new password: %t, browser only: %t, wrong is %d): %s", status, out.name, order, wantsNew, only, w.wrong, wrong)
							}
						}
					}
				}
			}
		})
	}
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

// provedBy reports whether the tries of a client have proved all factors of want, in this
// order.
func provedBy(order []try, want []string) bool {
	for _, t := range order {
		for _, f := range t.proves() {
			if len(want) > 0 && f == want[0] {
				want = want[1:]
			}
		}
	}
	return len(want) == 0
}

// follows reports whether order is exactly what want asks for, and nothing else. A code
// beside a password needs keyboard-interactive.
func follows(order []try, want []string) bool {
	for _, t := range order {
		code := len(want) > 1 && want[0] == methodPassword && want[1] == factorCode
		switch {
		case len(want) == 0 || !t.right:
			return false
		case t.factor == methodInteractive && code:
			want = want[2:]
		case t.factor == methodInteractive && want[0] == methodPassword, t.factor == want[0] && !code:
			want = want[1:]
		default:
			return false
		}
	}
	return len(want) == 0
}

// violations returns what must not be of one login.
func violations(w *world, a *Attempt, g *Grant, asked bool, text string, chain [][]string, status directory.Status, order []try, wantsNew bool) []string {
	var wrong []string
	must := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	ways := chain
	if len(ways) == 0 { // any one method will do
		ways = [][]string{{methodPublicKey}, {methodPassword}, {methodTicket}, {methodBrowser}}
	}
	denied := w.denied != nil
	restricts := status == directory.StatusPasswordExpired || status == directory.StatusMustChange
	provable := slices.ContainsFunc(ways, func(want []string) bool { return provedBy(order, want) })
	begun := slices.ContainsFunc(ways, func(want []string) bool { return provedBy(order, want[:1]) })
	count := func(types ...event.Type) (n int) {
		for _, e := range w.events {
			if slices.Contains(types, e.Type) {
				n++
			}
		}
		return n
	}
	passwd := slices.Contains(w.policy.Services, "passwd")
	mayChange := !denied && passwd && restricts && provable

	// Nothing with an effect happens before the decision.
	must(w.changes == 0 || mayChange, "the password was changed")
	must(!asked || mayChange, "a new password was asked for")
	if len(order) == 1 && !denied && !slices.ContainsFunc(ways, func(want []string) bool { return want[0] == methodPassword }) {
		must(w.binds == 0, "%d binds although the rules do not ask for a password first", w.binds)
	}
	// Who gets in has proved what the rules ask for, and may be here.
	if g != nil {
		factors := slices.Clone(g.proofs.factors)
		for i, f := range factors {
			if f == methodInteractive {
				factors[i] = methodPassword
			}
		}
		must(slices.ContainsFunc(ways, func(want []string) bool { return slices.Equal(factors, want) }), "in with %v", factors)
		must(provedBy(order, factors), "in with %v, and not all were proved", factors)
		must(!denied, "in against the rules")
		must(status == directory.StatusActive || restricts, "in with state %v", status)
		must((g.Restriction != nil) == (restricts && w.changes == 0), "restriction %v after %d changes", g.Restriction, w.changes)
		must(g.Restriction == nil || passwd, "restricted to a service that the rules do not allow")
		must(g.User.Identity == w.user.Identity, "in as %v", g.User.Identity)
		must(count(event.LoginAccepted) == 1, "%d events of the login", count(event.LoginAccepted))
		fields := w.events[slices.IndexFunc(w.events, func(e event.Event) bool { return e.Type == event.LoginAccepted })].Fields
		must((fields["principal"] == rightPrincipal) == slices.Contains(factors, methodTicket), "in with %v, and the event has the principal %q", factors, fields["principal"])
		must((fields["subject"] == rightSubject) == slices.Contains(factors, methodBrowser), "in with %v, and the event has the subject %q", factors, fields["subject"])
	} else {
		must(count(event.LoginAccepted) == 0, "a login that failed is accepted in the events")
		must(w.changes == 0, "the password was changed and the login failed")
		must(count(event.LoginRejected, event.LoginDenied, event.LoginPartial) > 0, "no event has the failure")
	}
	// Who does exactly what the rules ask for gets in. If keyboard-interactive is only for
	// the browser, it takes no password first. Two ways that begin alike are left out,
	// because keyboard-interactive asks for one factor at a time.
	last := order[len(order)-1].factor
	straight := len(chain) < 2 || chain[0][0] != chain[1][0]
	straight = straight && slices.ContainsFunc(ways, func(want []string) bool { return follows(order, want) })
	straight = straight && !(w.browser.only && order[0].factor == methodInteractive)
	switch {
	case !straight || denied:
	case status == directory.StatusActive:
		must(g != nil, "not in")
	case restricts && passwd && (wantsNew || last != methodInteractive):
		must(g != nil, "not in, though only the password must be changed")
		must((w.changes == 1) == (last == methodInteractive), "the password was changed %d times", w.changes)
	}
	// A client that proved nothing the rules ask for now is not told to go on.
	must(begun || count(event.LoginPartial) == 0, "partial success for nothing")
	// Reasons are for who has proved what is asked for before them. That nobody has signed
	// in with the browser is no secret.
	told := strings.ReplaceAll(text, Sentence(oidc.ErrNotSignedIn)+"\n", "")
	must(told == "" || begun || (denied && slices.ContainsFunc(order, func(t try) bool { return t.right })), "a stranger is told %q", told)
	if first := order[0]; len(order) == 1 && !first.right {
		must(told == "", "a wrong %s is told %q", first.factor, told)
		// A client tries any ticket that it has, without asking the person.
		must(a.penalized == (first.factor != methodTicket), "a wrong %s is penalized: %t", first.factor, a.penalized)
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
	ticket, signIn := try{methodTicket, true}, try{methodBrowser, true}
	keytab := newKeytab(t)
	for _, order := range [][]try{
		{key, password},
		{key, code},
		{password, key},
		{key, ticket},
		{key, signIn},
		{password, ticket},
		{password, signIn},
		{ticket, code},
		{ticket, password},
		{ticket, signIn},
		{signIn, code},
		{signIn, password},
		{signIn, ticket},
	} {
		chain := []string{order[0].factor, order[1].factor}
		for _, tt := range tests {
			if order[0] != key && tt.name == "the key is removed" {
				continue // no key was used, or it is refused when it is offered
			}
			w := newWorld(directory.StatusActive)
			w.keytab, w.browser = keytab, &browser{}
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
	keytab := newKeytab(t)
	for _, later := range []string{methodPublicKey, methodTicket, methodBrowser} {
		w := newWorld(directory.StatusActive)
		w.keytab, w.browser = keytab, &browser{}
		w.policy = &policy.Policy{Services: []string{"sftp", "passwd"}, Require: [][]string{{methodPassword, later}}}
		a := newAttempt(w)
		a.gate.Directory = restricting{w}
		g, _, _ := play(w, a, []try{{methodPassword, true}, {later, true}}, false)
		if g == nil || !errors.Is(g.Restriction, directory.ErrMustChange) {
			t.Errorf("%s: grant = %+v, want one that is restricted", later, g)
		}
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
