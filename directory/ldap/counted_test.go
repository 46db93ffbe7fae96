package ldap_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/directory"
	"berth/test/peers"
)

// TestWrongPasswordsCountOnce reads from each directory how many wrong passwords
// it has counted: one for each try, whether somebody logs in or changes the
// password.
func TestWrongPasswordsCountOnce(t *testing.T) {
	tests := []struct {
		peer      string
		start     func(testing.TB) *peers.Peer
		attribute string
		values    bool // one for each, instead of a number
	}{
		{"openldap", peers.OpenLDAP, "pwdFailureTime", true},
		{"samba", peers.Samba, "badPwdCount", false},
		{"389ds", peers.DS389, "passwordRetryCount", false},
	}
	for _, tt := range tests {
		t.Run(tt.peer, func(t *testing.T) {
			p := tt.start(t)
			c := open(t, settings(p))
			u, err := c.Lookup(t.Context(), "guessed")
			if err != nil {
				t.Fatal(err)
			}
			counted := func() string {
				cmd := exec.Command("ldapsearch", "-x", "-LLL", "-H", p.LDAPS, "-D", p.BindDN, "-w", p.BindPassword, "-b", u.DN, "-s", "base", tt.attribute)
				cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("ldapsearch: %v: %s", err, out)
				}
				if tt.values {
					return fmt.Sprint(strings.Count(string(out), tt.attribute+": "))
				}
				_, n, _ := strings.Cut(string(out), tt.attribute+": ")
				n, _, _ = strings.Cut(n, "\n")
				return n
			}
			if err := c.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, directory.ErrBadPassword) {
				t.Errorf("Authenticate = %v, want ErrBadPassword", err)
			}
			if got := counted(); got != "1" {
				t.Errorf("after one wrong login the directory has counted %s", got)
			}
			if err := c.ChangePassword(t.Context(), u, "wrong", "N3w-Passw0rd!"); !errors.Is(err, directory.ErrBadPassword) {
				t.Errorf("ChangePassword = %v, want ErrBadPassword", err)
			}
			if got := counted(); got != "2" {
				t.Errorf("after one wrong change more the directory has counted %s, want 2", got)
			}
		})
	}
}

// TestBindIsNeverRepeated loses the connection, or gets no answer, at the bind
// of a user: whether the server counted it is not known, so it is not tried
// again, not even with another server.
func TestBindIsNeverRepeated(t *testing.T) {
	for name, reply := range map[string]func(*ber.Packet) []byte{
		"connection lost": func(*ber.Packet) []byte { return nil },
		"no answer":       func(*ber.Packet) []byte { return []byte{} },
		"busy":            func(r *ber.Packet) []byte { return result(r, bindResponse, 51, "busy") },
		"unavailable":     func(r *ber.Packet) []byte { return result(r, bindResponse, 52, "") },
		"operationsError": func(r *ber.Packet) []byte { return result(r, bindResponse, 1, "") },
	} {
		t.Run(name, func(t *testing.T) {
			var binds atomic.Int64
			server := func(r *ber.Packet) []byte {
				if r.Children[1].Tag == 0 && strings.HasPrefix(r.Children[1].Children[1].Data.String(), "uid=alice") {
					binds.Add(1)
					return reply(r)
				}
				return result(r, bindResponse, 0, "")
			}
			s := fakeSettings(fakeServer(t, server))
			s.URLs = append(s.URLs, fakeServer(t, server))
			c := open(t, s)
			u := &directory.User{Name: "alice", DN: "uid=alice,dc=example,dc=test"}
			for i, ask := range []func() error{
				func() error { return c.Authenticate(t.Context(), u, "pw") },
				func() error { return c.ChangePassword(t.Context(), u, "pw", "new") },
			} {
				before := binds.Load()
				if err := ask(); err == nil || directory.Refused(err) {
					t.Errorf("got %v, want an error that is no refusal", err)
				}
				if n := binds.Load() - before; n > 1 || (i == 0 && n != 1) {
					t.Errorf("%d binds, want one", n)
				}
			}
		})
	}
}
