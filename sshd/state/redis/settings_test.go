package redis

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/sshd/state"
	"berth/sshd/state/statetest"
	"berth/test/peers"
)

// TestPing: the error says what is wrong with Redis, and contains no
// password.
func TestPing(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t, "--requirepass", "secret-of-redis")
	file := filepath.Join(t.TempDir(), "password")
	for password, want := range map[string]string{"": "NOAUTH", "wrong-secret": "WRONGPASS", "secret-of-redis": ""} {
		s := DefaultSettings()
		s.URLs = []string{r.URL}
		if password != "" {
			if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s.PasswordFile = file
		}
		err := Ping(s)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("with the password %q: %v, want %q", password, err, want)
		}
	}
	s := DefaultSettings()
	s.URLs = []string{"redis://127.0.0.1:1"}
	if err := Ping(s); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestSettings: each mistake names its key and says what would be right.
func TestSettings(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Settings){
		"":                                   func(*Settings) {},
		"urls: 2 of them":                    func(s *Settings) { s.URLs = []string{"redis://a", "redis://b"} },
		"sentinel and cluster: set only one": func(s *Settings) { s.Cluster, s.Sentinel = true, "m" },
		"urls[0]: must be redis://":          func(s *Settings) { s.URLs = []string{"http://a"} },
		"urls[0]: has a user or a pass":      func(s *Settings) { s.URLs = []string{"redis://u:hidden@a"} },
		"urls: some are rediss://":           func(s *Settings) { s.URLs, s.Cluster = []string{"redis://a", "rediss://b"}, true },
		"urls[0]: a cluster has no database": func(s *Settings) { s.URLs, s.Cluster = []string{"redis://a/2"}, true },
		"urls[1]: database 3, and urls[0] 2": func(s *Settings) { s.URLs, s.Sentinel = []string{"redis://a/2", "redis://b/3"}, "m" },
		"sentinel_user and sentinel_passwor": func(s *Settings) { s.SentinelUser = "berth" },
		"sentinel_password_file: /missing":   func(s *Settings) { s.Sentinel, s.SentinelPasswordFile = "m", "/missing" },
		"password_file: /missing":            func(s *Settings) { s.PasswordFile = "/missing" },
		"ca_file, cert_file and":             func(s *Settings) { s.CAFile = "/missing" },
		"ca_file: /missing":                  func(s *Settings) { s.URLs, s.CAFile = []string{"rediss://a"}, "/missing" },
		"cert_file and key_file":             func(s *Settings) { s.URLs, s.CertFile = []string{"rediss://a"}, "/missing" },
		"prefix: \"{a}\": must be":           func(s *Settings) { s.Prefix = "{a}" },
		"timeout: 1m0s: must be":             func(s *Settings) { s.Timeout = time.Minute },
		"codes_when_lost: \"maybe\"":         func(s *Settings) { s.CodesWhenLost = "maybe" },
	} {
		s := DefaultSettings()
		s.URLs = []string{"redis://localhost"}
		change(&s)
		got := ""
		if err := errors.Join(s.Check()...); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" || strings.Contains(got, "hidden") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestRights: the rights that docs/ha.md names are enough.
func TestRights(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/ha.md")
	if err != nil {
		t.Fatal(err)
	}
	rights := regexp.MustCompile(`user berth on >PASSWORD (.*)\n`).FindStringSubmatch(string(text))
	if rights == nil {
		t.Fatal("docs/ha.md names no rights")
	}
	args := append([]string{"--user", "default", "off", "--user", "berth", "on", ">secret"}, strings.Fields(rights[1])...)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(s *Settings) { s.User, s.PasswordFile = "berth", file }
	r := peers.Redis(t, args...)
	tries := NewTries(start(t, r.URL, state.DefaultSettings(), set).Store)
	if try(t, tries, locksAt(2, time.Hour), directory.Wrong); try(t, tries, locksAt(2, time.Hour), directory.Wrong) {
		t.Error("a try too many was let through")
	}
	if up, _ := tries.store.Up(); !up {
		t.Error("a command was refused")
	}
	statetest.Run(t, 2, func(t *testing.T, s state.Settings, n int) []state.Store {
		r := peers.Redis(t, args...)
		var stores []state.Store
		for range n {
			stores = append(stores, start(t, r.URL, s, set))
		}
		return stores
	})
}
