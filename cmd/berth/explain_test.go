package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/config"
	"berth/directory"
	"berth/policy"
)

// TestExplainExamples runs every example of docs/explain.md. The width of
// columns depends on the paths of the machine, so several spaces count as one.
func TestExplainExamples(t *testing.T) {
	doc, err := os.ReadFile("../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	d := demo{Dir: "berth-demo", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(doc), "```console\n$ ")[1:]
	if len(examples) < 4 {
		t.Fatalf("docs/explain.md has %d examples, want some", len(examples))
	}
	for _, example := range examples {
		example, _, _ = strings.Cut(example, "```")
		command, want, _ := strings.Cut(example, "\n")
		got := run(t, command)
		got = strings.ReplaceAll(got, filepath.Dir(d.Dir), "/opt/berth")
		if words(got) != words(want) {
			t.Errorf("%s prints:\n%s\nthe documentation says:\n%s", command, got, want)
		}
	}
}

// run runs an example: berth in this process, all else in a shell.
func run(t *testing.T, command string) string {
	t.Helper()
	arguments, ours := strings.CutPrefix(command, "berth ")
	if !ours {
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs(strings.Fields(arguments))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Errorf("%s: %v", command, err)
	}
	return out.String()
}

// words is text with every run of spaces made one.
func words(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func TestExplainMistakes(t *testing.T) {
	tests := []struct{ arguments, want string }{
		{"explain", "name one user"},
		{"explain alice bob", "name one user"},
		{"explain --all alice", "name no user"},
		{"explain --diff one.yaml", "the old and the new file"},
		{"explain --all --diff a b", "use one"},
		{"explain alice --from here", "must be an IP address"},
		{"explain --all --at noon", "must be a time"},
		{"explain alice --method pasword", "must be one of password, publickey"},
		{"explain alice --config missing.yaml", "missing.yaml"},
	}
	for _, tt := range tests {
		cmd := root()
		cmd.SetOut(new(bytes.Buffer))
		cmd.SetArgs(strings.Fields(tt.arguments))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("berth %s: %v, want %q", tt.arguments, err, tt.want)
		}
	}
}

// TestWarnings has a folder that is missing, and one that hides files.
func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/home/alice/shared/lost", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir + "/finance"); err != nil {
		t.Fatal(err)
	}
	missing := "folder /finance: " + dir + "/finance is missing: people do not get this folder"
	if got := run(t, "berth explain alice --config berth.yaml"); !strings.Contains(got, missing) || !strings.Contains(got, "folder /shared: is shown in the place of "+dir+"/home/alice/shared, which nobody sees") {
		t.Errorf("explain does not warn of the missing folder and the hidden files:\n%s", got)
	}
	if err := os.MkdirAll(dir+"/home/bob/shared/lost", 0o755); err != nil {
		t.Fatal(err)
	}
	hidden := "folder /shared: is shown in the place of " + dir + "/home/alice/shared (and 1 more like it), which nobody sees"
	if got := run(t, "berth check --config berth.yaml"); !strings.Contains(got, missing) || !strings.Contains(got, hidden) {
		t.Errorf("check does not warn of the missing folder and the files hidden in two homes:\n%s", got)
	}
}

// TestExplainDisk has a folder that the rules open and the disk does not.
func TestExplainDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can find out what the disk permits others")
	}
	dir := t.TempDir()
	u := &directory.User{Name: "alice", POSIX: directory.NewPOSIX(1001, 2000, nil)}
	set, err := policy.Compile([]policy.Rule{{Name: "r", Home: &policy.Home{Host: dir, Owner: policy.Person}, Folders: []policy.Mount{{Path: "/s", Host: "/"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	f := explainFlags{disk: true}
	if err := f.explain(&out, &config.Config{}, set, policy.Request{User: u}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^uid +1001, gid 2000$`, `(?m)^  / +\S+ +rule r +files belong to the person$`,
		`(?m)^  / +0:0 drwx\S* +the person may nothing$`, `(?m)^    but +the disk does not permit full, which the rules do$`,
		`(?m)^  /s +0:0 drwx\S* +the service works here$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}
