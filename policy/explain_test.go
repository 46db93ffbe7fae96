package policy

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/directory"
)

var update = flag.Bool("update", false, "write what is got to testdata as what is wanted")

// aliceWithKeys is alice with a key, a value that is no key, and a state.
func aliceWithKeys(t *testing.T) *directory.User {
	t.Helper()
	line := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGMz6DZD2PhjSkMuHNV0nBbJLEVCMcqmpXvvRW6PSwAr alice@laptop"
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	u := *alice
	u.Keys = []directory.Key{{PublicKey: key, Comment: comment, Attribute: "sshPublicKey", From: []string{"10.*"}}}
	u.Notes = []directory.KeyNote{{Attribute: "sshPublicKey", Index: 1, Reason: "not a key\x1b[31m"}}
	u.State = directory.State{Status: directory.StatusActive, Reason: "userAccountControl=512"}
	return &u
}

// TestExplainText holds the whole text to a file.
func TestExplainText(t *testing.T) {
	rules := append(
		financeRules(),
		Rule{Name: "partners", When: When{Groups: []string{"partners", "P-*"}, Users: []string{"bob"}, From: []string{"192.0.2.0/24"}, Hours: "Sat UTC", Method: []string{"password"}}},
		Rule{Name: "locked out", Deny: true, When: When{Users: []string{"eve"}}},
		Rule{Name: "all"},
	)
	set := compile(t, rules...)
	req := aliceFrom("::ffff:10.1.2.3")
	req.User = aliceWithKeys(t)
	nobody := req
	nobody.User = &directory.User{Name: "no\x1bbody", State: directory.State{Status: directory.StatusDisabled}}
	for name, e := range map[string]Explanation{
		"allowed.txt": set.Explain(req),
		"own.txt":     set.Explain(req).ForUser(),
		"denied.txt":  compile(t, rules[:3]...).Explain(nobody),
	} {
		var b strings.Builder
		if err := e.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
	j, err := json.MarshalIndent(set.Explain(req), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "allowed.json", string(j)+"\n")
}

// TestExplainCutGroups: the explanation names the number of groups that a
// disk cannot count.
func TestExplainCutGroups(t *testing.T) {
	req := aliceFrom("10.1.2.3")
	u := *req.User
	u.POSIX = directory.POSIX{UID: 1000, GID: 1000, Cut: 2}
	req.User = &u
	var b strings.Builder
	if err := compile(t, Rule{Name: "all"}).Explain(req).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if want := "2 groups do not count on a disk, since Linux permits 65536"; !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}

// golden holds got to a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestForUser(t *testing.T) {
	rules := financeRules()
	for _, home := range []string{"/srv/secret/%u", "/srv/secret/%{nothing}"} {
		rules[0].Home.Host = home
		set := compile(t, append(rules, Rule{Name: "bad", Deny: true, When: When{Users: []string{"eve"}}})...)
		e := set.Explain(aliceFrom("10.1.2.3"))
		own := e.ForUser()
		j, err := json.Marshal(own)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(j), "/srv") {
			t.Errorf("explanation for the user holds a host path: %s", j)
		}
		if strings.Contains(string(j), "eve") {
			t.Errorf("explanation for the user speaks of somebody else: %s", j)
		}
		if again := set.Explain(aliceFrom("10.1.2.3")); !reflect.DeepEqual(again, e) {
			t.Errorf("ForUser changed the explanation it was called on")
		}
	}
}

// TestExplainNothing explains a login that is allowed and gets no folder, and one
// that gets a single folder.
func TestExplainNothing(t *testing.T) {
	for host, want := range map[string]bool{"": true, "/srv/home": false} {
		rule := Rule{Name: "all"}
		if host != "" {
			rule.Home = &Home{Host: host}
		}
		var b strings.Builder
		if err := compile(t, rule).Explain(aliceFrom("10.1.2.3")).WriteText(&b); err != nil {
			t.Fatal(err)
		}
		_, folders, _ := strings.Cut(b.String(), "\nfolders\n")
		if got := strings.HasPrefix(strings.TrimSpace(folders), "none"); got != want {
			t.Errorf("home %q: folders are none: %t, want %t\n%s", host, got, want, folders)
		}
	}
}
