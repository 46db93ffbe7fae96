package sshd

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/directory"
	"berth/sshd/event"
	"berth/sshd/kerberos"
	"berth/test/peers"
)

func TestTickets(t *testing.T) {
	r := peers.KDC(t)
	keytab := filepath.Join(t.TempDir(), "keytab")
	if err := r.Admin("addprinc -randkey host/127.0.0.1\nktadd -k " + keytab + " host/127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	k, err := kerberos.Open(kerberos.Settings{Keytab: keytab})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, ticket, user string
		state              directory.Status
		want               string // reason of the refusal, "" for a login
		told               string
	}{
		{name: "own name", ticket: "alice", user: "alice", state: directory.StatusActive},
		{name: "another spelling", ticket: "alice", user: "ALICE", state: directory.StatusActive},
		{name: "another person", ticket: "bob", user: "alice", state: directory.StatusActive, want: "ticket_not_accepted"},
		{name: "instance", ticket: "alice/admin", user: "alice", state: directory.StatusActive, want: "ticket_not_accepted"},
		{name: "nobody", ticket: "alice", user: "zoe", state: directory.StatusActive, want: "unknown_user"},
		{name: "disabled", ticket: "alice", user: "alice", state: directory.StatusDisabled, want: "account_disabled", told: "disabled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, func(f *fixture) {
				f.Kerberos = k
				f.people.users["bob"] = &directory.User{Name: "bob", ID: "id-2"}
			})
			f.people.set("alice", tt.state)
			cache := filepath.Join(t.TempDir(), "cache")
			if err := r.Ticket(cache, tt.ticket); err != nil {
				t.Fatal(err)
			}
			out, err := f.ssh(r, cache, tt.user)
			if (err == nil) != (tt.want == "") || !strings.Contains(out, tt.told) {
				t.Fatalf("ssh = %v: %s, want reason %q and %q told", err, out, tt.want, tt.told)
			}
			f.hangUp()
			if got := f.events.reasons(event.LoginRejected); tt.want != "" && !slices.Contains(got, tt.want) {
				t.Errorf("reasons = %q, want %q", got, tt.want)
			}
		})
	}
}

// ssh runs whoami with the stock client and the tickets in cache.
func (f *fixture) ssh(r *peers.Realm, cache, user string) (string, error) {
	_, port, _ := strings.Cut(f.addr, ":")
	set := r.Command("ssh", "-F", "none", "-T", "-p", port, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "GSSAPIAuthentication=yes",
		"-o", "PreferredAuthentications=gssapi-with-mic", user+"@127.0.0.1", "whoami")
	cmd := exec.Command(set.Path, set.Args[1:]...)
	cmd.Env = append(set.Env, "KRB5CCNAME=FILE:"+cache)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
