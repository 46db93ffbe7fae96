package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/peers"
)

// TestInitAsks answers the questions of berth init on a terminal, two of them wrongly
// at first, and checks that no secret is on the screen.
func TestInitAsks(t *testing.T) {
	need(t, "expect", "setsid")
	p := peers.OpenLDAP(t)
	dir := t.TempDir()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return strings.ReplaceAll(string(out), "\r", ""), err
	}
	dialogue := `set timeout 30
spawn ` + berth + ` init --config berth.yaml --state state --listen 127.0.0.1:0 --admin 127.0.0.1:0
proc answer {question text} { expect $question { send "$text\r" } timeout { exit 3 } eof { exit 4 } }
answer "or an LDIF file: " ` + p.LDAPS + `
answer "certificate of the authority: " ` + p.CAFile + `
answer "Service account that searches the directory (DN): " ` + p.BindDN + `
answer "File with its password *example-password*: " ""
answer "Password of *: " "not-the-password"
answer "Password of *: " ` + p.BindPassword + `
answer "Group of those who may log in: " gone
answer "Group of those who may log in: " middle
answer "Folder for their homes */srv/berth/home*: " homes
expect eof
catch wait result
exit [lindex $result 3]
`
	if err := os.WriteFile(filepath.Join(dir, "dialogue.exp"), []byte(dialogue), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run("expect", "dialogue.exp")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"found    openldap", `bad      the directory has no group "gone"`, "made     " + filepath.Join(dir, "berth.yaml"), "berth explain NAME"} {
		if !strings.Contains(out, want) {
			t.Errorf("init does not say %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{p.BindPassword, "not-the-password"} {
		if strings.Contains(out, secret) {
			t.Errorf("the password is on the screen:\n%s", out)
		}
	}
	if out, err := run(berth, "check", "--config", "berth.yaml"); err != nil || strings.Contains(out, "\nbad ") {
		t.Errorf("berth check: %v\n%s", err, out)
	}
	if out, err := run(berth, "explain", "alice", "--config", "berth.yaml"); err != nil || !strings.Contains(out, "homes/alice") {
		t.Errorf("berth explain alice: %v\n%s", err, out)
	}
	secret := filepath.Join(dir, "example-password")
	if fi, err := os.Stat(secret); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("password file: %v, %v; want mode 0640", fi, err)
	}

	// Without a terminal one error names every answer that is missing.
	out, err = run("setsid", "-w", berth, "init", "--config", "other.yaml")
	if want := "flags are missing: --url or --ldif, --account, --password-file with a file that exists, --group\n"; err == nil || !strings.HasSuffix(out, want) {
		t.Errorf("init without a terminal: %v, %s", err, out)
	}
}
