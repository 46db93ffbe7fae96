package hostkey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

const secret = "correct horse"

func ask() ([]byte, error) { return []byte(secret), nil }

// samples are keys of every type, made once.
var samples = sync.OnceValue(func() map[string]Key {
	out := map[string]Key{}
	_, ed, err1 := ed25519.GenerateKey(rand.Reader)
	rs, err2 := rsa.GenerateKey(rand.Reader, 2048)
	p256, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, err4 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, err5 := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		panic(err)
	}
	for name, key := range map[string]any{"ed25519": ed, "rsa": rs, "ecdsa256": p256, "ecdsa384": p384, "ecdsa521": p521} {
		k, err := privateKey(key, nil)
		if err != nil {
			panic(err)
		}
		k.Comment = "alice at example"
		out[name] = k
	}
	return out
})

func each(t *testing.T, f func(t *testing.T, name string, k Key)) {
	t.Helper()
	for name, k := range samples() {
		t.Run(name, func(t *testing.T) { f(t, name, k) })
	}
}

// slow reports whether encryption in format f takes so long that only one
// type of key is tested.
func slow(f Format, how, name string) bool {
	return (f == PKCS8 || f == OpenSSH) && how == "sealed" && name != "ecdsa256"
}

// passphrases are the two ways of writing a private key.
var passphrases = map[string][]byte{"open": nil, "sealed": []byte(secret)}

// same fails unless got is the pair want.
func same(t *testing.T, what string, got, want Key) {
	t.Helper()
	if !bytes.Equal(got.Public.Marshal(), want.Public.Marshal()) {
		t.Errorf("%s: got another public key", what)
	}
	if got.Private == nil {
		t.Errorf("%s: the private key is missing", what)
		return
	}
	a, err1 := ssh.NewSignerFromSigner(got.Private)
	b, err2 := ssh.NewSignerFromSigner(want.Private)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	sig, err := a.Sign(rand.Reader, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PublicKey().Verify([]byte("x"), sig); err != nil {
		t.Errorf("%s: the private key is another: %v", what, err)
	}
}

func TestPrivateRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		for _, f := range []Format{OpenSSH, PEM, PKCS8, PPK2, PPK3} {
			for how, pass := range passphrases {
				if slow(f, how, name) {
					continue
				}
				what := string(f) + " " + how
				text, err := k.Encode(f, pass)
				if f == PEM && (how == "sealed" || name == "ed25519") {
					if err == nil {
						t.Errorf("%s: want an error", what)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				got, err := Parse(text, ask)
				if err != nil {
					t.Fatalf("%s: %v\n%s", what, err, text)
				}
				same(t, what, got, k)
				keeps := f == PPK2 || f == PPK3 || f == OpenSSH && how == "open"
				if keeps && got.Comment != k.Comment {
					t.Errorf("%s: comment %q, want %q", what, got.Comment, k.Comment)
				}
				if how == "open" {
					continue
				}
				if _, err := Parse(text, nil); !errors.Is(err, ErrEncrypted) {
					t.Errorf("%s without passphrase: got %v", what, err)
				}
				if f == OpenSSH {
					continue // TestPassphrase has a wrong one, for less time
				}
				wrong := func() ([]byte, error) { return []byte("wrong"), nil }
				if _, err := Parse(text, wrong); !errors.Is(err, ErrWrongPassphrase) {
					t.Errorf("%s with a wrong passphrase: got %v", what, err)
				}
			}
		}
	})
}

func TestPublicRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		for _, f := range []Format{OpenSSH, PEM, PKCS8, RFC4716} {
			text, err := k.EncodePublic(f)
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			got, err := Parse(text, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", f, err, text)
			}
			if got.Private != nil || !bytes.Equal(got.Public.Marshal(), k.Public.Marshal()) {
				t.Errorf("%s: got another key", f)
			}
			if (f == OpenSSH || f == RFC4716) && got.Comment != k.Comment {
				t.Errorf("%s: comment %q, want %q", f, got.Comment, k.Comment)
			}
			if dos, err := Parse(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), nil); err != nil || dos.Public == nil {
				t.Errorf("%s with CRLF: %v", f, err)
			}
		}
	})
}

// TestKeygenReadsOurs holds that ssh-keygen finds the same public key in what
// Encode writes.
func TestKeygenReadsOurs(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		want := publicFields(t, k)
		for _, f := range []Format{OpenSSH, PEM, PKCS8} {
			if name == "ed25519" && f != OpenSSH {
				continue // ssh-keygen reads ed25519 in its own format only, before version 9.6
			}
			for how, pass := range passphrases {
				if slow(f, how, name) || f == PEM && how == "sealed" {
					continue // Encode refuses, see TestPrivateRoundTrip
				}
				text, err := k.Encode(f, pass)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "key")
				write(t, path, string(text), 0o600)
				if got := keygen(t, "-y", "-P", string(pass), "-f", path); !strings.HasPrefix(got, want) {
					t.Errorf("%s %s: got %q, want %q", f, how, got, want)
				}
			}
		}
		for f, m := range map[Format]string{RFC4716: "RFC4716", PKCS8: "PKCS8"} {
			if name == "ed25519" && f == PKCS8 {
				continue // see above
			}
			text, err := k.EncodePublic(f)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "key.pub")
			write(t, path, string(text), 0o600)
			if got := keygen(t, "-i", "-m", m, "-f", path); !strings.HasPrefix(got, want) {
				t.Errorf("public %s: got %q, want %q", f, got, want)
			}
		}
	})
}

// publicFields is the type and the base64 of a public key line.
func publicFields(t *testing.T, k Key) string {
	t.Helper()
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Public)))
}

// TestWeReadKeygens holds that Parse finds in what ssh-keygen writes the key
// that ssh-keygen finds there.
func TestWeReadKeygens(t *testing.T) {
	for _, kind := range [][]string{
		{"ed25519", "256"},
		{"rsa", "2048"},
		{"ecdsa", "256"},
		{"ecdsa", "384"},
		{"ecdsa", "521"},
	} {
		for _, m := range []string{"RFC4716", "PEM", "PKCS8"} { // the first means OpenSSH's own here
			for how, pass := range passphrases {
				t.Run(strings.Join(kind, "")+" "+m+" "+how, func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "key")
					keygen(t, "-q", "-t", kind[0], "-b", kind[1], "-m", m, "-a", "1", "-N", string(pass), "-C", "bob at home", "-f", path)
					got, err := Parse(readFile(t, path), ask)
					if err != nil {
						t.Fatal(err)
					}
					if want, got := string(readFile(t, path+".pub")), publicFields(t, got); !strings.HasPrefix(want, got) {
						t.Errorf("got %s, want %s", got, want)
					}
					same(t, "itself", got, got)
				})
			}
		}
		path := filepath.Join(t.TempDir(), "key")
		keygen(t, "-q", "-t", kind[0], "-b", kind[1], "-N", "", "-C", "bob at home", "-f", path)
		want, err := Parse(readFile(t, path), nil)
		if err != nil || want.Comment != "bob at home" {
			t.Fatalf("comment %q, %v", want.Comment, err)
		}
		formats := []string{"RFC4716", "PKCS8"}
		if kind[0] == "ed25519" {
			formats = formats[:1] // ssh-keygen before 9.6 writes no other
		}
		for _, m := range formats {
			got, err := Parse([]byte(keygen(t, "-e", "-m", m, "-f", path)), nil)
			if err != nil || !bytes.Equal(got.Public.Marshal(), want.Public.Marshal()) {
				t.Errorf("%v public %s: %v", kind, m, err)
			}
		}
	}
}

// puttygen runs the real puttygen; passphrases go through files.
func puttygen(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("puttygen", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("puttygen %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// passFile puts a passphrase into a file, for puttygen.
func passFile(t *testing.T, pass []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pass")
	write(t, path, string(pass)+"\n", 0o600)
	return path
}

func TestPuttygenReadsOurs(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		for _, f := range []Format{PPK2, PPK3} {
			for how, pass := range passphrases {
				text, err := k.Encode(f, pass)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				path, out := filepath.Join(dir, "key.ppk"), filepath.Join(dir, "out")
				write(t, path, string(text), 0o600)
				// Writing the private key as OpenSSH has it proves that puttygen
				// decrypted and believed it.
				puttygen(t, path, "--old-passphrase", passFile(t, pass), "--new-passphrase", passFile(t, nil), "-O", "private-openssh-new", "-o", out)
				got, err := Parse(readFile(t, out), nil)
				if err != nil {
					t.Fatalf("%s %s: %v", f, how, err)
				}
				same(t, string(f)+" "+how, got, k)
				if got.Comment != k.Comment {
					t.Errorf("%s %s: comment %q, want %q", f, how, got.Comment, k.Comment)
				}
			}
		}
		rfc, err := k.EncodePublic(RFC4716)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "key.pub")
		write(t, path, string(rfc), 0o600)
		if got := puttygen(t, path, "-O", "public-openssh"); !strings.HasPrefix(got, publicFields(t, k)) {
			t.Errorf("public: got %q", got)
		}
	})
}

func TestWeReadPuttygens(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		dir := t.TempDir()
		from := filepath.Join(dir, "key")
		text, err := k.Encode(OpenSSH, nil)
		if err != nil {
			t.Fatal(err)
		}
		write(t, from, string(text), 0o600)
		for _, param := range []string{"version=2", "version=3", "version=3,kdf=argon2i,memory=1024,passes=3"} {
			for how, pass := range passphrases {
				out := filepath.Join(dir, "out.ppk")
				puttygen(t, from, "-C", "carol's key", "-O", "private", "--ppk-param", param, "--new-passphrase", passFile(t, pass), "-o", out)
				got, err := Parse(readFile(t, out), ask)
				if err != nil {
					t.Fatalf("%s %s: %v", param, how, err)
				}
				same(t, param+" "+how, got, k)
				if got.Comment != "carol's key" {
					t.Errorf("%s %s: comment %q", param, how, got.Comment)
				}
			}
		}
		public := puttygen(t, from, "-O", "public")
		got, err := Parse([]byte(public), nil)
		if err != nil || !bytes.Equal(got.Public.Marshal(), k.Public.Marshal()) {
			t.Errorf("public: %v", err)
		}
	})
}

func TestRandomart(t *testing.T) {
	each(t, func(t *testing.T, name string, k Key) {
		line, err := k.EncodePublic(OpenSSH)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "key.pub")
		write(t, path, string(line), 0o600)
		want := keygen(t, "-lv", "-f", path)
		if got := Describe(k) + "\n" + Randomart(k.Public) + "\n"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	k := samples()["ed25519"]
	ppk, err := k.Encode(PPK3, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	open, err := k.Encode(PPK3, nil)
	if err != nil {
		t.Fatal(err)
	}
	rfc, err := k.EncodePublic(RFC4716)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, text, want string }{
		{"nothing", "", "no key found"},
		{"a broken PEM", "-----BEGIN PRIVATE KEY-----\nAAAA", "PEM block is broken"},
		{"an unknown PEM", "-----BEGIN X-----\nAAAA\n-----END X-----\n", "unsupported key type"},
		{"PuTTY version 1", strings.Replace(string(ppk), "File-3", "File-1", 1), "only versions 2 and 3"},
		{"PuTTY cut off", string(ppk[:bytes.Index(ppk, []byte("Private-MAC"))]), "Private-MAC is missing"},
		{"PuTTY with another comment", strings.Replace(string(open), "alice", "mallo", 1), "the file was changed"},
		{"PuTTY with much memory", strings.Replace(string(ppk), "Memory: 8192", "Memory: 4000000000", 1), "out of bounds"},
		{"PuTTY with many passes", strings.Replace(string(ppk), "Passes: 21", "Passes: 4000000000", 1), "out of bounds"},
		{"PuTTY with no passes", strings.Replace(string(ppk), "Passes: 21", "Passes: 0", 1), "out of bounds"},
		{"PuTTY with Argon2d", strings.Replace(string(ppk), "Argon2id", "Argon2d", 1), `"Argon2d" is not supported`},
		{"PuTTY with another cipher", strings.Replace(string(ppk), "aes256-cbc", "rot13", 1), `"rot13" is not supported`},
		{"65,537 bytes", strings.Repeat("x", 65537), "65537 bytes are too many for a key"},
		{"65,536 bytes", strings.Repeat("x", 65536), "no key found"},
		{"RFC 4716 without an end", string(rfc[:len(rfc)-40]), "without an end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.text), ask); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that says %q", err, tt.want)
			}
		})
	}
}

func TestBorder(t *testing.T) {
	for title, want := range map[string]string{
		"[SHA256]":                         "+----[SHA256]-----+",
		"[ssh-rsa-cert-v01@openssh.com 2]": "+[ssh-rsa-cert-v01+",
	} {
		if got := border(title); got != want {
			t.Errorf("border(%q) = %q, want %q", title, got, want)
		}
	}
}

func TestRFC4716Headers(t *testing.T) {
	k := samples()["ed25519"]
	k.Comment = strings.Repeat("long ", 50) + "end"
	text, err := k.EncodePublic(RFC4716)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if len(line) > 73 { // RFC 4716 section 3.1: 72 bytes without the line feed
			t.Errorf("%d bytes: %q", len(line)-1, line)
		}
	}
	with := strings.Replace(string(text), "\nComment", "\nSubject: alice\nx-note: one\\\ntwo: three\nComment", 1)
	got, err := Parse([]byte(with), nil)
	if err != nil || got.Comment != k.Comment {
		t.Errorf("got %q, %v, want %q", got.Comment, err, k.Comment)
	}
}

func TestEncodeRefuses(t *testing.T) {
	k := samples()["ed25519"]
	public := Key{Public: k.Public}
	for name, err := range map[string]error{
		"only a public key": second(public.Encode(OpenSSH, nil)),
		"RFC 4716":          second(k.Encode(RFC4716, nil)),
		"unknown":           second(k.Encode("jks", nil)),
		"public PPK":        second(k.EncodePublic(PPK3)),
		"public unknown":    second(k.EncodePublic("jks")),
	} {
		if err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}

func second(_ []byte, err error) error { return err }

func TestCommentsCannotBreakAFile(t *testing.T) {
	k := samples()["ed25519"]
	k.Comment = "a\nPublic-Lines: 0\r\nb"
	for _, f := range []Format{PPK2, PPK3} {
		text, err := k.Encode(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text, nil)
		if want := "a Public-Lines: 0 b"; err != nil || got.Comment != want {
			t.Errorf("%s: got %q, %v, want %q", f, got.Comment, err, want)
		}
	}
}

func TestLoadReadsEveryFormat(t *testing.T) {
	for _, f := range []Format{PKCS8, PPK2, PPK3} {
		k := samples()["ecdsa256"]
		text, err := k.Encode(f, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "host")
		write(t, path, string(text), 0o600)
		signers, err := Load([]string{path}, func() ([]byte, error) { return []byte(secret), nil }, "")
		if err != nil || ssh.FingerprintSHA256(signers[0].PublicKey()) != ssh.FingerprintSHA256(k.Public) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// FuzzParse proves that no file brings the parsers down.
func FuzzParse(f *testing.F) {
	for _, k := range samples() {
		for _, format := range []Format{OpenSSH, PKCS8, PPK2, PPK3} {
			text, err := k.Encode(format, nil)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
		for _, format := range []Format{OpenSSH, PKCS8, RFC4716} {
			text, err := k.EncodePublic(format)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := Parse(text, nil) // without a passphrase no time goes into deriving keys
		if err == nil && k.Public == nil {
			t.Error("neither a key nor an error")
		}
	})
}
