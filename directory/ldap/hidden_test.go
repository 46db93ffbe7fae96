package ldap_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/directory"
	"berth/test/peers"
)

// TestHiddenState hides from the service account that accounts are locked or
// disabled. Nobody may log in then, by password or key, whatever their state:
// what cannot be read is never a yes.
func TestHiddenState(t *testing.T) {
	hide := map[string]func(t *testing.T) *peers.Peer{
		"openldap": func(t *testing.T) *peers.Peer {
			p := peers.OpenLDAP(t)
			conf := filepath.Join(p.Dir, "slapd.conf")
			text, err := os.ReadFile(conf)
			if err != nil {
				t.Fatal(err)
			}
			hidden := strings.Replace(string(text), "access to attrs=userPassword", "access to attrs=pwdAccountLockedTime\n  by self read\n  by * none\naccess to attrs=userPassword", 1)
			if err := os.WriteFile(conf, []byte(hidden), 0o600); err != nil {
				t.Fatal(err)
			}
			p.Stop()
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			return p
		},
		"389ds": func(t *testing.T) *peers.Peer {
			p := peers.DS389(t)
			cmd := exec.Command("ldapmodify", "-x", "-H", p.LDAPS, "-D", "cn=Directory Manager", "-w", "Manager-Passw0rd")
			cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
			cmd.Stdin = strings.NewReader("dn: ou=people,dc=example,dc=test\nchangetype: modify\nadd: aci\n" +
				`aci: (targetattr = "nsAccountLock")(version 3.0; acl "hidden"; deny (read, search, compare) userdn = "ldap:///uid=svc,ou=people,dc=example,dc=test";)` + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("ldapmodify: %v: %s", err, out)
			}
			return p
		},
	}
	attribute := map[string]string{"openldap": "pwdAccountLockedTime", "389ds": "nsAccountLock"}
	for name, start := range hide {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			c := open(t, settings(p))
			for _, user := range []string{"alice", map[string]string{"openldap": "adminlocked", "389ds": "disabled"}[name]} {
				u, err := c.Lookup(t.Context(), user)
				if err != nil {
					t.Fatal(err)
				}
				if err := u.State.Err(); !errors.Is(err, directory.ErrStateUnknown) || !strings.Contains(err.Error(), "may not read "+attribute[name]) {
					t.Errorf("%s: state %v, want that it is not known, and why", user, err)
				}
				if err := c.Authenticate(t.Context(), u, peers.Password(user)); !directory.Refused(err) {
					t.Errorf("%s: Authenticate = %v, want a refusal", user, err)
				}
			}
			report := printed(c.Report(t.Context(), nil))
			if !strings.Contains(report, "bad: account state: "+attribute[name]+" of ") || !strings.Contains(report, " cannot be read: allow ") {
				t.Errorf("the report does not tell that %s is hidden:\n%s", attribute[name], report)
			}
			if name == "openldap" {
				ownEntryIsNoSample(t, p)
			}
			s := settings(p)
			s.UnreadableState = "allow"
			c = open(t, s)
			if u, err := c.Lookup(t.Context(), "alice"); err != nil || u.State.Err() != nil {
				t.Errorf("with unreadable_state: allow, Lookup = %v, %v; want alice to be let in", u, err)
			}
			// What can be read counts all the same.
			if u, err := c.Lookup(t.Context(), "mustchange"); err != nil || u.State.Status != directory.StatusMustChange {
				t.Errorf("with unreadable_state: allow, Lookup = %v, %v; want that the password must be changed", u, err)
			}
		})
	}
}

// ownEntryIsNoSample logs in by the name of the service account first, which may
// read its own state.
func ownEntryIsNoSample(t *testing.T, p *peers.Peer) {
	t.Helper()
	s := settings(p)
	s.BindDN, s.BindPassword = "UID=bob, OU=people, DC=example, DC=test", peers.Password("bob")
	c := open(t, s)
	for _, tt := range []struct {
		name string
		want directory.Status
	}{{"bob", directory.StatusActive}, {"adminlocked", directory.StatusUnknown}} {
		if u, err := c.Lookup(t.Context(), tt.name); err != nil || u.State.Status != tt.want {
			t.Errorf("with bob as the service account, Lookup(%s) = %v, %v; want %v", tt.name, u, err, tt.want)
		}
	}
}

// TestHiddenOnSamba hides attributes that decide about people from the
// service account. Nobody may be accepted because of that.
func TestHiddenOnSamba(t *testing.T) {
	p := peers.Samba(t)
	tests := []struct{ name, guid, want string }{
		{"carol", "b7c69e6d-2cc7-11d2-854e-00a0c983f608", "tokenGroups"},
		{"guessed", "2cc4b836-b63f-4940-8d23-ea7acf06af56", "msDS-User-Account-Control-Computed"},
		{"nohours", "bf9679ab-0de6-11d0-a285-00aa003049e2", "logonHours"},
		{"bob", "5f202010-79a5-11d0-9020-00c04fc2d4cf", "logonHours"}, // the property set
		{"alice", "bf967a7f-0de6-11d0-a285-00aa003049e2", ""},         // userCertificate does not matter
	}
	for _, tt := range tests {
		out, err := exec.Command("samba-tool", "dsacl", "set", "-H", p.Dir+"/private/sam.ldb", "--configfile="+p.Dir+"/smb.conf",
			"--objectdn=CN="+tt.name+",CN=Users,"+p.Base, "--sddl=(OD;;RP;"+tt.guid+";;"+sidOf(t, p, "svc")+")").CombinedOutput()
		if err != nil {
			t.Fatalf("samba-tool: %v: %s", err, out)
		}
	}
	for _, allow := range []string{"refuse", "allow"} {
		s := settings(p)
		s.UnreadableState = allow
		c := open(t, s)
		for _, tt := range tests {
			u, err := c.Lookup(t.Context(), tt.name)
			if err == nil {
				err = u.State.Err()
			}
			open := tt.want == "" || allow == "allow" && tt.want != "tokenGroups"
			if open != (err == nil) || !open && (!errors.Is(err, directory.ErrStateUnknown) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("unreadable_state %s, %s hidden of %s: %v, want a refusal: %t", allow, tt.want, tt.name, err, !open)
			}
		}
	}
	for name, a := range open(t, settings(p)).LookupMany(t.Context(), []string{"alice", "carol"}) {
		if (a.Err == nil) != (name == "alice") {
			t.Errorf("LookupMany of %s = %v", name, a.Err)
		}
	}
}

func sidOf(t *testing.T, p *peers.Peer, name string) string {
	t.Helper()
	out, err := exec.Command("ldbsearch", "-H", p.Dir+"/private/sam.ldb", "--configfile="+p.Dir+"/smb.conf", "(sAMAccountName="+name+")", "objectSid").Output()
	_, sid, found := strings.Cut(string(out), "objectSid: ")
	if err != nil || !found {
		t.Fatalf("ldbsearch: %v: %s", err, out)
	}
	return strings.Fields(sid)[0]
}

// TestHiddenMemberOf hides the list of groups where nothing else is read.
func TestHiddenMemberOf(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.GroupWalk, s.UnreadableState = "member_of", "allow"
	if u := find(t, open(t, s), "carol"); len(u.Groups) != 0 {
		t.Errorf("groups of carol: %s", groupNames(u))
	}
	configure(t, p, "access to attrs=userPassword", "access to attrs=memberOf\n  by self read\n  by * none\naccess to attrs=userPassword")
	c := open(t, s)
	for _, name := range []string{"alice", "carol"} {
		if u, err := c.Lookup(t.Context(), name); !errors.Is(err, directory.ErrStateUnknown) || !strings.Contains(err.Error(), "memberOf") {
			t.Errorf("Lookup(%s) = %v, %v; want ErrStateUnknown", name, u, err)
		}
	}
	n := 0
	for u, err := range c.Users(t.Context()) {
		if err != nil || u.State.Err() == nil || !strings.Contains(u.State.Reason, "memberOf") || u.Name == "" || u.ID == "" {
			t.Fatalf("Users: %+v, %v; want everybody, in an unknown state", u, err)
		}
		n++
	}
	if n != 16 {
		t.Errorf("%d users listed, want 16", n)
	}
}

// TestHiddenMembers hides who is in the groups that rules refuse.
func TestHiddenMembers(t *testing.T) {
	p := peers.OpenLDAP(t)
	named := []string{"inner", "posix"}
	if report := printed(open(t, settings(p)).Report(t.Context(), named, named...)); strings.Contains(report, "bad: group") {
		t.Errorf("the report complains of groups that can be read:\n%s", report)
	}
	configure(t, p, "access to attrs=userPassword", "access to attrs=member\n  by self read\n  by * none\naccess to attrs=userPassword")
	report := printed(open(t, settings(p)).Report(t.Context(), named, named[:1]...))
	if !strings.Contains(report, "bad: group inner: a rule denies or requires something for its members, but the service account may not read member:") || strings.Contains(report, "group posix") {
		t.Errorf("the report does not tell that members of inner are hidden:\n%s", report)
	}
}
