package kerberos

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
)

func TestOpen(t *testing.T) {
	aes128, rc4, machine, http := ours, ours, ours, ours
	aes128.enctype = etypeID.AES128_CTS_HMAC_SHA1_96
	rc4.enctype = etypeID.RC4_HMAC
	machine.name = "SFTP$"
	http.name = "HTTP/sftp.corp.example"
	tests := []struct {
		name     string
		settings Settings
		entries  []entry
		want     string // part of the error; empty for none
	}{
		{"any host", Settings{}, []entry{machine, http, ours, aes128, rc4}, ""},
		{"named", Settings{Principal: service}, []entry{machine, ours}, ""},
		{"named with its realm", Settings{Principal: service + "@" + realm}, []entry{ours}, ""},
		{"host in capitals", Settings{}, []entry{{"HOST/sftp", realm, secret, 2, aes256}}, ""},
		{"another service by name", Settings{Principal: "HTTP/sftp.corp.example"}, []entry{http}, ""},
		{"RC4 where it is allowed", Settings{RC4Tickets: true}, []entry{rc4}, ""},
		{"no host", Settings{}, []entry{machine, http}, "has no key of any host/, only of HTTP/sftp.corp.example@CORP.EXAMPLE, SFTP$@CORP.EXAMPLE"},
		{"another name", Settings{Principal: "host/www.corp.example"}, []entry{ours}, "has no key of host/www.corp.example, only of host/sftp"},
		{"another realm", Settings{Principal: service + "@OTHER.EXAMPLE"}, []entry{ours}, "has no key of"},
		{"only RC4", Settings{}, []entry{rc4}, "has no AES key, only host/sftp.corp.example@CORP.EXAMPLE version 2 rc4-hmac"},
		{"empty", Settings{}, nil, "only of nobody"},
	}
	for _, tt := range tests {
		tt.settings.Keytab = filepath.Join(t.TempDir(), "keytab")
		writeKeytab(t, tt.settings.Keytab, tt.entries...)
		if len(tt.entries) == 0 {
			if err := os.WriteFile(tt.settings.Keytab, []byte{5, 2, 0, 0, 0, 0}, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Open(tt.settings)
		if tt.want == "" && err != nil {
			t.Errorf("%s: got %v, want none", tt.name, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestOpenBadFiles(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	writeKeytab(t, good, ours)
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "missing"), "missing: no such file or directory"},
		{dir, "is not a regular file"},
		{file("open", b, 0o644), "mode 0644 gives other users too much access: chmod 0640"},
		{file("nothing", nil, 0o600), "is not a keytab"},
		{file("text", []byte("[libdefaults]\n"), 0o600), "is not a keytab"},
		{file("cut", b[:len(b)-5], 0o600), "is damaged"},
		{file("minus", []byte{5, 2, 0x80, 0, 0, 0}, 0o600), "has no key"},
	}
	for _, tt := range tests {
		_, err := Open(Settings{Keytab: tt.path})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "keytab "+tt.path) {
			t.Errorf("Open(%s): got %v, want %q", tt.path, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), string(serviceKey(t, ours).KeyValue[:8])) {
			t.Errorf("Open(%s): the error holds the key", tt.path)
		}
	}
	if _, err := Open(Settings{Keytab: file("group", b, 0o640)}); err != nil {
		t.Errorf("readable by a group: got %v, want none", err)
	}
}

func FuzzKeytab(f *testing.F) {
	path := filepath.Join(f.TempDir(), "keytab")
	writeKeytab(f, path, ours)
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := (&Settings{}).parse(b)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("got %d keys, %v, want one or the other", len(keys), err)
		}
	})
}

// TestRenewed replaces the keytab as a machine's password is changed.
func TestRenewed(t *testing.T) {
	k := open(t, Settings{})
	accept := func(key entry, want error) {
		t.Helper()
		c := alice()
		c.key = key
		if _, _, _, err := k.Acceptor(remote).AcceptSecContext(c.token(t)); !errors.Is(err, want) {
			t.Errorf("version %d: got %v, want %v", key.version, err, want)
		}
	}
	next := entry{service, realm, "next-Passw0rd", 3, aes256}
	accept(ours, nil)
	accept(next, ErrWrongKey)
	writeKeytab(t, k.settings.Keytab, ours, next)
	accept(ours, nil)
	accept(next, nil)
	writeKeytab(t, k.settings.Keytab, next)
	accept(ours, ErrWrongKey)
	if err := os.WriteFile(k.settings.Keytab, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	accept(next, nil)
	if err := k.Err(); err == nil || !strings.Contains(err.Error(), "is not a keytab") {
		t.Errorf("Err: got %v, want that it is not a keytab", err)
	}
	if err := os.Remove(k.settings.Keytab); err != nil {
		t.Fatal(err)
	}
	accept(next, nil)
	writeKeytab(t, k.settings.Keytab, ours)
	if err := k.Err(); err != nil {
		t.Errorf("Err: got %v, want none", err)
	}
	accept(ours, nil)
}

func TestUser(t *testing.T) {
	tests := []struct {
		realms    []Realm
		principal string
		want      string
		err       error
	}{
		{nil, "alice@CORP.EXAMPLE", "alice", nil},
		{nil, "alice@OTHER.EXAMPLE", "", ErrForeignRealm},
		{nil, "alice@corp.example", "", ErrForeignRealm},
		{nil, "alice@", "", ErrForeignRealm},
		{nil, "alice", "", ErrNotAPerson},
		{nil, "", "", ErrNotAPerson},
		{nil, "@CORP.EXAMPLE", "", ErrNotAPerson},
		{nil, "alice/admin@CORP.EXAMPLE", "", ErrNotAPerson},
		{nil, `alice\/admin@CORP.EXAMPLE`, "", ErrNotAPerson},
		{nil, `alice\@else.example@CORP.EXAMPLE`, "", ErrNotAPerson},
		{nil, "alice@else@CORP.EXAMPLE", "", ErrNotAPerson},
		{nil, "al\x00ice@CORP.EXAMPLE", "", ErrNotAPerson},
		{nil, `al\ice@CORP.EXAMPLE`, "", ErrNotAPerson},
		{nil, "al\xffice@CORP.EXAMPLE", "", ErrNotAPerson},
		{[]Realm{{Name: "PARTNER.EXAMPLE"}}, "alice@CORP.EXAMPLE", "", ErrForeignRealm},
		{[]Realm{{Name: "CORP.EXAMPLE"}, {Name: "PARTNER.EXAMPLE", User: "%u@partner.example"}}, "alice@PARTNER.EXAMPLE", "alice@partner.example", nil},
		{[]Realm{{Name: "PARTNER.EXAMPLE", User: `PARTNER\%u`}}, "100%u@PARTNER.EXAMPLE", `PARTNER\100%u`, nil},
	}
	for _, tt := range tests {
		got, _, err := open(t, Settings{Realms: tt.realms}).User(tt.principal)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("User(%q) with %v: got %q, %v, want %q, %v", tt.principal, tt.realms, got, err, tt.want, tt.err)
		}
	}
}

// TestDirectoryOfRealm binds what a ticket proves to one directory.
func TestDirectoryOfRealm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keytab")
	writeKeytab(t, path, ours)
	both := []Realm{{Name: "CORP.EXAMPLE", Directory: "corp"}, {Name: "PARTNER.EXAMPLE", User: "%u@partner", Directory: "partner"}}
	for _, tt := range []struct {
		realms                  []Realm
		directories             []string
		principal               string
		wantName, wantDirectory string
	}{
		{nil, nil, "bob@CORP.EXAMPLE", "bob", ""},
		{nil, []string{"corp"}, "bob@CORP.EXAMPLE", "bob", "corp"},
		{[]Realm{{Name: "CORP.EXAMPLE"}}, []string{"corp"}, "bob@CORP.EXAMPLE", "bob", "corp"},
		{both, []string{"corp", "partner"}, "bob@CORP.EXAMPLE", "bob", "corp"},
		{both, []string{"partner", "corp"}, "bob@CORP.EXAMPLE", "bob", "corp"},
		{both, []string{"corp", "partner"}, "bob@PARTNER.EXAMPLE", "bob@partner", "partner"},
	} {
		k, err := Open(Settings{Keytab: path, Realms: tt.realms}, tt.directories...)
		if err != nil {
			t.Fatal(err)
		}
		if name, directory, err := k.User(tt.principal); err != nil || name != tt.wantName || directory != tt.wantDirectory {
			t.Errorf("%s with %v and %v: got %q, %q, %v, want %q, %q", tt.principal, tt.realms, tt.directories, name, directory, err, tt.wantName, tt.wantDirectory)
		}
	}
	for _, tt := range []struct {
		realms      []Realm
		directories []string
		want        string
	}{
		{nil, []string{"corp", "partner"}, "realms: missing: there are 2 directories"},
		{[]Realm{both[0], {Name: "PARTNER.EXAMPLE"}}, []string{"corp", "partner"}, `realms[1].directory: "": must be the name of a directory: corp, partner`},
		{both, []string{"corp", "other"}, `realms[1].directory: "partner": must be the name of a directory: corp, other`},
		{both[1:], []string{"corp"}, `realms[0].directory: "partner": must be the name of a directory: corp`},
	} {
		s := Settings{Keytab: path, Realms: tt.realms}
		if errs := s.Check(tt.directories...); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), tt.want) {
			t.Errorf("%v with %v: got %v, want %q", tt.realms, tt.directories, errs, tt.want)
		}
		if _, err := Open(s, tt.directories...); err == nil {
			t.Errorf("%v with %v: Open accepts it", tt.realms, tt.directories)
		}
	}
	if off := (&Settings{}).Check("corp", "partner"); off != nil {
		t.Errorf("without a keytab: %v", off)
	}
}

func TestPrincipal(t *testing.T) {
	for want, components := range map[string][]string{
		"alice@R":           {"alice"},
		"alice/admin@R":     {"alice", "admin"},
		`alice\/admin@R`:    {"alice/admin"},
		`alice\@CORP@R`:     {"alice@CORP"},
		`back\\slash/x\/@R`: {`back\slash`, "x/"},
		"@R":                nil,
	} {
		if got := principal(components, "R"); got != want {
			t.Errorf("principal(%q): got %q, want %q", components, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name     string
		settings Settings
		want     []string // the key that each error names
	}{
		{"off", Settings{}, nil},
		{"plain", Settings{Keytab: "/k"}, nil},
		{"all", Settings{Keytab: "/k", Principal: service, Realms: []Realm{{Name: "A"}, {Name: "B", User: "%u@b"}}, RC4Tickets: true}, nil},
		{"no keytab", Settings{Principal: service}, []string{"keytab"}},
		{"no host", Settings{Keytab: "/k", Principal: "host"}, []string{"principal"}},
		{
			"realms",
			Settings{Keytab: "/k", Realms: []Realm{{}, {Name: "A", User: "user"}, {Name: "A", User: "%u%u"}, {Name: "@B", User: "%x%u"}}},
			[]string{"realms[0].name", "realms[1].user", "realms[2].name", "realms[2].user", "realms[3].name", "realms[3].user"},
		},
	}
	for _, tt := range tests {
		var got []string
		for _, err := range tt.settings.Check() {
			key, _, _ := strings.Cut(err.Error(), ":")
			got = append(got, key)
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: got errors about %q, want %q", tt.name, got, tt.want)
		}
	}
}
