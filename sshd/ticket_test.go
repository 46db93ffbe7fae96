package sshd

import (
	"os"
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
				f.Gate.Kerberos = k
				f.people.users["bob"] = &directory.User{Name: "bob", Identity: directory.Identity{ID: "id-2"}}
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

// TestTicketsOfDirectories: a realm belongs to one directory. A ticket of its bob is not
// one of another directory's bob.
func TestTicketsOfDirectories(t *testing.T) {
	r := peers.KDC(t)
	keytab := filepath.Join(t.TempDir(), "keytab")
	if err := r.Admin("addprinc -randkey host/127.0.0.1\nktadd -k " + keytab + " host/127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	k, err := kerberos.Open(kerberos.Settings{Keytab: keytab, Realms: []kerberos.Realm{{Name: r.Name, Directory: "corp"}}}, "corp", "partner")
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{"corp": true, "partner": false} {
		f := start(t, func(f *fixture) {
			f.Gate.Kerberos = k
			f.people.users["bob"] = &directory.User{Name: "bob", Identity: directory.Identity{Source: source, ID: "id-2"}, State: directory.State{Status: directory.StatusActive}}
		})
		cache := filepath.Join(t.TempDir(), "cache")
		if err := r.Ticket(cache, "bob"); err != nil {
			t.Fatal(err)
		}
		if out, err := f.ssh(r, cache, "bob"); (err == nil) != want {
			t.Errorf("a ticket of %s, and bob of %s: %v: %s", r.Name, source, err, out)
		}
		f.hangUp()
		if got := f.events.reasons(event.LoginRejected); !want && !slices.Contains(got, "ticket_not_accepted") {
			t.Errorf("reasons = %q", got)
		}
	}
}

// ssh runs whoami with the stock client and the tickets in cache.
func (f *fixture) ssh(r *peers.Realm, cache, user string) (string, error) {
	return f.sshWith(r.Command("env"), cache, user, "-o", "BatchMode=yes", "-o", "PreferredAuthentications=gssapi-with-mic")
}

// sshWith is ssh with more options, in an environment that env sets.
func (f *fixture) sshWith(set *exec.Cmd, cache, user string, options ...string) (string, error) {
	_, port, _ := strings.Cut(f.addr, ":")
	args := append(set.Args[1:], "ssh", "-F", "none", "-T", "-p", port, "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "GSSAPIAuthentication=yes")
	cmd := exec.Command(set.Path, append(append(args, options...), user+"@127.0.0.1", "whoami")...)
	cmd.Env = append(set.Env, "KRB5CCNAME=FILE:"+cache)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestTicketAndCode: a person with a ticket is also asked for a one-time
// code.
func TestTicketAndCode(t *testing.T) {
	r := peers.KDC(t)
	keytab := filepath.Join(t.TempDir(), "keytab")
	if err := r.Admin("addprinc -randkey host/127.0.0.1\nktadd -k " + keytab + " host/127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	k, err := kerberos.Open(kerberos.Settings{Keytab: keytab})
	if err != nil {
		t.Fatal(err)
	}
	f := requiring(t, [][]string{{"gssapi-with-mic", "totp"}}, func(f *fixture) { f.Gate.Kerberos = k })
	cache := filepath.Join(t.TempDir(), "cache")
	if err := r.Ticket(cache, "alice"); err != nil {
		t.Fatal(err)
	}
	answer := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(answer, []byte("#!/bin/sh\necho \"$CODE\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		code string
		ok   bool
	}{{"12345", false}, {codeNow(t, 0), true}} {
		set := r.Command("env", "SSH_ASKPASS="+answer, "SSH_ASKPASS_REQUIRE=force", "CODE="+tt.code)
		out, err := f.sshWith(set, cache, "alice", "-o", "PreferredAuthentications=gssapi-with-mic,keyboard-interactive", "-o", "NumberOfPasswordPrompts=1")
		if (err == nil) != tt.ok {
			t.Errorf("with the code %q: %v: %s", tt.code, err, out)
		}
	}
	f.hangUp()
	for _, e := range f.events.all() {
		if e.Type == event.LoginAccepted && !strings.HasPrefix(e.Fields["principal"], "alice@") {
			t.Errorf("the event of the login names the principal %q", e.Fields["principal"])
		}
	}
	if got := f.events.reasons(event.LoginRejected); !slices.Equal(got, []string{"code_wrong"}) {
		t.Errorf("reasons = %q", got)
	}
}
