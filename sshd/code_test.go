package sshd

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/login"
	"berth/sshd/state"
	"berth/sshd/totp"
)

// token is alice's, for the time of a test.
const token = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// promptCode is what a client sees.
const promptCode = "One-time code: "

// requiring makes a server whose rule requires something of everybody. Alice has
// a token, and so has carol; bob has only a password, and needs none more.
func requiring(t *testing.T, require [][]string, change ...func(*fixture)) *fixture {
	return start(t, append([]func(*fixture){func(f *fixture) {
		f.Gate.Codes = &totp.Codes{}
		f.people.users["alice"].TOTP = []directory.Secret{directory.NewSecret(token)}
		f.people.users["bob"] = &directory.User{Name: "bob", Identity: directory.Identity{ID: "id-2"}, DN: "uid=bob", State: directory.State{Status: directory.StatusActive}}
		f.people.password["bob"] = "secret-2"
		f.change(func(p *policy.Policy) {
			if p.User.Name != "bob" {
				p.Require = require
			}
		})
	}}, change...)...)
}

// codeNow returns the code of a token so many periods from now. It waits for the
// next period if this one is about to end, because a test with a network has a
// real clock.
func codeNow(t *testing.T, periods int) string {
	t.Helper()
	if left := 30 - time.Now().Unix()%30; left < 3 {
		time.Sleep(time.Duration(left) * time.Second)
	}
	secret, err := base32.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	return reference(secret, uint64(time.Now().Unix()/30+int64(periods)))
}

// reference makes a code as RFC 4226, section 5.4, has it, and not by the code
// under test.
func reference(secret []byte, counter uint64) string {
	mac := hmac.New(sha1.New, secret)
	binary.Write(mac, binary.BigEndian, counter)
	hs := mac.Sum(nil)
	offset := hs[19] & 0xf
	bin := int(hs[offset]&0x7f)<<24 | int(hs[offset+1])<<16 | int(hs[offset+2])<<8 | int(hs[offset+3])
	return fmt.Sprintf("%06d", bin%1_000_000)
}

// dialogue is keyboard-interactive that answers prompts by their text, and notes
// what was asked.
type dialogue struct {
	answers map[string]string
	asked   []string
}

func (d *dialogue) method() ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
		var answers []string
		for i, q := range questions {
			d.asked = append(d.asked, q)
			if echos[i] {
				return nil, fmt.Errorf("%q is answered for all to see", q)
			}
			answers = append(answers, d.answers[q])
		}
		return answers, nil
	})
}

func TestOneTimeCodes(t *testing.T) {
	const wrong = "12345"
	passwordTotp, keyTotp := [][]string{{"password", "totp"}}, [][]string{{"publickey", "totp"}}
	either := [][]string{{"publickey"}, {"password", "totp"}}
	tests := []struct {
		name     string
		require  [][]string
		user     string
		password string // "": none is given
		code     string // "now": the right one
		key      bool
		set      func(*fixture)
		asked    []string // by prompt
		reason   string   // of the refusal; "": logged in
	}{
		{name: "both", require: passwordTotp, password: "secret-1", code: "now", asked: []string{"Password: ", promptCode}},
		{name: "wrong code", require: passwordTotp, password: "secret-1", code: wrong, asked: []string{"Password: ", promptCode}, reason: "code_wrong"},
		{name: "wrong password", require: passwordTotp, password: "x", code: "now", asked: []string{"Password: ", promptCode}, reason: "bad_password"},
		{name: "both wrong", require: passwordTotp, password: "x", code: wrong, asked: []string{"Password: ", promptCode}, reason: "bad_password"},
		{name: "alternative", require: either, password: "secret-1", code: "now", asked: []string{"Password: ", promptCode}},
		{name: "the other alternative", require: either, key: true},
		{name: "key and code", require: keyTotp, key: true, code: "now", asked: []string{promptCode}},
		{name: "key and wrong code", require: keyTotp, key: true, code: wrong, asked: []string{promptCode}, reason: "code_wrong"},
		{name: "all three", require: [][]string{{"publickey", "password", "totp"}}, key: true, password: "secret-1", code: "now", asked: []string{"Password: ", promptCode}},
		{name: "nobody", require: passwordTotp, user: "zoe", password: "x", code: wrong, asked: []string{"Password: ", promptCode}, reason: "unknown_user"},
		{name: "needs none", require: passwordTotp, user: "bob", password: "secret-2", asked: []string{"Password: "}},
		{name: "needs none, wrong password", require: passwordTotp, user: "bob", password: "x", code: wrong, asked: []string{"Password: ", promptCode}, reason: "bad_password"},
		{
			name: "no secret", require: passwordTotp, password: "secret-1", code: wrong, asked: []string{"Password: ", promptCode}, reason: "code_no_secret",
			set: func(f *fixture) { f.people.users["alice"].TOTP = nil },
		},
		{
			name: "after a start", require: passwordTotp, password: "secret-1", code: "now", asked: []string{"Password: ", promptCode}, reason: "code_too_old",
			set: func(f *fixture) { f.Gate.Codes.Since = func() time.Time { return time.Now().Add(time.Minute) } },
		},
		{
			name: "none configured", require: keyTotp, key: true, code: "now", asked: []string{promptCode}, reason: "codes_not_configured",
			set: func(f *fixture) { f.Gate.Codes = nil },
		},
		{
			name: "disabled, both right", require: passwordTotp, password: "secret-1", code: "now", asked: []string{"Password: ", promptCode}, reason: "account_disabled",
			set: func(f *fixture) { f.people.set("alice", directory.StatusDisabled) },
		},
		{
			name: "disabled, wrong code", require: passwordTotp, password: "secret-1", code: wrong, asked: []string{"Password: ", promptCode}, reason: "code_wrong",
			set: func(f *fixture) { f.people.set("alice", directory.StatusDisabled) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.set == nil {
				tt.set = func(*fixture) {}
			}
			f := requiring(t, tt.require, tt.set)
			if tt.user == "" {
				tt.user = "alice"
			}
			if tt.code == "now" {
				tt.code = codeNow(t, 0)
			}
			d := &dialogue{answers: map[string]string{"Password: ": tt.password, promptCode: tt.code}}
			var methods []ssh.AuthMethod
			if tt.key {
				methods = append(methods, ssh.PublicKeys(f.key))
			}
			_, banner, err := f.dial(t, tt.user, append(methods, d.method())...)
			if (err == nil) != (tt.reason == "") {
				t.Fatalf("login = %v, want reason %q", err, tt.reason)
			}
			if !slices.Equal(d.asked, tt.asked) {
				t.Errorf("asked %q, want %q", d.asked, tt.asked)
			}
			if tt.reason == "account_disabled" {
				if banner == "" {
					t.Error("who proved both is not told why")
				}
			} else if banner != "" {
				t.Errorf("%q tells which of the factors was right", banner)
			}
			if err == nil {
				return
			}
			f.hangUp()
			if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, []string{tt.reason}) {
				t.Errorf("reasons = %q, want %q", got, tt.reason)
			}
			if text := fmt.Sprintf("%+v %v", f.events.all(), err); strings.Contains(text, token) {
				t.Error("the secret is in the events or the error")
			}
		})
	}
}

// TestPasswordAloneTellsNothing offers the right password outright where a code
// is needed too: it must look like a wrong one, and not even be asked.
func TestPasswordAloneTellsNothing(t *testing.T) {
	f := requiring(t, [][]string{{"password", "totp"}})
	var errs []string
	for _, password := range []string{"secret-1", "x"} {
		_, banner, err := f.dial(t, "alice", ssh.Password(password))
		if err == nil || banner != "" {
			t.Fatalf("login = %v, %q", err, banner)
		}
		errs = append(errs, err.Error())
	}
	if errs[0] != errs[1] || f.people.binds != 0 {
		t.Errorf("right: %q, wrong: %q, %d binds", errs[0], errs[1], f.people.binds)
	}
	if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, []string{"code_not_given", "code_not_given"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestCodesAreUsedOnce(t *testing.T) {
	f := requiring(t, [][]string{{"password", "totp"}})
	login := func(code string) error {
		d := &dialogue{answers: map[string]string{"Password: ": "secret-1", promptCode: code}}
		_, _, err := f.dial(t, "alice", d.method())
		return err
	}
	code := codeNow(t, 0)
	if err := login(code); err != nil {
		t.Fatal(err)
	}
	if err := login(code); err == nil {
		t.Error("a code was used twice")
	}
	if err := login(codeNow(t, 1)); err != nil {
		t.Errorf("the next code: %v", err)
	}
	if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, []string{"code_used"}) {
		t.Errorf("reasons = %q", got)
	}
	for _, e := range f.events.all() {
		if e.Type == event.LoginAccepted && e.Fields["factors"] != "keyboard-interactive, totp" {
			t.Errorf("factors = %q", e.Fields["factors"])
		}
	}
}

// TestWrongCodesAreShielded guesses with the right password. The directory's
// account stays open all the while, and the source pays for each guess.
func TestWrongCodesAreShielded(t *testing.T) {
	s := state.DefaultSettings()
	s.Codes.Tries, s.Exempt = 3, nil
	s.Penalties.Min = time.Hour // they add up, and bar nobody yet
	s.Penalties.Max = time.Hour
	store := state.NewMemory(s)
	f := requiring(t, [][]string{{"publickey", "totp"}}, func(f *fixture) { f.Gate.State = store })
	guess := func(code string) error {
		d := &dialogue{answers: map[string]string{promptCode: code}}
		_, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key), d.method())
		return err
	}
	for range 4 {
		if err := guess("000"); err == nil {
			t.Fatal("a wrong code got in")
		}
	}
	if err := guess(codeNow(t, 0)); err == nil {
		t.Error("the right code got in after so many wrong ones")
	}
	want := []string{"code_wrong", "code_wrong", "code_wrong", "codes_shielded", "codes_shielded"}
	if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, want) {
		t.Errorf("reasons = %q, want %q", got, want)
	}
	if _, _, sources := store.Counts(); sources != 1 {
		t.Error("nothing is held against the source")
	}
}

// TestCodeThenNewPassword changes an expired password in the login, when both
// factors are proved and not before.
func TestCodeThenNewPassword(t *testing.T) {
	for _, right := range []bool{false, true} {
		f := requiring(t, [][]string{{"password", "totp"}})
		f.people.set("alice", directory.StatusMustChange)
		d := &dialogue{answers: map[string]string{"Password: ": "secret-1", promptCode: "000", login.PromptNew: "a longer one", login.PromptConfirm: "a longer one"}}
		want := []string{"Password: ", promptCode}
		if right {
			d.answers[promptCode] = codeNow(t, 0)
			want = append(want, login.PromptNew, login.PromptConfirm)
		}
		_, _, err := f.dial(t, "alice", d.method())
		if (err == nil) != right || !slices.Equal(d.asked, want) {
			t.Errorf("code right: %t: login = %v, asked %q", right, err, d.asked)
		}
		if changed := f.people.password["alice"] == "a longer one"; changed != right {
			t.Errorf("code right: %t: password changed: %t", right, changed)
		}
	}
}
