package cert

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// workshop is a folder where ssh-keygen makes keys and certificates.
type workshop struct {
	*testing.T
	dir string
}

func newWorkshop(t *testing.T) workshop {
	w := workshop{t, t.TempDir()}
	for _, name := range []string{"ca", "other", "user", "mate"} {
		w.keygen("-t", "ed25519", "-N", "", "-C", name, "-f", w.path(name))
	}
	return w
}

func (w workshop) path(name string) string { return filepath.Join(w.dir, name) }

func (w workshop) keygen(args ...string) {
	w.Helper()
	cmd := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
	}
}

// sign has ca sign the key of user.
func (w workshop) sign(ca, user string, args ...string) *ssh.Certificate {
	w.Helper()
	w.keygen(append(append([]string{"-s", w.path(ca)}, args...), w.path(user)+".pub")...)
	return w.public(user + "-cert.pub").(*ssh.Certificate)
}

func (w workshop) public(name string) ssh.PublicKey {
	w.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		w.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		w.Fatal(err)
	}
	return key
}

func (w workshop) write(name, text string) string {
	w.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	return w.path(name)
}

// called is somebody with several names, where "also" is among the attributes
// that hold principals.
func called(name string, also ...string) Person {
	return Person{Name: name, Attrs: map[string][]string{"also": also}}
}

func (w workshop) open(s Settings) *Authority {
	w.Helper()
	if s.PrincipalAttributes == nil {
		s.PrincipalAttributes = []string{"Also"}
	}
	if s.CAKeys == nil {
		s.CAKeys = []string{w.path("ca.pub")}
	}
	a, err := Open(s)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	here = netip.MustParseAddr("192.0.2.7")
)

func TestCheck(t *testing.T) {
	w := newWorkshop(t)
	a := w.open(Settings{})
	day := []string{"-V", "20261122000000:20261123000000"}
	tests := []struct {
		name string
		ca   string
		args []string
		from string
		want error
	}{
		{name: "hers", args: []string{"-n", "alice"}},
		{name: "one of several", args: []string{"-n", "root,alice"}},
		{name: "no principals", want: ErrPrincipal},
		{name: "somebody else's", args: []string{"-n", "bob"}, want: ErrPrincipal},
		{name: "another spelling", args: []string{"-n", "Alice"}, want: ErrPrincipal},
		{name: "another authority", ca: "other", args: []string{"-n", "alice"}, want: ErrAuthority},
		{name: "host certificate", args: []string{"-h", "-n", "alice"}, want: ErrType},
		{name: "today", args: append(day, "-n", "alice")},
		{name: "yesterday", args: []string{"-V", "20261121000000:20261122000000", "-n", "alice"}, want: ErrExpired},
		{name: "to this second", args: []string{"-V", "20261121000000:20261122120000", "-n", "alice"}, want: ErrExpired},
		{name: "from this second", args: []string{"-V", "20261122120000:20261123000000", "-n", "alice"}},
		{name: "tomorrow", args: []string{"-V", "20261123000000:20261124000000", "-n", "alice"}, want: ErrNotYetValid},
		{name: "from here", args: []string{"-n", "alice", "-O", "source-address=10.0.0.0/8,192.0.2.7/32"}},
		{name: "from the first of two", args: []string{"-n", "alice", "-O", "source-address=192.0.2.7/32,10.0.0.0/8"}},
		{name: "from here, mapped", args: []string{"-n", "alice", "-O", "source-address=192.0.2.0/24"}, from: "::ffff:192.0.2.7"},
		{name: "from IPv6", args: []string{"-n", "alice", "-O", "source-address=2001:db8::/32"}, from: "2001:db8::7"},
		{name: "from elsewhere", args: []string{"-n", "alice", "-O", "source-address=10.0.0.0/8"}, want: ErrSource},
		{name: "verify-required", args: []string{"-n", "alice", "-O", "verify-required"}},
		{name: "unknown option", args: []string{"-n", "alice", "-O", "critical:moon@example.com=full"}, want: ErrOption},
		{name: "unknown extension", args: []string{"-n", "alice", "-O", "extension:moon@example.com=full"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ca, from := "ca", here
			if tt.ca != "" {
				ca = tt.ca
			}
			if tt.from != "" {
				from = netip.MustParseAddr(tt.from)
			}
			cert := w.sign(ca, "user", append([]string{"-I", "alice@laptop", "-z", "7"}, tt.args...)...)
			g, err := a.Check(cert, called("alice", ""), from, noon)
			if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (g.ID != "alice@laptop" || g.Serial != 7 || g.Authority != ssh.FingerprintSHA256(w.public("ca.pub"))) {
				t.Errorf("grant: %+v", g)
			}
		})
	}
}

func TestGrant(t *testing.T) {
	w := newWorkshop(t)
	a := w.open(Settings{})
	cert := w.sign("ca", "user", "-I", "x", "-n", "alice", "-V", "20261122000000:20261123000000", "-O", "force-command=internal-sftp")
	g, err := a.Check(cert, called("alice"), here, noon)
	if want := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC); err != nil || g.Command != "internal-sftp" || !g.Until.Equal(want) {
		t.Errorf("got %+v, %v, want internal-sftp until %v", g, err, want)
	}
	g, err = a.Check(w.sign("ca", "user", "-I", "x", "-n", "alice"), called("alice"), here, noon)
	if err != nil || g.Command != "" || !g.Until.IsZero() {
		t.Errorf("got %+v, %v, want any command and no end", g, err)
	}
}

func TestPrincipals(t *testing.T) {
	w := newWorkshop(t)
	a := w.open(Settings{PrincipalAttributes: []string{"Mail", "userPrincipalName"}})
	alice := Person{Name: "alice", Attrs: map[string][]string{
		"mail": {"alice@corp.example", "a@corp.example"}, "userprincipalname": {"alice@ad.example"}, "other": {"root"},
	}}
	for name, want := range map[string]error{
		"alice": nil, "alice@corp.example": nil, "a@corp.example": nil, "alice@ad.example": nil,
		"root": ErrPrincipal, "mail": ErrPrincipal,
	} {
		if _, err := a.Check(w.sign("ca", "user", "-I", "x", "-n", name), alice, here, noon); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("a certificate for %q: got %v, want %v", name, err, want)
		}
	}
}

// TestAuthorityOfDirectory binds what an authority certifies to the people of one
// directory.
func TestAuthorityOfDirectory(t *testing.T) {
	w := newWorkshop(t)
	both := Settings{Authorities: []Trusted{{File: w.path("ca.pub"), Directory: "corp"}, {File: w.path("other.pub"), Directory: "partner"}}}
	bob := w.sign("ca", "user", "-I", "x", "-n", "bob")
	for _, tt := range []struct {
		name        string
		s           Settings
		directories []string
		of          string // directory of bob
		want        error
	}{
		{"no directories", Settings{CAKeys: []string{w.path("ca.pub")}}, nil, "", nil},
		{"no directories, but somebody of one", Settings{CAKeys: []string{w.path("ca.pub")}}, nil, "corp", ErrAuthority},
		{"the only one", Settings{CAKeys: []string{w.path("ca.pub")}}, []string{"corp"}, "corp", nil},
		{"the only one, as a list", Settings{Authorities: []Trusted{{File: w.path("ca.pub")}}}, []string{"corp"}, "corp", nil},
		{"not the only one", Settings{CAKeys: []string{w.path("ca.pub")}}, []string{"corp"}, "partner", ErrAuthority},
		{"its own", both, []string{"corp", "partner"}, "corp", nil},
		{"another's", both, []string{"corp", "partner"}, "partner", ErrAuthority},
		{"nobody's", both, []string{"corp", "partner"}, "", ErrAuthority},
	} {
		a, err := Open(tt.s, tt.directories...)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for _, err := range []error{
			a.Trusts(bob, tt.of),
			func() error { _, err := a.Check(bob, Person{Directory: tt.of, Name: "bob"}, here, noon); return err }(),
		} {
			if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		}
	}
	for _, tt := range []struct {
		s    Settings
		want string
	}{
		{Settings{CAKeys: []string{w.path("ca.pub")}}, "ca_keys: there are 2 directories"},
		{Settings{Authorities: []Trusted{{File: w.path("ca.pub")}}}, `authorities[0].directory: "": must be the name of a directory: corp, partner`},
		{Settings{Authorities: []Trusted{{File: w.path("ca.pub"), Directory: "Corp"}}}, `authorities[0].directory: "Corp"`},
		{Settings{Authorities: []Trusted{{Directory: "corp"}}}, "authorities[0].file: missing"},
	} {
		if errs := tt.s.Check("corp", "partner"); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.s, errs, tt.want)
		}
		if _, err := Open(tt.s, "corp", "partner"); err == nil {
			t.Errorf("%+v: Open accepts it", tt.s)
		}
	}
}

func TestForgery(t *testing.T) {
	w := newWorkshop(t)
	a := w.open(Settings{})
	for name, forge := range map[string]func(c *ssh.Certificate){
		"principal": func(c *ssh.Certificate) { c.ValidPrincipals = []string{"alice"} },
		"validity":  func(c *ssh.Certificate) { c.ValidBefore = ssh.CertTimeInfinity },
		"option":    func(c *ssh.Certificate) { c.CriticalOptions = nil },
		"key":       func(c *ssh.Certificate) { c.Key = w.public("mate.pub") },
		"serial":    func(c *ssh.Certificate) { c.Serial++ },
		"signature": func(c *ssh.Certificate) { c.Signature = nil },
		"authority": func(c *ssh.Certificate) {
			c.SignatureKey = w.public("ca.pub")
			c.Signature = w.sign("other", "mate", "-I", "x", "-n", "alice").Signature
		},
	} {
		cert := w.sign("ca", "user", "-I", "x", "-n", "bob", "-V", "20261122000000:20261123000000", "-O", "source-address=10.0.0.0/8")
		forge(cert)
		if _, err := a.Check(cert, called("alice", "bob"), netip.MustParseAddr("10.1.2.3"), noon); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want %v", name, err, ErrSignature)
		}
	}
}

// TestWeak refuses what the library would take.
func TestWeak(t *testing.T) {
	w := newWorkshop(t)
	w.keygen("-t", "rsa", "-b", "3072", "-N", "", "-f", w.path("rsa"))
	w.keygen("-t", "rsa", "-b", "1024", "-N", "", "-f", w.path("short"))
	a := w.open(Settings{CAKeys: []string{w.path("ca.pub"), w.path("rsa.pub")}})
	check := func(what string, cert *ssh.Certificate, want error) {
		t.Helper()
		if _, err := a.Check(cert, called("alice"), here, noon); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	check("SHA-2", w.sign("rsa", "user", "-I", "x", "-n", "alice"), nil)
	check("SHA-1", w.sign("rsa", "user", "-t", "ssh-rsa", "-I", "x", "-n", "alice"), ErrWeak)
	check("short key", w.sign("ca", "short", "-I", "x", "-n", "alice"), ErrWeak)
	if _, err := Open(Settings{CAKeys: []string{w.path("short.pub")}}); !errors.Is(err, ErrWeak) {
		t.Errorf("short key of an authority: got %v, want %v", err, ErrWeak)
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWorkshop(t)
	w.sign("ca", "user", "-I", "x", "-n", "alice")
	open := w.write("writable", "")
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		s    Settings
		want string
	}{
		{Settings{CAKeys: []string{w.path("none")}}, "none: no such file"},
		{Settings{CAKeys: []string{w.dir}}, "is not a regular file"},
		{Settings{CAKeys: []string{open}}, "mode 0666 gives other users too much access: chmod 0644"},
		{Settings{CAKeys: []string{w.write("empty", "# nothing\n")}}, "holds no public key"},
		{Settings{CAKeys: []string{w.write("options", `from="10.0.0.0/8" `+w.text("ca.pub"))}}, "line 1: options"},
		{Settings{CAKeys: []string{w.path("user-cert.pub")}}, "line 1: is a certificate"},
		{Settings{CAKeys: []string{w.path("ca")}}, "line 1: is not a public key"},
		{Settings{CAKeys: []string{w.path("ca.pub")}, Revoked: []string{w.path("none")}}, "none: no such file"},
		{Settings{CAKeys: []string{w.path("ca.pub")}, Revoked: []string{w.write("words", "\nserial: 7\nnothing\n")}}, "line 3:"},
	} {
		if _, err := Open(tt.s); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.s, err, tt.want)
		}
	}
}

func (w workshop) text(name string) string {
	w.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

func TestSettingsCheck(t *testing.T) {
	for _, tt := range []struct {
		s    Settings
		want string
	}{
		{Settings{}, ""},
		{Settings{CAKeys: []string{"ca.pub"}, Revoked: []string{"krl"}}, ""},
		{Settings{Revoked: []string{"krl"}}, ""},
		{Settings{PrincipalAttributes: []string{"mail"}}, "ca_keys: empty"},
		{Settings{CAKeys: []string{""}}, "ca_keys[0]: empty"},
	} {
		got := errors.Join(tt.s.Check()...)
		if (got == nil) != (tt.want == "") || (got != nil && !strings.Contains(got.Error(), tt.want)) {
			t.Errorf("%+v: got %v, want %q", tt.s, got, tt.want)
		}
	}
}

// TestFilesAreReadAgain changes them under a running server.
func TestFilesAreReadAgain(t *testing.T) {
	w := newWorkshop(t)
	cas, list := w.write("cas", w.text("ca.pub")), w.write("list", "")
	a := w.open(Settings{CAKeys: []string{cas}, Revoked: []string{list}})
	hers, others := w.sign("ca", "user", "-I", "x", "-z", "7", "-n", "alice"), w.sign("other", "mate", "-I", "x", "-n", "alice")
	check := func(what string, cert *ssh.Certificate, want error) {
		t.Helper()
		if _, err := a.Check(cert, called("alice"), here, noon); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
		if err := a.Trusts(cert, ""); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%s: Trusts = %v, want %v", what, err, want)
		}
	}
	check("at first", hers, nil)
	check("at first", others, ErrAuthority)
	w.write("cas", w.text("ca.pub")+"\n"+w.text("other.pub"))
	check("a second authority", others, nil)
	w.write("list", "serial: 7\n")
	check("revoked", hers, ErrRevoked)
	w.write("list", "serial: \n")
	check("broken", others, ErrUnreadable)
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	check("gone", hers, ErrUnreadable)
	w.write("list", "# nobody\n")
	check("mended", hers, nil)
	w.write("cas", "")
	check("no authorities", hers, ErrUnreadable)
}

// TestUnreadableFilesHideNothing: what one list revokes is revoked although another one, or
// the authorities, cannot be read.
func TestUnreadableFilesHideNothing(t *testing.T) {
	w := newWorkshop(t)
	cas := w.write("cas", w.text("ca.pub"))
	lists := []string{w.write("first", ""), w.write("second", ""), w.write("third", "")}
	a := w.open(Settings{CAKeys: []string{cas}, Revoked: lists})
	hers := w.sign("ca", "user", "-I", "x", "-z", "7", "-n", "alice")
	w.write("first", "nonsense\n")
	w.write("third", "nonsense\n")
	if err := a.Trusts(hers, ""); !errors.Is(err, ErrUndecided) || !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrRevoked) {
		t.Errorf("two lists are broken: %v, want %v", err, ErrUndecided)
	}
	w.write("second", "serial: 7\n")
	if err := a.Trusts(hers, ""); !errors.Is(err, ErrRevoked) {
		t.Errorf("the other one has the serial number: %v, want %v", err, ErrRevoked)
	}
	w.write("cas", "")
	if err := a.Trusts(hers, ""); !errors.Is(err, ErrRevoked) {
		t.Errorf("the authorities are broken, too: %v, want %v", err, ErrRevoked)
	}
}

// TestKeysOfAllKinds has ssh-keygen and the library agree about them.
func TestKeysOfAllKinds(t *testing.T) {
	w := newWorkshop(t)
	for _, kind := range []string{"ecdsa", "rsa", "ed25519"} {
		w.keygen("-t", kind, "-N", "", "-f", w.path("ca_"+kind))
		a := w.open(Settings{CAKeys: []string{w.path("ca_" + kind + ".pub")}})
		if _, err := a.Check(w.sign("ca_"+kind, "user", "-I", "x", "-n", "alice"), called("alice"), here, noon); err != nil {
			t.Errorf("authority %s: %v", kind, err)
		}
		if _, err := w.open(Settings{}).Check(w.sign("ca", "ca_"+kind, "-I", "x", "-n", "alice"), called("alice"), here, noon); err != nil {
			t.Errorf("user %s: %v", kind, err)
		}
	}
}

// TestSecurityKey certifies a key of a token, which the library does not know as
// a key of Go.
func TestSecurityKey(t *testing.T) {
	w := newWorkshop(t)
	key, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Type        string
		Point       []byte
		Application string
	}{"sk-ssh-ed25519@openssh.com", make([]byte, 32), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("token.pub"), ssh.MarshalAuthorizedKey(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open(Settings{}).Check(w.sign("ca", "token", "-I", "x", "-n", "alice"), called("alice"), here, noon); err != nil {
		t.Error(err)
	}
}

// TestFingerprints reads fingerprints of a text of revocations.
func TestFingerprints(t *testing.T) {
	good := "SHA256:" + base64.RawStdEncoding.EncodeToString(make([]byte, 32))
	for line, ok := range map[string]bool{
		good: true, good + "=": true, good + " a comment": true, "hash: " + good: true, "sha256: " + good: false,
		good + "!": false, good + "AAAA": false, good[:40]: false, "SHA256:": false, "hash: " + good[7:]: false, "MD5:00": false,
	} {
		r, err := parseRevocations([]byte(line + "\n"))
		if (err == nil) != ok || ok && len(r.keys) != 1 {
			t.Errorf("%q: %v, want accepted: %t", line, err, ok)
		}
	}
}

// TestMadeByOthers checks certificates that ssh-keygen would not make.
func TestMadeByOthers(t *testing.T) {
	w := newWorkshop(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	a := w.open(Settings{CAKeys: []string{w.write("cas", string(ssh.MarshalAuthorizedKey(ca.PublicKey())))}})
	for _, tt := range []struct {
		name string
		set  func(*ssh.Certificate)
		want error
	}{
		{"plain", func(*ssh.Certificate) {}, nil},
		{"principal without a name", func(c *ssh.Certificate) { c.ValidPrincipals = []string{""} }, ErrPrincipal},
		{"no principals", func(c *ssh.Certificate) { c.ValidPrincipals = nil }, ErrPrincipal},
		{"a name after an empty one", func(c *ssh.Certificate) { c.ValidPrincipals = []string{"", "alice"} }, nil},
		{"single address", func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "192.0.2.7"}
		}, nil},
		{"no network", func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": "192.0.2.7,all"}
		}, ErrOption},
		{"empty network", func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"source-address": ""}
		}, ErrOption},
		{"empty command", func(c *ssh.Certificate) {
			c.CriticalOptions = map[string]string{"force-command": ""}
		}, ErrOption},
		{"ends before it begins", func(c *ssh.Certificate) { c.ValidAfter, c.ValidBefore = 9, 8 }, ErrExpired},
		{"begins after all time", func(c *ssh.Certificate) { c.ValidAfter = 1 << 63 }, ErrExpired},
		{"no type", func(c *ssh.Certificate) { c.CertType = 0 }, ErrType},
	} {
		c := &ssh.Certificate{
			Key: w.public("user.pub"), CertType: ssh.UserCert, KeyId: "x", ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity,
		}
		tt.set(c)
		c.SignatureKey = ca.PublicKey() // SignCert refuses some of these
		unsigned := c.Marshal()
		if c.Signature, err = ca.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, unsigned[:len(unsigned)-4], ssh.KeyAlgoRSASHA512); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Check(c, called("alice", ""), here, noon); !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}
