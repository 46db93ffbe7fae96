package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
	"berth/policy/review"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

// reported runs berth report access in this process.
func reported(t *testing.T, arguments ...string) (out string, code int) {
	t.Helper()
	return called(t, append([]string{"report", "access"}, arguments...)...)
}

// called runs berth in this process.
func called(t *testing.T, arguments ...string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	cmd := root()
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SetArgs(arguments)
	err := cmd.ExecuteContext(t.Context())
	if err != nil && !errors.Is(err, errReported) {
		b.WriteString(err.Error())
	}
	return b.String(), codeOf(err)
}

// prepareReport makes a demonstration in which the team of bob is in the group finance,
// which alice owns. It returns its folder and the arguments that name its configuration.
func prepareReport(t *testing.T) (dir, config string) {
	t.Helper()
	d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(d.Dir, "people.ldif"), "cn: finance\n", `cn: finance
owner: uid=alice,ou=people,dc=demo,dc=example
member: cn=team,ou=groups,dc=demo,dc=example
`)
	replace(t, filepath.Join(d.Dir, "people.ldif"), "dn: cn=staff,", `dn: cn=team,ou=groups,dc=demo,dc=example
objectClass: groupOfNames
cn: team
member: uid=bob,ou=people,dc=demo,dc=example

dn: cn=staff,`)
	config = filepath.Join(d.Dir, "berth.yaml")
	replace(t, config, "\nevents:", "\nreview: {forbid_together: [[staff, team]]}\nevents:")
	return d.Dir, "--config=" + config
}

func replace(t *testing.T, file, old, text string) {
	t.Helper()
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(all), old) != 1 {
		t.Fatalf("%s: %q is not there once", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(all), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReportExamples runs the examples of docs/audit.md about reports.
func TestReportExamples(t *testing.T) {
	doc, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := prepareReport(t)
	t.Chdir(filepath.Dir(dir))
	if err := os.Symlink("demo", "berth-demo"); err != nil {
		t.Fatal(err)
	}
	events := `{"time":"2026-11-24T09:00:00.000Z","type":"login_accepted","user":"bob","user_id":"c19e71b6-bf40-5b62-ad06-c8ec1fb763c4","user_directory":"demo","outcome":"success"}
{"time":"2026-11-24T09:00:01.000Z","type":"file_read_closed","user":"bob","user_id":"c19e71b6-bf40-5b62-ad06-c8ec1fb763c4","user_directory":"demo","path":"/finance/budget.csv","outcome":"success"}
`
	if err := os.WriteFile("berth-demo/events.jsonl", []byte(events), 0o600); err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`(made at|hash of the rules:) \S+`)
	examples := strings.Split(string(doc), "```console\n$ ")[1:]
	if len(examples) < 2 {
		t.Fatalf("docs/audit.md has %d examples, want some", len(examples))
	}
	for _, example := range examples {
		example, _, _ = strings.Cut(example, "```")
		command, want, _ := strings.Cut(example, "\n")
		got := strings.ReplaceAll(run(t, command), dir, "/opt/berth/berth-demo")
		if words(made.ReplaceAllString(got, "$1")) != words(made.ReplaceAllString(want, "$1")) {
			t.Errorf("%s prints:\n%s\nthe documentation says:\n%s", command, got, want)
		}
	}
}

// TestReportAsksTheDisk checks that the report asks the disk without a flag where
// files belong to people, if it can.
func TestReportAsksTheDisk(t *testing.T) {
	dir, config := prepareReport(t)
	replace(t, filepath.Join(dir, "people.ldif"), "\nuid: alice\n", "\nuid: alice\nuidNumber: 20001\ngidNumber: 20001\n")
	replace(t, filepath.Join(dir, "berth.yaml"), "permissions: [full]", "permissions: [full], owner: person")
	out, code := reported(t, "/finance", config)
	if err := fs.CheckActing(); err != nil {
		if code != 0 || !strings.Contains(out, "what the disk permits was not asked, although files belong to people there: "+err.Error()) {
			t.Errorf("without the right to ask: code %d\n%s", code, out)
		}
		return
	}
	if code != 0 || !regexp.MustCompile(`(?m)\s/finance\s+alice .*full; but the disk does not permit \S`).MatchString(out) {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestReportAccess(t *testing.T) {
	dir, config := prepareReport(t)
	events := filepath.Join(dir, "events.jsonl")
	line := `{"time":"2026-11-24T09:00:00.000Z","type":"file_read_closed","user":"bob","user_id":"c19e71b6-bf40-5b62-ad06-c8ec1fb763c4","user_directory":"demo","path":"/finance/x","outcome":"success"}` + "\n"
	if err := os.WriteFile(events, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		arguments []string
		want      []string
	}{
		{[]string{"/finance"}, []string{
			"/finance  bob    demo       active  full    rule finance: in cn=team,ou=groups,dc=demo,dc=example > cn=finance,ou=groups,dc=demo,dc=example  -           read 2026-11-24",
			"people looked at: 7\n", "FORBIDDEN TOGETHER: bob (active) is in staff and team", "/finance  alice ",
		}},
		{[]string{dir + "/finance", "--format", "csv"}, []string{`"uid=alice,ou=people,dc=demo,dc=example",/finance,bob,`}},
		{[]string{"--all", "--owner=uid=ALICE, ou=people,dc=demo,dc=example", "--format=csv"}, []string{",/finance,alice,", ",/finance,bob,"}},
		{[]string{"--all", "--owner", "--format=html"}, []string{">/shared</td>", "uid=alice,ou=people,dc=demo,dc=example"}},
		{[]string{"/finance", "--events", "/dev/null"}, []string{"no events were read"}},
	} {
		got, code := reported(t, append(tt.arguments, config)...)
		if tt.arguments[0] == "/finance" {
			got = strings.ReplaceAll(got, "uid=alice,ou=people,dc=demo,dc=example", "")
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) || code != 0 {
				t.Errorf("%q: code %d, no %q in\n%s", tt.arguments, code, want, got)
			}
		}
	}
	if got, _ := reported(t, "--all", "--owner=uid=alice,ou=people,dc=demo,dc=example", config); strings.Contains(got, "/shared") {
		t.Errorf("rows of another owner:\n%s", got)
	}
}

// TestReportOfOwner: a report of one owner says so, and the rest is not new after it.
func TestReportOfOwner(t *testing.T) {
	dir, config := prepareReport(t)
	old := filepath.Join(dir, "old.json")
	of := "--owner=uid=alice,ou=people,dc=demo,dc=example"
	if got, code := reported(t, "--all", config, of, "--format=json", "--out", old); code != 0 {
		t.Fatal(got)
	}
	got, code := reported(t, "--all", config, of, "--since", old)
	if code != 0 || !strings.Contains(got, "only rights through groups of the owner uid=alice,") || strings.Contains(got, " new ") {
		t.Errorf("the same owner: code %d\n%s", code, got)
	}
	for _, other := range [][]string{nil, {"--owner"}, {"--owner=cn=x"}} {
		got, code := reported(t, append([]string{"--all", config, "--since", old}, other...)...)
		if code != 1 || !strings.Contains(got, "it has only the rows of the owner uid=alice,") {
			t.Errorf("%q: code %d\n%s", other, code, got)
		}
	}
}

// TestReportSince compares two reports, and TestReportSigned proves one with ssh-keygen.
func TestReportSince(t *testing.T) {
	dir, config := prepareReport(t)
	old := filepath.Join(dir, "old.json")
	if got, code := reported(t, "/finance", config, "--format=json", "--out", old); code != 0 {
		t.Fatal(got)
	}
	var r review.Report
	text, err := os.ReadFile(old)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || len(r.Rows) != 2 || !r.Complete || len(r.Rows[1].Chains) != 1 || len(r.Rows[1].Chains[0]) != 2 {
		t.Fatalf("%v: %s", err, text)
	}
	replace(t, filepath.Join(dir, "people.ldif"), "member: cn=team,ou=groups,dc=demo,dc=example", "member: uid=carol,ou=people,dc=demo,dc=example")
	replace(t, filepath.Join(dir, "berth.yaml"), "permissions: [full]", "permissions: [read_only]")
	got, code := reported(t, "/finance", config, "--since", old, "--format=csv")
	for _, want := range []string{"alice,demo,active,list read,", ",lost create overwrite mkdir", ",carol,", ",new,", ",bob,", ",gone,"} {
		if !strings.Contains(got, want) || code != 0 {
			t.Errorf("code %d, no %q in\n%s", code, want, got)
		}
	}
	if got, code := reported(t, "/shared", config, "--since", old); code != 1 || !strings.Contains(got, "it is about /finance, and this one about /shared") {
		t.Errorf("another path: code %d, %s", code, got)
	}
	if got, code := reported(t, "/finance", config, "--since", filepath.Join(dir, "berth.yaml")); code != 1 || !strings.Contains(got, "must be a report in JSON") {
		t.Errorf("no report: code %d, %s", code, got)
	}
}

func TestReportSigned(t *testing.T) {
	dir, config := prepareReport(t)
	for name, key := range map[string]string{"given": filepath.Join(dir, "keys/alice"), "host": "host"} {
		public := key + ".pub"
		out := filepath.Join(dir, name+".html")
		if key == "host" {
			public = filepath.Join(dir, "ssh_host_ed25519_key.pub")
			if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", strings.TrimSuffix(public, ".pub")).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		if got, code := reported(t, "--all", config, "--format=html", "--out", out, "--sign", key); code != 0 {
			t.Fatal(got)
		}
		line, err := exec.Command("ssh-keygen", "-y", "-f", strings.TrimSuffix(public, ".pub")).Output()
		if err != nil {
			t.Fatal(err)
		}
		signers := filepath.Join(dir, name+".signers")
		if err := os.WriteFile(signers, append([]byte("auditor "), line...), 0o600); err != nil {
			t.Fatal(err)
		}
		verify := func() error {
			report, err := os.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer report.Close()
			cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", signers, "-I", "auditor", "-n", "berth-report", "-s", out+".sig")
			cmd.Stdin = report
			return cmd.Run()
		}
		if err := verify(); err != nil {
			t.Errorf("%s: ssh-keygen does not verify the signature: %v", name, err)
		}
		replace(t, out, "<h2>Rights</h2>", "<h2>No rights</h2>")
		if verify() == nil {
			t.Errorf("%s: ssh-keygen verifies a report that was changed", name)
		}
		if got, code := reported(t, "--all", config, "--out", out); code != 1 || !strings.Contains(got, "exists already") {
			t.Errorf("%s: written again: code %d, %s", name, code, got)
		}
	}
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("of last month"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, code := reported(t, "--all", config, "--out", there, "--sign", "host"); code != 1 || !strings.Contains(got, "there: exists already") {
		t.Errorf("onto a report: code %d, %s", code, got)
	}
	if _, err := os.Stat(there + ".sig"); err == nil {
		t.Error("the report of last month got a signature of another one")
	}
	missing := filepath.Join(dir, "no_such_ed25519_key")
	if got, code := reported(t, "--all", config, "--out", filepath.Join(dir, "x"), "--sign", missing); code != 1 || !strings.Contains(got, "no such file") {
		t.Errorf("a key that is missing: code %d, %s", code, got)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a key that was missing was made")
	}
}

// TestReportIncomplete: the report itself names a directory or events that cannot be
// read.
func TestReportIncomplete(t *testing.T) {
	dir, config := prepareReport(t)
	got, code := reported(t, "/finance", config)
	if code != 0 || !strings.Contains(got, "last logins and uses may be missing: ") {
		t.Errorf("without events: code %d\n%s", code, got)
	}
	replace(t, filepath.Join(dir, "berth.yaml"), "rules:\n", `  - {name: corp, kind: generic, urls: ["ldap://127.0.0.1:1"], insecure: true, base: "dc=corp", bind_dn: "cn=x", bind_password: x}
rules:
`)
	for _, g := range []string{"staff", "finance", "partners", "it"} {
		replace(t, filepath.Join(dir, "berth.yaml"), "when: {groups: ["+g+"]}", `when: {groups: ['demo\`+g+`']}`)
	}
	got, code = reported(t, "/finance", config)
	for _, want := range []string{"NOT COMPLETE: people or rights are missing", "directory corp: ", "/finance  alice", "could not be read"} {
		if !strings.Contains(got, want) || code != 2 {
			t.Errorf("code %d, no %q in\n%s", code, want, got)
		}
	}
}

// TestReportOfDamagedEvents: events that were changed prove no use, and a line that is no
// event does not end the reading. The report says so.
func TestReportOfDamagedEvents(t *testing.T) {
	dir, config := prepareReport(t)
	settings := audit.DefaultSettings()
	settings.File = filepath.Join(dir, "events.jsonl")
	f, err := audit.Open(settings, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.Emit(event.Event{Type: event.FileReadClosed, User: "alice", UserID: "id", Path: "/finance/x"})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(settings.File)
	if err != nil {
		t.Fatal(err)
	}
	if got, code := reported(t, "/finance", config); code != 0 || strings.Contains(got, "not proved") {
		t.Fatalf("before: code %d\n%s", code, got)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[0] = strings.Replace(lines[0], "/finance/x", "/finance/y", 1)
	if err := os.WriteFile(settings.File, []byte(lines[0]+"no event\n"+strings.Join(lines[1:], "")), 0o600); err != nil {
		t.Fatal(err)
	}
	got, code := reported(t, "/finance", config)
	if code != 0 || !strings.Contains(got, "last logins and uses are not proved, the chain of the events is broken: ") || !strings.Contains(got, "/finance  alice") {
		t.Errorf("code %d\n%s", code, got)
	}
}

func TestReportMistakes(t *testing.T) {
	_, config := prepareReport(t)
	for _, tt := range []struct {
		arguments []string
		want      string
	}{
		{nil, "name one PATH"},
		{[]string{"/a", "--all"}, "name one PATH"},
		{[]string{"/nowhere"}, "no rule has a folder there"},
		{[]string{"--all", "--format=pdf"}, "must be one of table, csv, json, html"},
		{[]string{"--all", "--sign=host"}, "needs --out"},
		{[]string{"--all", "--since=/no/file"}, "no such file"},
	} {
		if got, code := reported(t, append(tt.arguments, config)...); code != 1 || !strings.Contains(got, tt.want) {
			t.Errorf("%q: code %d, %s; want %q", tt.arguments, code, got, tt.want)
		}
	}
}
