package ldap_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/directory/ldap"
	"berth/test/peers"
)

// TestReplicas has two servers of the same names. First they are not replicas, then the
// second is filled with the entries of the first.
func TestReplicas(t *testing.T) {
	a, b := peers.OpenLDAP(t), peers.OpenLDAP(t)
	s := settings(a)
	s.URLs = []string{a.LDAPS, b.LDAPS}
	s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	var both []byte
	for _, p := range []*peers.Peer{a, b} {
		pem, err := os.ReadFile(p.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, pem...)
	}
	if err := os.WriteFile(s.CAFile, both, 0o600); err != nil {
		t.Fatal(err)
	}
	alice := "uid=alice," + people
	replicas := func(of func(c *ldap.Client) []ldap.Finding) string {
		t.Helper()
		findings := slices.DeleteFunc(of(open(t, s)), func(f ldap.Finding) bool { return f.What != "replicas" })
		return printed(findings)
	}
	report := func(c *ldap.Client) []ldap.Finding { return c.Report(t.Context(), nil) }
	rights := func(c *ldap.Client) []ldap.Finding {
		return c.Rights(t.Context(), find(t, c, "alice"), peers.Password("alice"), nil)
	}

	got := replicas(report)
	clash := "bad: replicas: " + a.LDAPS + " and " + b.LDAPS + " are not replicas of each other: "
	for _, dn := range []string{s.Base, s.BindDN} {
		if !strings.Contains(got, clash+`"`+dn+`" has the id `) {
			t.Errorf("no difference of %s in\n%s", dn, got)
		}
	}
	// The fixture gives alice an id.
	if got, want := replicas(rights), "ok: replicas: 2 servers have the same id of "+alice+"\n"; got != want {
		t.Errorf("with a user:\n%swant:\n%s", got, want)
	}

	same(t, a, b)
	if got, want := replicas(report), "ok: replicas: 2 servers have the same id of "+s.Base+" and of "+s.BindDN+"\n"; got != want {
		t.Errorf("of replicas:\n%swant:\n%s", got, want)
	}
	manage(t, b, "dn: "+alice+"\nchangetype: delete")
	if got, want := replicas(rights), clash+`only the first has "`+alice+"\" with an id that the service account may read\n"; got != want {
		t.Errorf("without the user on one:\n%swant:\n%s", got, want)
	}

	b.Kill()
	if got := replicas(report); !strings.HasPrefix(got, "note: replicas: "+b.LDAPS+" could not be compared with the others: ") || strings.Count(got, "\n") != 1 {
		t.Errorf("with one down:\n%s", got)
	}
	s.URLs = s.URLs[:1]
	if got := replicas(report); got != "" {
		t.Errorf("of one server:\n%s", got)
	}
}

// same gives to the entries of from.
func same(t *testing.T, from, to *peers.Peer) {
	t.Helper()
	dump, err := exec.Command("slapcat", "-f", from.Dir+"/slapd.conf", "-b", from.Base).Output()
	if err != nil {
		t.Fatal(err)
	}
	to.Stop()
	files, err := filepath.Glob(to.Dir + "/db/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	add := exec.Command("slapadd", "-q", "-f", to.Dir+"/slapd.conf")
	add.Stdin = strings.NewReader(string(dump))
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := to.Start(); err != nil {
		t.Fatal(err)
	}
}
