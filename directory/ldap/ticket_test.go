package ldap_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// ticketSettings are those of a Samba domain, with a keytab in place of a password.
func ticketSettings(p *peers.Peer, file string) ldap.Settings {
	s := settings(p)
	s.URLs, s.Base, s.Domain, s.Resolver = nil, "", p.Domain, p.Resolver
	s.BindDN, s.BindPassword, s.Bind = "", "", ldap.Bind{Keytab: file, Seal: true}
	return s
}

// TestSambaTicket needs nothing but a domain and a keytab. The controller has its
// default, "ldap server require strong auth = yes".
func TestSambaTicket(t *testing.T) {
	p := peers.Samba(t)
	file := p.SambaKeytab(t, "svc")
	c := open(t, ticketSettings(p, file))
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil || len(u.Groups) != 5 {
		t.Fatalf("Lookup = %v, %v, want alice", u, err)
	}
	if err := c.Authenticate(t.Context(), u, peers.Password("alice")); err != nil {
		t.Errorf("Authenticate = %v, want nil", err)
	}
	if err := c.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate with a wrong password = %v, want ErrBadPassword", err)
	}
	must, err := c.Lookup(t.Context(), "mustchange") // over the sealed connection
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ChangePassword(t.Context(), must, peers.Password("mustchange"), "N3w-Passw0rd!"); err != nil {
		t.Errorf("ChangePassword = %v, want nil", err)
	}
	text := reportText(c.Report(t.Context(), nil))
	for _, want := range []string{"ok: server ldaps://dc1.ad.example.test: bound as svc@AD.EXAMPLE.TEST in ", "ok: key change: svc@AD.EXAMPLE.TEST may write"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}

	t.Run("large answers", func(t *testing.T) {
		people := 0
		for _, err := range c.Users(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			people++
		}
		if people < 15 {
			t.Errorf("%d people listed, want all", people)
		}
	})

	t.Run("inside TLS", func(t *testing.T) {
		s := ticketSettings(p, file)
		s.Bind.Seal = false
		if text := reportText(open(t, s).Report(t.Context(), nil)); !strings.Contains(text, "the server may refuse tickets inside TLS: set bind.seal: true") {
			t.Errorf("the report does not name bind.seal:\n%s", text)
		}
	})
}

// TestBadTickets names what is wrong with a ticket.
func TestBadTickets(t *testing.T) {
	p := peers.Samba(t)
	svc, disabled, host := p.SambaKeytab(t, "svc"), p.SambaKeytab(t, "disabled"), p.SambaKeytab(t, "sftphost")
	for _, tt := range []struct {
		name   string
		keytab string
		change func(*ldap.Settings)
		want   string
	}{
		{"of another key version", rewritten(t, svc, func(k *keytab.Keytab) {
			for i := range k.Entries {
				k.Entries[i].Key.KeyValue = bytes.Repeat([]byte{7}, len(k.Entries[i].Key.KeyValue))
			}
		}), nil, "the key in the keytab is not that of the account. The password may have changed since the keytab was made (another kvno)"},
		{"disabled", disabled, nil, "the account is disabled, locked or expired"},
		{"unknown", rewritten(t, svc, func(k *keytab.Keytab) {
			for i := range k.Entries {
				k.Entries[i].Principal.Components = []string{"HTTP", "web.example.test"}
				k.Entries[i].Principal.NumComponents = 2
			}
		}), nil, "the realm has no such account. bind.principal must be the name that logs in"},
		{"the server has no SPN", host, func(s *ldap.Settings) {
			s.URLs, s.Domain, s.StartTLS = []string{strings.Replace(p.LDAP, "ldap:", "ldaps:", 1)}, "", false
		}, "the realm has no such service: add this service name (SPN) to the account of the server"},
		{"no KDC", svc, func(s *ldap.Settings) {
			s.Resolver, s.URLs, s.Domain = newZone(t).addr, []string{p.LDAPS}, ""
		}, "find the KDC of AD.EXAMPLE.TEST: ask DNS for _kerberos._tcp.ad.example.test: DNS has no such records"},
		{"the KDC is away", svc, func(s *ldap.Settings) {
			z := newZone(t, localhost, "_kerberos._tcp.ad.example.test. 1 IN SRV 0 0 1 localhost.")
			s.Resolver, s.URLs, s.Domain = z.addr, []string{p.LDAPS}, ""
		}, "ticket of svc@AD.EXAMPLE.TEST for ldap/127."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ticketSettings(p, tt.keytab)
			s.Base = p.Base
			if tt.change != nil {
				tt.change(&s)
			}
			c := open(t, s)
			if _, err := c.Lookup(t.Context(), "alice"); err == nil || directory.Refused(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Lookup = %v, want an outage with %q", err, tt.want)
			}
		})
	}
}

// rewritten copies a keytab with a change.
func rewritten(t *testing.T, file string, change func(*keytab.Keytab)) string {
	t.Helper()
	k, err := keytab.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	change(k)
	b, err := k.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keytab")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kerberosLDAP is slapd with a key in an MIT realm, found by a scripted name server.
func kerberosLDAP(t *testing.T) (*peers.Realm, *peers.Peer, ldap.Settings) {
	t.Helper()
	r, p := peers.KDC(t), peers.OpenLDAP(t)
	file := filepath.Join(t.TempDir(), "svc.keytab")
	err := r.Admin(fmt.Sprintf("addprinc -randkey svc\naddprinc -randkey ldap/localhost\nktadd -k %s svc\nktadd -k %s/ldap.keytab ldap/localhost", file, p.Dir))
	if err != nil {
		t.Fatal(err)
	}
	_, kdcPort, _ := net.SplitHostPort(r.KDC)
	z := newZone(t, localhost, "_kerberos._tcp.mit.test. 1 IN SRV 0 0 "+kdcPort+" localhost.",
		"_ldap._tcp.example.test. 1 IN SRV 0 0 "+port(t, p.LDAP)+" localhost.")
	s := domainSettings(p, z)
	s.BindDN, s.BindPassword, s.Bind = "", "", ldap.Bind{Keytab: file, Principal: "svc@MIT.TEST"}
	return r, p, s
}

// TestTicketInsideTLS binds over StartTLS to a server that compares the channel
// bindings, and sealed without TLS.
func TestTicketInsideTLS(t *testing.T) {
	r, _, s := kerberosLDAP(t)
	for _, seal := range []bool{false, true} {
		s.Bind.Seal = seal
		c := open(t, s)
		u, err := c.Lookup(t.Context(), "alice")
		if err != nil || len(u.Groups) == 0 {
			t.Fatalf("seal %t: Lookup = %v, %v, want alice", seal, u, err)
		}
		if err := c.Authenticate(t.Context(), u, peers.Password("alice")); err != nil {
			t.Errorf("seal %t: Authenticate = %v, want nil", seal, err)
		}
	}

	t.Run("a new key", func(t *testing.T) {
		s.Bind.Seal = false
		c := open(t, s)
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Admin("cpw -randkey svc"); err != nil { // the keytab is old now
			t.Fatal(err)
		}
		if err := open(t, s).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "make it anew") {
			t.Errorf("Ping with an old keytab = %v, want that it must be made anew", err)
		}
		if err := r.Admin("ktadd -k " + s.Bind.Keytab + " svc"); err != nil {
			t.Fatal(err)
		}
		if err := open(t, s).Ping(t.Context()); err != nil {
			t.Errorf("Ping with the new keytab = %v, want nil", err)
		}
	})
}

// TestClock has a KDC whose clock is ten minutes ahead.
func TestClock(t *testing.T) {
	r, _, s := kerberosLDAP(t)
	r.Shift(t, "+10m")
	if _, err := open(t, s).Lookup(t.Context(), "alice"); err == nil || !strings.Contains(err.Error(), "clock here differs from that of the KDC") {
		t.Errorf("Lookup = %v, want that the clocks differ", err)
	}
}

// TestTicketEnds has tickets that are valid for some seconds only.
func TestTicketEnds(t *testing.T) {
	r, p, s := kerberosLDAP(t)
	if err := r.Admin("modprinc -maxlife 3seconds svc"); err != nil {
		t.Fatal(err)
	}
	c := open(t, s)
	start := time.Now()
	eventually(t, "binds go on after the end of the first ticket", func() bool {
		p.Kill() // so that there is another connection, which needs a bind
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server is back", func() bool { return c.Ping(t.Context()) == nil })
		return time.Since(start) > 7*time.Second
	})
}
