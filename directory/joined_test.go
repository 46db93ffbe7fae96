package directory

import (
	"errors"
	"strings"
	"testing"
)

func TestJoined(t *testing.T) {
	corp, partners := newFake("alice", "bob", "x@corp.example"), newFake("alice", "carol")
	j, err := Join(
		Member{Name: "corp", Suffixes: []string{"corp.example", "CORP"}, Directory: corp},
		Member{Name: "partners", Directory: partners},
	)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ typed, name, source string }{
		{"alice", "alice", "corp"},
		{"ALICE", "alice", "corp"},
		{`corp\alice`, "alice", "corp"},
		{"alice@Corp.Example", "alice", "corp"},
		{"x@corp.example", "x@corp.example", "corp"}, // a name of its own
		{"alice@partners", "alice@partners", "partners"},
		{`PARTNERS\alice`, "alice@partners", "partners"},
		{"carol", "carol@partners", "partners"},
		{"carol@corp", "", ""},
		{"alice@elsewhere", "", ""},
		{`elsewhere\alice`, "", ""},
		{"nobody", "", ""},
	}
	for _, tt := range tests {
		u, err := j.Lookup(t.Context(), tt.typed)
		if tt.name == "" {
			if !errors.Is(err, ErrNoUser) {
				t.Errorf("Lookup(%q) = %v, %v; want ErrNoUser", tt.typed, u, err)
			}
			continue
		}
		if err != nil || u.Name != tt.name || u.Source != tt.source {
			t.Errorf("Lookup(%q) = %v, %v; want %s of %s", tt.typed, u, err, tt.name, tt.source)
			continue
		}
		own, _, _ := strings.Cut(tt.name, "@partners")
		if err := j.Authenticate(t.Context(), u, own+"-right"); err != nil {
			t.Errorf("Authenticate(%q) = %v, want nil", tt.name, err)
		}
	}
	if corp.binds["carol"]+corp.binds["carol@partners"]+partners.binds["bob"] != 0 {
		t.Error("a password went to a directory that does not own the user")
	}
}

// TestJoinedOwnName: somebody has as another name, such as a mail address, what somebody
// else is called here.
func TestJoinedOwnName(t *testing.T) {
	corp, partners := newFake(), newFake("bob", "mallory")
	j, err := Join(Member{Name: "corp", Directory: corp}, Member{Name: "partners", Suffixes: []string{"partners", "p"}, Directory: partners})
	if err != nil {
		t.Fatal(err)
	}
	for _, claimed := range []string{"bob@partners", "info@partners", "bob@p"} {
		partners.users[claimed] = partners.users["mallory"]
	}
	for typed, want := range map[string]string{
		"bob@partners": "bob@partners", "BOB@Partners": "bob@partners", `PARTNERS\bob`: "bob@partners", "bob": "bob@partners",
		"info@partners": "mallory@partners", "bob@p": "mallory@partners",
	} {
		if u, err := j.Lookup(t.Context(), typed); err != nil || u.Name != want {
			t.Errorf("Lookup(%q) = %v, %v, want %s", typed, u, err, want)
		}
	}
	partners.down = true
	if u, err := j.Lookup(t.Context(), "bob@partners"); !errors.Is(err, errDown) {
		t.Errorf("Lookup = %v, %v, want %v", u, err, errDown)
	}
}

func TestJoinedOutage(t *testing.T) {
	corp, partners := newFake("alice"), newFake("alice", "carol")
	j, _ := Join(Member{Name: "corp", Directory: corp}, Member{Name: "partners", Directory: partners})
	corp.down = true
	// Nobody knows whether corp has an alice, so the other one's must not do.
	for _, name := range []string{"alice", "carol", "alice@corp"} {
		if u, err := j.Lookup(t.Context(), name); !errors.Is(err, errDown) {
			t.Errorf("Lookup(%q) = %v, %v; want %v", name, u, err, errDown)
		}
	}
	u, err := j.Lookup(t.Context(), "carol@partners")
	if err != nil {
		t.Fatalf("Lookup by suffix = %v, want carol: her directory is up", err)
	}
	if err := j.ChangePassword(t.Context(), u, "carol-right", "new"); err != nil {
		t.Errorf("ChangePassword = %v, want nil", err)
	}
	if err := j.Authenticate(t.Context(), u, "new"); err != nil {
		t.Errorf("Authenticate = %v, want nil", err)
	}
	if err := j.Ping(t.Context()); !errors.Is(err, errDown) || !strings.Contains(err.Error(), "corp") {
		t.Errorf("Ping = %v, want the outage of corp", err)
	}
	u.Source = "elsewhere"
	if err := j.Authenticate(t.Context(), u, "new"); err == nil || Refused(err) {
		t.Errorf("Authenticate of a user of no member = %v, want an error that is no refusal", err)
	}
}

func TestJoinMistakes(t *testing.T) {
	tests := []struct {
		name    string
		members []Member
		want    string
	}{
		{"same name", []Member{{Name: "a"}, {Name: "a"}}, "used once"},
		{"no name", []Member{{}}, "must be set"},
		{"same suffix", []Member{{Name: "a", Suffixes: []string{"x"}}, {Name: "b", Suffixes: []string{"X"}}}, "no other directory"},
		{"suffix is a name", []Member{{Name: "a"}, {Name: "b", Suffixes: []string{"A"}}}, "no other directory"},
		{"bad suffix", []Member{{Name: "a", Suffixes: []string{`x\y`}}}, "without @"},
	}
	for _, tt := range tests {
		if _, err := Join(tt.members...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Join = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
