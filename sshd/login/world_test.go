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
	"sync"
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
		case (q == promptCode || q == promptCodeChoice) && (n.try.factor == methodInteractive || (n.try.factor == factorCode && n.try.right)):
			all = append(all, n.code)
		case (q == promptChoice || q == promptCodeChoice) && n.try.factor == methodBrowser:
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
