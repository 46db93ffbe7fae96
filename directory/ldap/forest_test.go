package ldap_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// A controller is a scripted domain controller, or a global catalogue: entries of the
// form "dn|name=value|…".
type controller struct {
	mu      sync.Mutex
	entries []string
	asked   []string // binds other than that of the service account, and changes
	stop    func()
}

func (c *controller) reply(r *ber.Packet) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	const modifyRequest, modifyResponse = 6, 7
	switch op := int(r.Children[1].Tag); op {
	case bindRequest:
		if who := boundAs(r); who != "svc@corp.test" {
			c.asked = append(c.asked, "bind "+who)
			if r.Children[1].Children[2].Data.String() != "right" {
				return result(r, bindResponse, 49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563")
			}
		}
		return result(r, bindResponse, 0, "")
	case modifyRequest:
		c.asked = append(c.asked, "modify "+r.Children[1].Children[0].Data.String())
		return result(r, modifyResponse, 0, "")
	case searchRequest:
		search := r.Children[1]
		var hits []string
		for _, e := range c.entries {
			dn, _, _ := strings.Cut(e, "|")
			base := baseOf(r)
			in := strings.EqualFold(dn, base)
			if fmt.Sprint(search.Children[1].Value) != "0" { // not the entry alone
				in = dn != "" && (base == "" || in || strings.HasSuffix(strings.ToLower(dn), ","+strings.ToLower(base)))
			}
			if in && matches(search.Children[6], strings.Split(e, "|")[1:]) {
				hits = append(hits, e)
			}
		}
		if len(hits) == 0 && fmt.Sprint(search.Children[1].Value) == "0" {
			return result(r, searchDone, 32, "")
		}
		return found(r, hits...)
	}
	return nil
}

// matches evaluates a filter (RFC 4511, section 4.5.1.7) with the kinds that a client of
// a forest uses.
func matches(filter *ber.Packet, values []string) bool {
	any := func(ok func(name, value string) bool) bool {
		return slices.ContainsFunc(values, func(v string) bool { name, value, _ := strings.Cut(v, "="); return ok(name, value) })
	}
	child := func(f *ber.Packet) bool { return matches(f, values) }
	switch filter.Tag {
	case goldap.FilterAnd:
		return !slices.ContainsFunc(filter.Children, func(f *ber.Packet) bool { return !child(f) })
	case goldap.FilterOr:
		return slices.ContainsFunc(filter.Children, child)
	case goldap.FilterNot:
		return !child(filter.Children[0])
	case goldap.FilterPresent:
		want := filter.Data.String()
		return want == "objectClass" || any(func(name, _ string) bool { return strings.EqualFold(name, want) })
	case goldap.FilterEqualityMatch:
		want, is := filter.Children[0].Data.String(), filter.Children[1].Data.String()
		return any(func(name, value string) bool { return strings.EqualFold(name, want) && strings.EqualFold(value, is) })
	case goldap.FilterSubstrings:
		want, begin := filter.Children[0].Data.String(), strings.ToLower(filter.Children[1].Children[0].Data.String())
		return any(func(name, value string) bool {
			return strings.EqualFold(name, want) && strings.HasPrefix(strings.ToLower(value), begin)
		})
	case goldap.FilterExtensibleMatch: // all of the bits
		bits, _ := strconv.ParseInt(filter.Children[2].Data.String(), 10, 64)
		return any(func(name, value string) bool {
			n, err := strconv.ParseInt(value, 10, 64)
			return err == nil && strings.EqualFold(name, filter.Children[1].Data.String()) && uint32(n)&uint32(bits) == uint32(bits)
		})
	}
	return false
}

// serve answers by TLS until the test ends or stop is called, and returns the port.
func (c *controller) serve(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	open, end := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(open, func() { _ = nc.Close() })
			all.Go(func() { defer stop(); serveFake(nc, c.reply) })
		}
	})
	c.stop = sync.OnceFunc(func() { end(); _ = l.Close(); all.Wait() })
	t.Cleanup(c.stop)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// certificateFor makes a certificate for hosts, which is its own authority.
func certificateFor(t *testing.T, hosts ...string) (cert tls.Certificate, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: hosts, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, caFile
}

// sid is the binary SID of somebody in one of the domains.
func sid(domain, rid uint32) string {
	b := []byte("\x01\x05\x00\x00\x00\x00\x00\x05")
	for _, n := range []uint32{21, 1, 1, domain, rid} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return string(b)
}

// scriptedForest starts the domains corp.test (the root, and the domain of the service
// account), sub.corp.test and other.test, and the catalogue.
func scriptedForest(t *testing.T) (s ldap.Settings, dcs map[string]*controller) {
	t.Helper()
	const person = "|objectClass=user|objectCategory=person"
	active := "|userAccountControl=512|accountExpires=0|pwdLastSet=132000000000000000|msDS-User-Account-Control-Computed=0|primaryGroupID=513|logonHours=" + strings.Repeat("\xff", 21)
	number, catalog := 0, &controller{entries: []string{"|objectClass=top"}}
	dcs = map[string]*controller{"gc": catalog}
	for _, name := range []string{"corp.test", "sub.corp.test", "other.test"} {
		dn := "DC=" + strings.ReplaceAll(name, ".", ",DC=")
		dcs[name] = &controller{entries: []string{
			"|rootDomainNamingContext=DC=corp,DC=test|configurationNamingContext=CN=Configuration,DC=corp,DC=test|defaultNamingContext=" + dn,
			dn + "|maxPwdAge=0|lockoutThreshold=" + strconv.Itoa(len(name)) + "|lockOutObservationWindow=-18000000000",
		}}
		partitions := "CN=Partitions,CN=Configuration,DC=corp,DC=test|objectClass=crossRef|systemFlags=3|"
		dcs["corp.test"].entries = append(dcs["corp.test"].entries,
			"CN="+name+","+partitions+"nCName="+dn+"|dnsRoot="+name+"|nETBIOSName="+strings.ToUpper(name[:strings.IndexByte(name, '.')]))
	}
	dcs["corp.test"].entries = append(dcs["corp.test"].entries, "CN=config,CN=Partitions,CN=Configuration,DC=corp,DC=test|objectClass=crossRef|systemFlags=1|nCName=CN=Configuration,DC=corp,DC=test")
	add := func(domain, dn, shared, local string) {
		number++
		shared = dn + shared + fmt.Sprintf("|objectGUID=0123456789abcd%02d", number)
		catalog.entries = append(catalog.entries, shared)
		if c := dcs[domain]; c != nil {
			c.entries = append(c.entries, shared+local)
		}
	}
	group := func(domain, dn, name string, rid uint32, kind int64, members ...string) {
		local := "|groupType=" + strconv.FormatInt(kind, 10)
		for _, m := range members {
			local += "|member=" + m
		}
		n := uint32(slices.Index([]string{"corp.test", "sub.corp.test", "other.test"}, domain))
		add(domain, dn, "|objectClass=group|sAMAccountName="+name+"|objectSid="+sid(n, rid), local)
	}
	token := func(sids ...string) string {
		text := active
		for _, s := range sids {
			text += "|tokenGroups=" + s
		}
		return text
	}
	const domainLocal, universal, security = 4, 8, -2147483648
	bob := "CN=bob,OU=People,DC=sub,DC=corp,DC=test"
	add("corp.test", "CN=alice,DC=corp,DC=test", person+"|sAMAccountName=alice", token(sid(0, 1100)))
	add("other.test", "CN=alice,DC=other,DC=test", person+"|sAMAccountName=alice", token(sid(2, 1200)))
	add("sub.corp.test", bob, person+"|sAMAccountName=bob", token(sid(1, 1300), sid(2, 1200)))
	add("sub.corp.test", "CN=carol,DC=sub,DC=corp,DC=test", person+"|sAMAccountName=carol|userPrincipalName=carol@mail.test", token(sid(1, 1300)))
	add("sub.corp.test", "CN=dave,DC=sub,DC=corp,DC=test", person+"|sAMAccountName=dave|userPrincipalName=bob@sub.corp.test", token(sid(1, 1300)))
	add("sub.corp.test", "CN=twice,DC=sub,DC=corp,DC=test", person+"|sAMAccountName=twice", token(sid(1, 1300)))
	add("other.test", "CN=twice,DC=other,DC=test", person+"|sAMAccountName=twice", token(sid(2, 1200)))
	add("evil.test", "CN=eve,DC=evil,DC=test", person+"|sAMAccountName=eve", "")
	add("", "CN=gone,DC=sub,DC=corp,DC=test", person+"|sAMAccountName=gone", "")
	group("corp.test", "CN=Own,DC=corp,DC=test", "Own", 1100, domainLocal|security)
	group("other.test", "CN=Everywhere,DC=other,DC=test", "Everywhere", 1200, universal|security)
	group("sub.corp.test", "CN=Locals,DC=sub,DC=corp,DC=test", "Locals", 1300, domainLocal|security)
	group("corp.test", "CN=Staff,DC=corp,DC=test", "Staff", 1101, domainLocal|security, bob)
	group("corp.test", "CN=ByGroup,DC=corp,DC=test", "ByGroup", 1102, domainLocal|security, "CN=Everywhere,DC=other,DC=test")
	group("corp.test", "CN=Nested,DC=corp,DC=test", "Nested", 1103, domainLocal|security, "CN=Staff,DC=corp,DC=test", "CN=Nested,DC=corp,DC=test")
	group("corp.test", "CN=Mail,DC=corp,DC=test", "Mail", 1104, domainLocal, bob)
	group("corp.test", "CN=Apart,DC=corp,DC=test", "Apart", 1105, domainLocal|security, "CN=carol,DC=sub,DC=corp,DC=test")

	const foreign = ",CN=ForeignSecurityPrincipals,DC=corp,DC=test"
	group("corp.test", "CN=Guests,DC=corp,DC=test", "Guests", 1106, domainLocal|security, "CN=S-1-5-21-1-1-9-1900"+foreign)
	group("corp.test", "CN=Partners,DC=corp,DC=test", "Partners", 1107, domainLocal|security, "CN=S-1-5-21-1-1-9-1901"+foreign, "CN=Guests,DC=corp,DC=test")
	group("corp.test", "CN=List,DC=corp,DC=test", "List", 1108, domainLocal, "CN=S-1-5-21-1-1-9-1900"+foreign)

	cert, caFile := certificateFor(t, "dc.corp.test", "dc.sub.corp.test", "dc.other.test")
	var records []string
	for name, c := range dcs {
		host, service := "dc."+name+".", "_ldap._tcp.dc._msdcs."+name+"."
		if name == "gc" {
			host, service = "dc.corp.test.", "_ldap._tcp.gc._msdcs.corp.test."
		}
		records = append(records, service+" 60 IN SRV 0 100 "+c.serve(t, cert)+" "+host, host+" 60 IN A 127.0.0.1")
	}
	return ldap.Settings{
		Kind: "active_directory", Name: "ad", Domain: "corp.test", GlobalCatalog: true, Resolver: newZone(t, records...).addr, CAFile: caFile,
		BindDN: "svc@corp.test", BindPassword: "right", PoolSize: 2, MaxKeys: 1, ConnectTimeout: 5 * time.Second, RequestTimeout: 5 * time.Second, ProbeEvery: time.Minute,
	}, dcs
}

// TestForest looks people of several domains up, by every form of name.
func TestForest(t *testing.T) {
	s, _ := scriptedForest(t)
	c := open(t, s)
	const sub = "DC=sub,DC=corp,DC=test"
	for name, want := range map[string]struct {
		user, dn string
		err      error
	}{
		"alice":               {"alice", "CN=alice,DC=corp,DC=test", nil},
		"ALICE@Corp.Test":     {"alice", "CN=alice,DC=corp,DC=test", nil},
		`CORP\alice`:          {"alice", "CN=alice,DC=corp,DC=test", nil},
		`other\Alice`:         {"alice@other.test", "CN=alice,DC=other,DC=test", nil},
		"alice@other.test":    {"alice@other.test", "CN=alice,DC=other,DC=test", nil},
		"bob":                 {"bob@sub.corp.test", "CN=bob,OU=People," + sub, nil},
		`sub.corp.test\bob`:   {"bob@sub.corp.test", "CN=bob,OU=People," + sub, nil},
		"bob@sub.corp.test":   {"bob@sub.corp.test", "CN=bob,OU=People," + sub, nil}, // dave has this as another name
		"carol@mail.test":     {"carol@sub.corp.test", "CN=carol," + sub, nil},
		"carol@sub.corp.test": {"carol@sub.corp.test", "CN=carol," + sub, nil},
		"bob@corp.test":       {err: directory.ErrNoUser},
		`NOPE\bob`:            {err: directory.ErrNoUser},
		`CORP\bob`:            {err: directory.ErrNoUser},
		`\bob`:                {err: directory.ErrNoUser},
		"nobody":              {err: directory.ErrNoUser},
		"*":                   {err: directory.ErrNoUser},
		"twice":               {err: directory.ErrAmbiguous},
		"twice@other.test":    {"twice@other.test", "CN=twice,DC=other,DC=test", nil},
	} {
		many := c.LookupMany(t.Context(), []string{name, "nobody", "alice"})
		u, err := c.Lookup(t.Context(), name)
		for _, a := range []directory.Answer{{User: u, Err: err}, many[name]} {
			switch {
			case want.err != nil:
				if !errors.Is(a.Err, want.err) {
					t.Errorf("%s: %v, %v, want %v", name, a.User, a.Err, want.err)
				}
			case a.Err != nil || a.User.Name != want.user || a.User.DN != want.dn || a.User.Source != "ad" || a.User.ID == "" || a.User.State.Err() != nil:
				t.Errorf("%s: %+v, %v, want %s", name, a.User, a.Err, want.dn)
			}
		}
		if len(many) < 2 || many["alice"].Err != nil {
			t.Errorf("%s: among others %v", name, many)
		}
	}
	for _, name := range []string{"eve", "gone"} { // of no domain that is listed; not in the domain yet or any more
		if u, err := c.Lookup(t.Context(), name); err == nil || directory.Refused(err) {
			t.Errorf("%s: %v, %v, want an error that is no answer", name, u, err)
		}
	}
}

// TestForestNamesakes: a person and a group of the own domain have the names of
// others in another domain. They get distinct names, by which they are found again.
func TestForestNamesakes(t *testing.T) {
	s, dcs := scriptedForest(t)
	const guid = "|objectGUID=0123456789abcd95"
	mallory := "CN=mallory,DC=corp,DC=test|objectClass=user|objectCategory=person|sAMAccountName=bob@sub.corp.test|userPrincipalName=mallory@corp.test" + guid
	dcs["gc"].entries = append(dcs["gc"].entries, mallory)
	dcs["corp.test"].entries = append(dcs["corp.test"].entries,
		mallory+"|userAccountControl=512|accountExpires=0|pwdLastSet=132000000000000000|msDS-User-Account-Control-Computed=0|primaryGroupID=513|logonHours="+strings.Repeat("\xff", 21)+"|tokenGroups="+sid(0, 1195),
		"CN=Fake,DC=corp,DC=test|objectClass=group|sAMAccountName=Locals@Sub.corp.test|objectSid="+sid(0, 1195)+"|objectGUID=0123456789abcd96")
	c := open(t, s)
	const name, group = "bob@sub.corp.test@corp.test", "Locals@Sub.corp.test@corp.test"
	for _, typed := range []string{"mallory@corp.test", name, `CORP\bob@sub.corp.test`} {
		u := find(t, c, typed)
		if u.DN != "CN=mallory,DC=corp,DC=test" || u.Name != name || len(u.Groups) != 1 || u.Groups[0].Name != group {
			t.Errorf("%s is %q (%s) in %v, want %q in %q", typed, u.Name, u.DN, u.Groups, name, group)
		}
	}
	if u := find(t, c, "bob@sub.corp.test"); u.DN != "CN=bob,OU=People,DC=sub,DC=corp,DC=test" {
		t.Errorf("bob is %s", u.DN)
	}
}

// TestForestGroups: groups of all domains count, and those of the service account's domain
// that only this domain knows.
func TestForestGroups(t *testing.T) {
	s, _ := scriptedForest(t)
	c := open(t, s)
	for name, want := range map[string][]string{
		"alice":            {"Own"},
		"alice@other.test": {"ByGroup", "Everywhere@other.test"},
		"bob":              {"ByGroup", "Everywhere@other.test", "Locals@sub.corp.test", "Nested", "Staff"},
		"carol":            {"Apart", "Locals@sub.corp.test"},
	} {
		var got []string
		for _, g := range find(t, c, name).Groups {
			got = append(got, g.Name)
			if g.DN.IsZero() {
				t.Errorf("%s: group %s has no DN", name, g.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("groups of %s: %q, want %q", name, got, want)
		}
	}
	nested, err := c.Nesting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range nested {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	if want := []string{"Apart", "ByGroup", "Everywhere@other.test", "Guests", "List", "Locals@sub.corp.test", "Mail", "Nested", "Own", "Partners", "Staff"}; !slices.Equal(names, want) {
		t.Errorf("Nesting has %q, want %q", names, want)
	}
}

// TestForeignGroups: groups of a forest count for people of another one that it trusts, if
// the settings say so, and only those with a person or one of their groups in them.
func TestForeignGroups(t *testing.T) {
	s, dcs := scriptedForest(t)
	const person = "|objectClass=user|objectCategory=person|userAccountControl=512|accountExpires=0|pwdLastSet=132000000000000000|msDS-User-Account-Control-Computed=0|primaryGroupID=1902"
	hours := "|logonHours=" + strings.Repeat("\xff", 21)
	partner := &controller{entries: []string{
		"DC=partner,DC=test|maxPwdAge=0",
		"CN=zoe,DC=partner,DC=test" + person + hours + "|sAMAccountName=zoe|objectGUID=0123456789abcd90|objectSid=" + sid(9, 1900) + "|tokenGroups=" + sid(9, 1902),
		"CN=yan,DC=partner,DC=test" + person + hours + "|sAMAccountName=yan|objectGUID=0123456789abcd91|objectSid=" + sid(9, 1903) + "|tokenGroups=" + sid(9, 1902) + "|tokenGroups=" + sid(9, 1901),
		"CN=xan,DC=partner,DC=test" + person + hours + "|sAMAccountName=xan|objectGUID=0123456789abcd92|objectSid=" + sid(9, 1904) + "|tokenGroups=" + sid(9, 1902),
		"CN=wim,DC=partner,DC=test" + person + hours + "|sAMAccountName=wim|objectGUID=0123456789abcd93|objectSid=" + sid(9, 1905) + "|tokenGroups=" + sid(9, 1902),
		"CN=Crew,DC=partner,DC=test|objectClass=group|sAMAccountName=Crew|objectSid=" + sid(9, 1901),
		"CN=Users,DC=partner,DC=test|objectClass=group|sAMAccountName=Users|objectSid=" + sid(9, 1902),
	}}
	p := fakeSettings(fakeServer(t, partner.reply))
	p.Kind, p.Name, p.Base, p.BindDN, p.BindPassword, p.ForeignGroups = "active_directory", "partner", "DC=partner,DC=test", "svc@corp.test", "right", "ad"
	alone, trusting := open(t, p), open(t, p)
	trusting.CountGroupsOf(open(t, s))
	for name, want := range map[string][]string{
		"zoe": {"Guests@corp.test", "Partners@corp.test", "Users"},
		"yan": {"Crew", "Partners@corp.test", "Users"},
		"xan": {"Users"},
	} {
		var got []string
		for _, g := range find(t, trusting, name).Groups {
			got = append(got, g.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("groups of %s: %q, want %q", name, got, want)
		}
		for _, g := range find(t, alone, name).Groups {
			if strings.Contains(g.Name, "@") {
				t.Errorf("%s is in %s without foreign_groups", name, g.Name)
			}
		}
	}
	// A group whose name looks like one of another domain is one of its own domain.
	dcs["corp.test"].entries = append(dcs["corp.test"].entries, "CN=Fake,DC=corp,DC=test|objectClass=group|sAMAccountName=Crew@partner.test|objectSid="+sid(0, 1196)+
		"|groupType=-2147483644|member=CN=S-1-5-21-1-1-9-1904,CN=ForeignSecurityPrincipals,DC=corp,DC=test")
	trusting = open(t, p)
	trusting.CountGroupsOf(open(t, s))
	if groups := find(t, trusting, "xan").Groups; groups[0].Name != "Crew@partner.test@corp.test" {
		t.Errorf("xan is in %v", groups)
	}
	dcs["corp.test"].stop()
	if _, err := trusting.Lookup(t.Context(), "wim"); err == nil || directory.Refused(err) {
		t.Errorf("without the other forest: Lookup = %v, want an error that is no answer: a rule may deny one of its groups", err)
	}
}

// TestForestHome: passwords, changes and policies are handled by the person's own
// domain, and no other domain gets a password.
func TestForestHome(t *testing.T) {
	s, dcs := scriptedForest(t)
	s.KeyChange = "service"
	c := open(t, s)
	bob := find(t, c, "bob")
	if err := c.Authenticate(t.Context(), bob, "right"); err != nil {
		t.Errorf("Authenticate = %v", err)
	}
	if err := c.Authenticate(t.Context(), bob, "wrong"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate with a wrong password = %v", err)
	}
	if n, _, err := c.Lockout(t.Context(), bob); n != len("sub.corp.test") || err != nil {
		t.Errorf("Lockout = %d, %v, want that of the domain sub", n, err)
	}
	if err := c.ChangePassword(t.Context(), bob, "right", "New-Passw0rd"); err != nil {
		t.Errorf("ChangePassword = %v", err)
	}
	if err := c.AddKey(t.Context(), bob, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"); err != nil {
		t.Errorf("AddKey = %v", err)
	}
	want := []string{"bind " + bob.DN, "bind " + bob.DN, "bind " + bob.DN, "modify " + bob.DN, "modify " + bob.DN}
	for name, dc := range dcs {
		dc.mu.Lock()
		if got := dc.asked; (name == "sub.corp.test") != (len(got) > 0) || len(got) > 0 && !slices.Equal(got, want) {
			t.Errorf("%s got %q, want that sub.corp.test alone gets %q", name, got, want)
		}
		dc.mu.Unlock()
	}
	seen := map[string]bool{}
	for u, err := range c.Users(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[u.Name] {
			t.Errorf("two people are called %s", u.Name)
		}
		seen[u.Name] = true
		if again, err := c.Lookup(t.Context(), u.Name); err != nil || again.Identity != u.Identity {
			t.Errorf("%s: Lookup of the name from the list = %v, %v", u.Name, again, err)
		}
	}
	if len(seen) != 7 {
		t.Errorf("people %v, want 7", seen)
	}
	names, err := c.Names(t.Context())
	if err != nil || len(names) != 7 || slices.ContainsFunc(names, func(u *directory.User) bool { return !seen[u.Name] }) {
		t.Errorf("names %v, %v, want those of the same people", names, err)
	}
	people, more, err := c.Find(t.Context(), "al", 5)
	if err != nil || more || len(people) != 2 || people[0].Name != "alice" || people[1].Name != "alice@other.test" {
		t.Errorf("Find = %v, %v, %v, want both alices", people, more, err)
	}
	if list := urls(c); len(list) != 4 {
		t.Errorf("servers %q, want one of each domain and the catalogue", list)
	}
	groups := []string{"Own", "Everywhere@other.test", "CN=Locals,DC=sub,DC=corp,DC=test", "Everywhere"}
	text := reportText(c.Report(t.Context(), groups))
	for _, g := range groups {
		if strings.Contains(text, "group "+g+": is named in a rule, but there is no such group") != (g == "Everywhere") {
			t.Errorf("the report about the group %s:\n%s", g, text)
		}
	}
	if !strings.Contains(text, "ok: forest: domains: corp.test, sub.corp.test, other.test") ||
		!strings.Contains(text, "_ldap._tcp.gc._msdcs.corp.test") || !strings.Contains(text, "_ldap._tcp.dc._msdcs.other.test") {
		t.Errorf("the report does not show the forest:\n%s", text)
	}
}

// TestForestOutage: if a domain cannot be reached, this is no answer about its people,
// and the other domains still work. Without the catalogue nobody can be found.
func TestForestOutage(t *testing.T) {
	s, dcs := scriptedForest(t)
	c := open(t, s)
	find(t, c, "bob")
	dcs["sub.corp.test"].stop()
	if _, err := c.Lookup(t.Context(), "bob"); err == nil || directory.Refused(err) {
		t.Errorf("without the domain sub: Lookup of bob = %v, want an error that is no answer", err)
	}
	many := c.LookupMany(t.Context(), []string{"bob", "alice", `OTHER\alice`})
	if many["alice"].Err != nil || many[`OTHER\alice`].Err != nil || many["bob"].Err == nil || directory.Refused(many["bob"].Err) {
		t.Errorf("without the domain sub: %v", many)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("Ping without the domain sub = %v, want nil: others log in", err)
	}
	dcs["gc"].stop()
	if _, err := c.Lookup(t.Context(), "alice"); err == nil || directory.Refused(err) {
		t.Errorf("without the catalogue: Lookup = %v, want an error that is no answer", err)
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("Ping = nil without the catalogue")
	}
}

// TestForestSettings lists what does not go together with global_catalog.
func TestForestSettings(t *testing.T) {
	good := ldap.Settings{Kind: "active_directory", Domain: "corp.test", GlobalCatalog: true, BindDN: "svc@corp.test", BindPassword: "x", PoolSize: 1, MaxKeys: 1}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*ldap.Settings){
		"is for the kind active_directory": func(s *ldap.Settings) { s.Kind = "openldap" },
		"needs domain":                     func(s *ldap.Settings) { s.Domain, s.URLs = "", []string{"ldaps://dc"} },
		"together with urls":               func(s *ldap.Settings) { s.URLs = []string{"ldaps://dc"} },
		"together with base":               func(s *ldap.Settings) { s.Base = "OU=People,DC=corp,DC=test" },
		"needs a service account":          func(s *ldap.Settings) { s.BindDN, s.BindPassword, s.BindAs = "", "", "%u@corp.test" },
		"a DN is known in its own domain":  func(s *ldap.Settings) { s.BindDN = "CN=svc,DC=corp,DC=test" },
		"user_filter without %u":           func(s *ldap.Settings) { s.UserFilter = "(sAMAccountName=%u)" },
		"group_walk: token_groups":         func(s *ldap.Settings) { s.GroupWalk = "walk" },
	} {
		s := good
		change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, want %q", err, want)
		}
	}
}

// TestSambaCatalog asks the global catalogue of a real controller.
func TestSambaCatalog(t *testing.T) {
	p := peers.Samba(t)
	s := settings(p)
	s.URLs, s.Base, s.Domain, s.Resolver, s.GlobalCatalog = nil, "", p.Domain, p.Resolver, true
	s.BindDN = "svc@" + p.Domain
	c := open(t, s)
	plain := s
	plain.GlobalCatalog = false
	alone := open(t, plain)
	for _, name := range []string{"alice", `EXAMPLE\alice`, "alice@" + p.Domain, "locked", "carol"} {
		got, want := find(t, c, name), find(t, alone, name)
		if got.Identity != want.Identity || got.Name != want.Name || got.State.Status != want.State.Status || !slices.EqualFunc(got.Groups, want.Groups, func(a, b directory.Group) bool { return a.Name == b.Name && a.SID == b.SID }) {
			t.Errorf("%s by the catalogue: %+v, without: %+v", name, got, want)
		}
	}
	if err := c.Authenticate(t.Context(), find(t, c, "alice"), peers.Password("alice")); err != nil {
		t.Errorf("Authenticate = %v", err)
	}
	if list := urls(c); len(list) != 2 || !strings.HasSuffix(list[1], ":3269") {
		t.Errorf("servers %q, want the controller and its catalogue", list)
	}
	for _, f := range c.Report(t.Context(), nil) {
		if f.Level == ldap.Bad {
			t.Errorf("report: %s: %s", f.What, f.Detail)
		}
	}
	if groups := ldapsearch(t, p, ldap.DomainLocal(groupWithMember)); !slices.Contains(groups, "dn: CN=Pre-Windows 2000 Compatible Access,CN=Builtin,"+p.Base) {
		t.Errorf("domain-local groups with the member: %q", groups)
	}
}

const groupWithMember = "CN=S-1-5-11,CN=ForeignSecurityPrincipals,DC=ad,DC=example,DC=test"

// ldapsearch has the stock tool of OpenLDAP search as the service account.
func ldapsearch(t *testing.T, p *peers.Peer, filter string) []string {
	t.Helper()
	cmd := exec.Command("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", p.LDAPS, "-D", p.BindDN, "-w", p.BindPassword, "-b", p.Base, filter, "1.1")
	cmd.Env = append(os.Environ(), "LDAPTLS_CACERT="+p.CAFile)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Split(string(out), "\n")
}
