package ldap_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// TestExpiredOnOpenLDAP changes expired passwords without the right to change
// those of others.
func TestExpiredOnOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	s.BindDN, s.BindPassword, s.KeyChange = "cn=reader,ou=services,dc=example,dc=test", peers.Password("reader"), "none"
	expiredChange(t, p, s, "=xw", func() { replace(t, p, "cn=default,ou=policies,dc=example,dc=test", "pwdGraceAuthNLimit", "3") })
}

// expiredChange changes the expired password of pwexpired, first in vain, then
// after grace has let people in whose password has expired.
func expiredChange(t *testing.T, p *peers.Peer, s ldap.Settings, right string, grace func()) {
	t.Helper()
	c := open(t, s)
	u := find(t, c, "pwexpired")
	old, new := peers.Password("pwexpired"), "N3w-Passw0rd!"
	if err := c.ChangePassword(t.Context(), u, "wrong", new); !errors.Is(err, directory.ErrBadPassword) || directory.Proved(err) {
		t.Errorf("ChangePassword with a wrong password = %v, want ErrBadPassword", err)
	}
	err := c.ChangePassword(t.Context(), u, old, new)
	if !errors.Is(err, directory.ErrChangeForbidden) || !directory.Proved(err) || !strings.Contains(err.Error(), s.BindDN) || !strings.Contains(err.Error(), right) {
		t.Errorf("ChangePassword = %v, want ErrChangeForbidden, proved, and that %s lacks %q", err, s.BindDN, right)
	}
	grace()
	if err := c.ChangePassword(t.Context(), u, old, new); err != nil {
		t.Errorf("ChangePassword during grace = %v, want nil", err)
	}
	if err := c.Authenticate(t.Context(), u, new); err != nil {
		t.Errorf("Authenticate with the new password = %v, want nil", err)
	}
}

// TestPoliciesOfOpenLDAP reads policies of which none is called default, and one
// that locks accounts nobody uses.
func TestPoliciesOfOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	policy := func(name, more string) string {
		return "dn: cn=" + name + ",ou=policies,dc=example,dc=test\nobjectClass: device\nobjectClass: pwdPolicy\ncn: " + name +
			"\npwdAttribute: userPassword\npwdLockout: TRUE\n" + more + "\n\n"
	}
	manage(t, p, policy("idle", "pwdMaxFailure: 5\npwdMaxIdle: 86400")+policy("low", "pwdMaxFailure: 2\npwdMaxAge: 7776000"))
	const sub, elsewhere = "pwdPolicySubentry", "cn=low,ou=policies,dc=example,dc=test"
	for _, name := range []string{"carol", "bob"} { // changed two days ago, and now
		replace(t, p, "uid="+name+","+people, sub, "cn=idle,ou=policies,dc=example,dc=test", "-e", "relax")
	}
	c := open(t, settings(p))
	if got := find(t, c, "carol").State; got.Status != directory.StatusLocked || !strings.HasPrefix(got.Reason, "pwdChangedTime=") {
		t.Errorf("idle: %v because of %q, want locked", got.Status, got.Reason)
	}
	if got := find(t, c, "bob").State; got.Status != directory.StatusActive {
		t.Errorf("not idle: %v because of %q, want active", got.Status, got.Reason)
	}
	if n, _, err := c.Lockout(t.Context(), find(t, c, "alice")); n != 3 || err != nil {
		t.Errorf("Lockout by the default policy = %d, %v, want 3", n, err)
	}

	// slapd knows the default one by its DN.
	manage(t, p, "dn: cn=default,ou=policies,dc=example,dc=test\nchangetype: modrdn\nnewrdn: cn=usual\ndeleteoldrdn: 1")
	c = open(t, settings(p))
	if n, _, err := c.Lockout(t.Context(), find(t, c, "alice")); n != 2 || err != nil {
		t.Errorf("Lockout with no default policy = %d, %v, want the lowest, 2", n, err)
	}
	u := find(t, c, "pwexpired")
	if u.State.Status != directory.StatusLocked { // for being idle, as one of the policies has it
		t.Errorf("with no default policy: %v, want the strictest of all", u.State.Status)
	}
	// The server has no policy for this account any more, and knows best.
	if err := c.Authenticate(t.Context(), u, peers.Password("pwexpired")); err != nil {
		t.Errorf("Authenticate = %v, want nil: the password has not expired by any policy", err)
	}

	// A policy outside group_base is read by its DN. One that cannot be read may
	// say anything.
	s := settings(p)
	s.GroupBase = "ou=groups,dc=example,dc=test"
	replace(t, p, "uid=bob,"+people, sub, elsewhere, "-e", "relax")
	c = open(t, s)
	if n, _, err := c.Lockout(t.Context(), find(t, c, "bob")); n != 2 || err != nil {
		t.Errorf("Lockout by a policy outside group_base = %d, %v, want 2", n, err)
	}
	configure(t, p, `access to dn.base="" by * read`, "access to dn.base=\"\" by * read\naccess to dn.base=\""+elsewhere+"\" by * none")
	c = open(t, s)
	u = find(t, c, "bob")
	if err := u.State.Err(); !errors.Is(err, directory.ErrStateUnknown) || !strings.Contains(err.Error(), elsewhere) {
		t.Errorf("policy that cannot be read: %v, want that the state is unknown", err)
	}
	if n, _, err := c.Lockout(t.Context(), u); err == nil {
		t.Errorf("Lockout by a policy that cannot be read = %d, want an error", n)
	}
	if err := c.Authenticate(t.Context(), u, peers.Password("bob")); err != nil {
		t.Errorf("Authenticate = %v, want nil: the server has applied that policy", err)
	}
	s.UnreadableState = "allow"
	if err := find(t, open(t, s), "bob").State.Err(); err != nil {
		t.Errorf("with unreadable_state: allow: %v, want nil", err)
	}
}

// TestSidesOfDS389 is what 389 DS has beside the usual, on one server: it takes
// long to start.
func TestSidesOfDS389(t *testing.T) {
	p := peers.DS389(t)
	c := open(t, settings(p))
	svc := p.BindDN

	t.Run("indexes", func(t *testing.T) {
		indexesAre(t, settings(p), "note: search by beginnings: uid, cn, sn need an index")
		manage(t, p, `dn: cn=ldbm database,cn=plugins,cn=config
changetype: modify
add: aci
aci: (targetattr = "*")(version 3.0; acl "indexes"; allow (read, search) userdn = "ldap:///`+svc+`";)`)
		indexesAre(t, settings(p), "warning: search by beginnings: the server has no index of uid for")
		manage(t, p, "dn: cn=uid,cn=index,cn=userroot,cn=ldbm database,cn=plugins,cn=config\nchangetype: modify\nadd: nsIndexType\nnsIndexType: sub")
		indexesAre(t, settings(p), "ok: ")
		manage(t, p, "dn: cn=uid,cn=index,cn=userroot,cn=ldbm database,cn=plugins,cn=config\nchangetype: modify\ndelete: nsIndexType\nnsIndexType: sub")
	})
	t.Run("unindexed login attribute", func(t *testing.T) {
		replace(t, p, svc, "nsLookThroughLimit", "3")
		defer replace(t, p, svc, "nsLookThroughLimit", "")
		s := settings(p)
		s.LoginAttributes = []string{"uid", "employeeNumber"}
		c := open(t, s)
		for _, name := range []string{"alice", "ALICE"} {
			find(t, c, name)
		}
		for name, a := range c.LookupMany(t.Context(), []string{"alice", "bob"}) {
			if a.Err != nil || a.User.Name != name {
				t.Errorf("LookupMany of %s = %v", name, a.Err)
			}
		}
		if u, err := c.Lookup(t.Context(), "nobody"); err == nil || directory.Refused(err) || !strings.Contains(err.Error(), "index") {
			t.Errorf("Lookup(nobody) = %v, %v; want an error that is no refusal and says why", u, err)
		}
		// By default uid has an index for equality only, cn and sn have one for beginnings.
		for _, begin := range []string{"alic", "Ali", "al"} {
			if found, more, err := c.Find(t.Context(), begin, 5); err != nil || !more || len(found) != 1 || found[0].Name != "alice" {
				t.Errorf("Find(%q) = %v, %t, %v; want alice by cn, and that there may be more", begin, found, more, err)
			}
		}
		if err := c.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v, want nil: people can log in by their login names", err)
		}
		s.LoginAttributes, s.NameAttribute = []string{"employeeNumber"}, "employeeNumber"
		if err := open(t, s).Ping(t.Context()); err == nil {
			t.Error("Ping without any index = nil, want an error: nobody can log in")
		}
	})

	t.Run("local policy", func(t *testing.T) {
		local := `cn="cn=nsPwPolicyEntry,uid=bob,` + people + `",cn=nsPwPolicyContainer,` + people
		manage(t, p, "dn: cn=nsPwPolicyContainer,"+people+"\nobjectClass: nsContainer\ncn: nsPwPolicyContainer\n\n"+
			"dn: "+local+"\nobjectClass: extensibleObject\nobjectClass: ldapsubentry\nobjectClass: passwordpolicy\n"+
			"passwordLockout: on\npasswordMaxFailure: 2\npasswordResetFailureCount: 300\npasswordExp: off")
		replace(t, p, "cn=config", "nsslapd-pwpolicy-local", "on")
		replace(t, p, "uid=bob,"+people, "pwdpolicysubentry", local)
		replace(t, p, "uid=bob,"+people, "passwordExpirationTime", "20200101000000Z")
		u := find(t, c, "bob")
		if n, window, err := c.Lockout(t.Context(), u); n != 2 || window != 5*time.Minute || err != nil {
			t.Errorf("Lockout = %d in %v, %v; want 2 in 5m", n, window, err)
		}
		if err := u.State.Err(); err != nil {
			t.Errorf("old date with passwordExp: off: %v, want active", err)
		}
		guessesLockNobody(t, c, "bob")
		// The global policy cannot be read.
		if n, _, err := c.Lockout(t.Context(), find(t, c, "alice")); err == nil {
			t.Errorf("Lockout of alice = %d, want an error", n)
		}
	})

	t.Run("passwords that do not expire", func(t *testing.T) {
		replace(t, p, "cn=config", "passwordExp", "off")
		u := find(t, c, "pwexpired")
		if u.State.Status != directory.StatusPasswordExpired {
			t.Errorf("%v, want password expired: that nothing expires cannot be read", u.State.Status)
		}
		if err := c.Authenticate(t.Context(), u, peers.Password("pwexpired")); err != nil {
			t.Errorf("Authenticate = %v, want nil: the server knows", err)
		}
		manage(t, p, "dn: cn=config\nchangetype: modify\nadd: aci\n"+
			`aci: (targetattr = "objectClass || passwordExp || passwordLockout || passwordMaxFailure || passwordResetFailureCount || nsslapd-pwpolicy-local")(version 3.0; acl "berth"; allow (read, search, compare) userdn = "ldap:///`+svc+`";)`)
		c := open(t, settings(p))
		if err := find(t, c, "pwexpired").State.Err(); err != nil {
			t.Errorf("with passwordExp: off, readable: %v, want active", err)
		}
		if got := find(t, c, "mustchange").State.Status; got != directory.StatusMustChange {
			t.Errorf("mustchange: %v", got)
		}
		if n, _, err := c.Lockout(t.Context(), find(t, c, "alice")); n != 5 || err != nil {
			t.Errorf("Lockout of alice = %d, %v; want 5", n, err)
		}
		replace(t, p, "cn=config", "passwordExp", "on")
	})

	t.Run("change without the right", func(t *testing.T) {
		manage(t, p, "dn: dc=example,dc=test\nchangetype: modify\ndelete: aci\n"+
			`aci: (targetattr = "userPassword || nsSshPublicKey")(version 3.0; acl "service"; allow (write) userdn = "ldap:///uid=svc,ou=people,dc=example,dc=test";)`)
		expiredChange(t, p, settings(p), `"write" on userPassword`, func() { replace(t, p, "cn=config", "passwordGraceLimit", "3") })
	})

	t.Run("idle accounts", func(t *testing.T) {
		plugin := "cn=Account Policy Plugin,cn=plugins,cn=config"
		replace(t, p, plugin, "nsslapd-pluginEnabled", "on")
		for attribute, value := range map[string]string{"alwaysrecordlogin": "yes", "stateattrname": "lastLoginTime", "altstateattrname": "createTimestamp", "specattrname": "acctPolicySubentry", "limitattrname": "accountInactivityLimit"} {
			replace(t, p, "cn=config,"+plugin, attribute, value)
		}
		manage(t, p, "dn: cn=idle,dc=example,dc=test\nobjectClass: ldapsubentry\nobjectClass: extensibleObject\nobjectClass: accountpolicy\naccountInactivityLimit: 86400")
		replace(t, p, "uid=carol,"+people, "acctPolicySubentry", "cn=idle,dc=example,dc=test")
		replace(t, p, "uid=carol,"+people, "lastLoginTime", "20250101000000Z")
		replace(t, p, "uid=alice,"+people, "acctPolicySubentry", "cn=idle,dc=example,dc=test")
		configure(t, p, "", "")
		c := open(t, settings(p))
		u := find(t, c, "carol")
		if u.State.Status != directory.StatusLocked || u.State.Reason != "lastLoginTime=20250101000000Z" {
			t.Errorf("idle: %v because of %q, want locked", u.State.Status, u.State.Reason)
		}
		if err := c.Authenticate(t.Context(), u, peers.Password("carol")); !errors.Is(err, directory.ErrLocked) {
			t.Errorf("Authenticate = %v, want ErrLocked", err)
		}
		if err := find(t, c, "alice").State.Err(); err != nil { // made just now
			t.Errorf("never used, but new: %v, want active", err)
		}
	})
}
