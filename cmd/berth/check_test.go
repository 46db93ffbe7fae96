package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/sshd/totp"
	"berth/test/peers"
)

// TestCheckNamesClashes checks that a clash is reported with both rules and
// their lines.
func TestCheckNamesClashes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(text), "rules:\n")
	first := strings.Count(before, "\n") + 2
	rules := `rules:
  - {name: one, folders: [{path: /x, host: /srv/x}]}
  - name: two
    folders:
      - {path: /x, host: /srv/y}
    access:
      - {path: /in, permissions: [list]}
  - {name: three, access: [{path: /in, permissions: [read]}]}
`
	if err := os.WriteFile("berth.yaml", []byte(before+rules+after), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, "berth check --offline --config berth.yaml")
	got = strings.ReplaceAll(got, "berth.yaml:", "line ")
	for _, want := range []string{
		at(first+3) + ": " + `/x: the folder of rule "two" is not used for people whom rule "one" also matches: that rule comes first (` + at(first) + ")",
		at(first+6) + ": " + `/in: the permissions of rule "three" are not used for people whom rule "two" also matches: that rule comes first (` + at(first+5) + ")",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("check prints:\n%swant:\n%s", got, want)
		}
	}
}

func at(line int) string { return fmt.Sprintf("line %d", line) }

// TestCheckOfTwoDirectories has two directories with entries that were copied
// from one to the other, and a rule for a group of each.
func TestCheckOfTwoDirectories(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	entry := func(uid, mail string) string {
		return "dn: uid=" + uid + ",dc=x\nobjectClass: inetOrgPerson\nuid: " + uid + "\nmail: " + mail + "\ncn: " + uid + "\nsn: " + uid + "\nuserPassword: password-1\n\n"
	}
	group := func(name string) string {
		return "dn: cn=" + name + ",dc=x\nobjectClass: groupOfNames\ncn: " + name + "\nmember: uid=alice,dc=x\n\n"
	}
	files := map[string]string{
		"corp.ldif":    entry("alice", "alice@x") + entry("bob", "bob@partner") + group("finance") + group("both"),
		"partner.ldif": entry("alice", "alice@x") + entry("carol", "carol@x") + group("guests") + group("both"),
		"berth.yaml": `
listen: [127.0.0.1:0]
admin: {listen: "127.0.0.1:0"}
host_keys: [ed25519]
directories:
  - {name: corp, kind: embedded, ldif: corp.ldif}
  - {name: partner, kind: embedded, ldif: partner.ldif}
rules:
  - {name: a, when: {groups: ['corp\finance', 'partner\guests', 'partner\gone']}}
  - {name: b, when: {directory: [partner], groups: [both]}}
  - {name: c, when: {directory: [corp], groups: [guests]}, deny: true}
`,
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"check", "--config", "berth.yaml"})
	if err := cmd.ExecuteContext(t.Context()); err == nil {
		t.Error("check succeeded")
	}
	got := out.String()
	for _, want := range []string{
		`bad      names of several directories: name means more than one user (`,
		`is "uid=alice,dc=x" in directory partner and "uid=alice,dc=x" in directory corp`,
		"warning  partner: group gone: is named in a rule, but there is no such group",
		"bad      corp: group guests: a rule denies or requires something for its members, but the service account sees no such group",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, not := range []string{"corp: group gone", "partner: group finance", `group corp\`, "group both"} {
		if strings.Contains(got, not) {
			t.Errorf("%q in\n%s", not, got)
		}
	}
}

// TestCheckOfServers has two servers that are not replicas of each other, and a web page
// whose searches need indexes.
func TestCheckOfServers(t *testing.T) {
	a, b := peers.OpenLDAP(t), peers.OpenLDAP(t)
	t.Chdir(t.TempDir())
	var both []byte
	for _, p := range []*peers.Peer{a, b} {
		pem, err := os.ReadFile(p.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, pem...)
	}
	for name, text := range map[string]string{
		"ca.pem":   string(both),
		"password": a.BindPassword,
		"berth.yaml": fmt.Sprintf(`
listen: [127.0.0.1:0]
console: {listen: 127.0.0.1:0}
host_keys: [ed25519]
directories:
  - {name: corp, kind: openldap, urls: [%q, %q], ca_file: ca.pem, base: %q, bind_dn: %q, bind_password_file: password}
rules:
  - {name: a}
`, a.LDAPS, b.LDAPS, a.Base, a.BindDN),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"check", "--config", "berth.yaml"})
	if err := cmd.ExecuteContext(t.Context()); err == nil {
		t.Error("check succeeded")
	}
	for _, want := range []string{
		"bad      corp: replicas: " + a.LDAPS + " and " + b.LDAPS + ` are not replicas of each other: "` + a.Base + `" has the id `,
		"note     corp: search by beginnings: uid, cn, sn need an index",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestCheckAsJSON checks that JSON has the same findings as the text, and the
// mistakes in the file.
func TestCheckAsJSON(t *testing.T) {
	dir := t.TempDir()
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "berth.yaml")
	asJSON := func() (text string, got struct {
		OK       bool
		Findings []struct{ Level, Place, Message string }
	}, err error,
	) {
		t.Helper()
		var out strings.Builder
		cmd := root()
		cmd.SetOut(&out)
		cmd.SetArgs([]string{"check", "--json", "--config", file})
		err = cmd.ExecuteContext(t.Context())
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		for _, f := range got.Findings {
			text += fmt.Sprintf("%-8s %s: %s\n", f.Level, f.Place, f.Message)
		}
		return text, got, err
	}
	text, got, err := asJSON()
	took := regexp.MustCompile(`in [0-9.a-zµ]+s\b`)
	if want := run(t, "berth check --config "+file); err != nil || !got.OK || took.ReplaceAllString(text, "") != took.ReplaceAllString(want, "") {
		t.Errorf("check --json: %v, %t\n%swant:\n%s", err, got.OK, text, want)
	}
	if err := os.WriteFile(file, []byte("listen: [x]\nrules: [{name: a, when: {hours: never}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, got, err = asJSON()
	for _, want := range []string{"bad      " + file + ":1: listen", "bad      " + file + ":2: rules[0].when.hours: ", `(rule "a")`, "directories: missing"} {
		if err == nil || got.OK || !strings.Contains(text, want) {
			t.Errorf("check --json of mistakes: %v, %t, no %q in\n%s", err, got.OK, want, text)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if text, got, err = asJSON(); err == nil || got.OK || !strings.Contains(text, "bad      berth: there is no configuration") {
		t.Errorf("check --json without a file: %v, %t\n%s", err, got.OK, text)
	}
}

// TestFindingsAreWhole: an error with two causes is one finding, with all of its text.
func TestFindingsAreWhole(t *testing.T) {
	whole := fmt.Errorf("%w: /var/lib/berth/totp: %w", totp.ErrUnreadable, os.ErrPermission)
	c := &check{json: true, out: io.Discard}
	if err := c.encode(errors.Join(errReported, errors.Join(whole, errors.New("another")))); !errors.Is(err, errReported) {
		t.Fatal(err)
	}
	want := []finding{{"bad", "berth", whole.Error()}, {"bad", "berth", "another"}}
	if !slices.Equal(c.findings, want) {
		t.Errorf("got %q, want %q", c.findings, want)
	}
}
