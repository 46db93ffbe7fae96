package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/sshd/mail"
)

// TestMailDryRun prints who gets which mail, and who cannot get one.
func TestMailDryRun(t *testing.T) {
	d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	config, people := filepath.Join(d.Dir, "berth.yaml"), filepath.Join(d.Dir, "people.ldif")
	command := "berth mail --dry-run --config=" + config
	if got, code := called(t, "mail", "--dry-run", "--config="+config); code != 1 || !strings.Contains(got, "mail.server") {
		t.Errorf("without a server: %d, %q", code, got)
	}
	replace(t, config, "\nevents:", "\nmail: {server: 'smtp.demo.example:587', from: berth@demo.example, host: sftp.demo.example, state_file: "+filepath.Join(d.Dir, "mail.json")+"}\nevents:")
	end := func(in time.Duration) string { return time.Now().Add(in).UTC().Format("20060102150405Z") }
	replace(t, people, "mail: alice@demo.example\n", "mail: alice@demo.example\npreferredLanguage: de\npasswordExpirationTime: "+end(60*time.Hour)+"\n")
	replace(t, people, "mail: bob@demo.example\n", "mail: bob@demo.example\npasswordExpirationTime: "+end(20*24*time.Hour)+"\n")
	replace(t, people, "mail: dave@demo.example\n", "mail: dave@demo.example\npasswordExpirationTime: "+end(time.Hour)+"\n") // is disabled

	var plan struct {
		User, Address, Language, Kind string
		Days                          int
	}
	out := run(t, command+" --json --within 3")
	if err := json.Unmarshal([]byte(out), &plan); err != nil { // one line
		t.Fatalf("%v: %s", err, out)
	}
	if plan.User != "alice" || plan.Address != "alice@demo.example" || plan.Language != "de" || plan.Kind != "password_expiring" || plan.Days != 3 {
		t.Errorf("got %+v, want alice's mail of 3 days in German", plan)
	}
	table := run(t, command+" --within 10")
	if !strings.Contains(table, "alice@demo.example  de        password_expiring, 3 days") || !strings.Contains(table, "bob@demo.example") || strings.Contains(table, "dave") {
		t.Errorf("alice and bob get mails within 10 days:\n%s", table)
	}
	replace(t, people, "mail: bob@demo.example\n", "mail: nobody\n")
	if got, code := called(t, "mail", "--dry-run", "--within=10", "--config="+config); code != 2 || !strings.Contains(got, "(mail: must be one address in ASCII") {
		t.Errorf("an address that is none: %d\n%s", code, got)
	}
}

// TestPlanOfOddName: a name cannot turn the direction of the text of a line.
func TestPlanOfOddName(t *testing.T) {
	if line := planLine(&mail.Plan{User: "bob\u202e"}); !strings.HasPrefix(line, `"bob\u202e"`) {
		t.Errorf("got %q", line)
	}
}
