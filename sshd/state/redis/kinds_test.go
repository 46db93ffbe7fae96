package redis

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/directory"
	"berth/fs"
	"berth/sshd/state"
	"berth/sshd/state/statetest"
	"berth/test/peers"
)

// everything runs what a Redis must be able to do, on two nodes with these settings.
func everything(t *testing.T, url func(*testing.T) string, set func(*Settings)) {
	t.Helper()
	statetest.Run(t, 2, func(t *testing.T, s state.Settings, n int) (all []state.Store) {
		u := url(t)
		for range n {
			all = append(all, start(t, u, s, set))
		}
		return all
	})
	statetest.RunCounters(t, 2, func(t *testing.T, n int) (all []fs.Counter) {
		u := url(t)
		for range n {
			all = append(all, start(t, u, state.DefaultSettings(), set).Counter(testDir))
		}
		return all
	})
	u := url(t)
	first := start(t, u, state.DefaultSettings(), set)
	second := start(t, u, state.DefaultSettings(), set, func(s *Store) { s.Answer = strings.ToUpper })
	together(t, first, second)
	if answers, err := first.Ask(t.Context(), second.node, "hello"); err != nil || len(answers) != 1 || answers[0].Text != "HELLO" {
		t.Errorf("a question to the other node: %v, %v", answers, err)
	}
	tries := NewTries(first.Store)
	if !try(t, tries, locksAt(2, time.Hour), directory.Wrong) || try(t, tries, locksAt(2, time.Hour), directory.Wrong) {
		t.Error("of two wrong passwords one asks the directory")
	}
	if up, _ := first.Up(); !up {
		t.Error("a command failed")
	}
}

// TestTLS: a Redis with TLS, to which nodes show a certificate, a user and a password.
func TestTLS(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, tls := peers.RedisTLS(t, "--user", "default", "off", "--user", "berth", "on", ">secret", "~*", "&*", "+@all")
	set := func(s *Settings) {
		s.CAFile, s.CertFile, s.KeyFile = tls+"/ca.pem", tls+"/server.pem", tls+"/server.key"
		s.User, s.PasswordFile = "berth", password
	}
	everything(t, func(t *testing.T) string { // an empty one each time
		n := start(t, r.URL, state.DefaultSettings(), set)
		if err := n.client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		n.end()
		return r.URL
	}, set)
	for want, change := range map[string]func(*Settings){
		"":                    func(*Settings) {},
		"unknown authority":   func(s *Settings) { s.CAFile = "" },
		"certificate require": func(s *Settings) { s.CertFile, s.KeyFile = "", "" },
		"WRONGPASS":           func(s *Settings) { s.User = "default" },
	} {
		s := DefaultSettings()
		s.URLs = []string{r.URL}
		set(&s)
		change(&s)
		var err error
		for range 10 { // a reset of the connection may come before the alert of TLS
			if err = Ping(s); !errors.Is(err, syscall.ECONNRESET) {
				break
			}
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestChangedFiles: a new password and a new certificate are used without a restart.
func TestChangedFiles(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(password, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, tls := peers.RedisTLS(t, "--requirepass", "first-secret")
	write("first-secret")
	set := func(s *Settings) {
		s.CAFile, s.CertFile, s.KeyFile, s.PasswordFile = tls+"/ca.pem", tls+"/svc.pem", tls+"/svc.key", password
	}
	n := start(t, r.URL, state.DefaultSettings(), set)
	write("second-secret")
	if err := n.client.ConfigSet(t.Context(), "requirepass", "second-secret").Err(); err != nil {
		t.Fatal(err)
	}
	_ = n.client.Do(t.Context(), "CLIENT", "KILL", "SKIPME", "no", "TYPE", "normal").Err() // of the connection that sends it
	eventually(t, "new connections have the new password", func() bool {
		_, err := n.Acquire("alice", 0)
		up, _ := n.Up()
		return err == nil && up && n.missed()
	})
	o, err := n.settings.options()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(tls+"/server.pem", tls+"/svc.pem"), os.Rename(tls+"/server.key", tls+"/svc.key")); err != nil {
		t.Fatal(err)
	}
	shown, err := o.TLSConfig.GetClientCertificate(nil)
	if err != nil || shown.Leaf.Subject.CommonName != "localhost" {
		t.Errorf("the certificate that is shown: %v, %v; want that of the server", shown, err)
	}
}

// TestSentinelWithPassword: sentinels have a user and a password of their own.
func TestSentinelWithPassword(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret-of-sentinel\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := peers.Redis(t)
	sentinel := r.Sentinel(t, "user default off", "user berth on >secret-of-sentinel allchannels +@all")
	set := func(s *Settings) { s.Sentinel, s.SentinelUser, s.SentinelPasswordFile = "berth", "berth", file }
	n := start(t, sentinel.URL, state.DefaultSettings(), set)
	if err := n.UseCode("alice", 10, true); err != nil {
		t.Error(err)
	}
	s := DefaultSettings()
	s.URLs, s.Sentinel = []string{sentinel.URL}, "berth"
	if err := Ping(s); err == nil {
		t.Error("a node without the password of the sentinel finds the master")
	}
}

// TestCluster: all that a script needs is on one of the servers of a cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	var urls []string
	for _, r := range peers.RedisCluster(t) {
		urls = append(urls, r.URL)
	}
	runs := 0
	set := func(s *Settings) { s.Cluster = true }
	everything(t, func(*testing.T) string { return strings.Join(urls, " ") }, func(s *Settings) {
		set(s)
		s.Prefix = strings.Repeat("b", runs/2+1) // others than before, and another of the servers
		runs++
	})
}

// TestDatabases: nodes in two databases of one Redis, whose channels reach both, know
// nothing of each other and ask each other nothing.
func TestDatabases(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	var asked atomic.Int32
	listens := func(s *Store) {
		s.Answer = func(string) string { asked.Add(1); return "done" }
	}
	other := start(t, r.URL+"/1", state.DefaultSettings(), nil, listens)
	here := start(t, r.URL+"/0", state.DefaultSettings(), nil)
	friend := start(t, r.URL+"/0", state.DefaultSettings(), nil, listens)
	together(t, here, friend)
	together(t, other)
	source := netip.MustParseAddr("192.0.2.7")
	for range 20 {
		here.Penalize(source, state.LoginFailed)
	}
	eventually(t, "the friend knows the penalty", func() bool { return friend.Barred(source) != nil })
	answers, err := here.Ask(t.Context(), "", "drain")
	if err != nil || len(answers) != 1 {
		t.Fatalf("answers %v, %v", answers, err)
	}
	// Messages arrive in order: when the other node has this one, it has all
	// before it.
	if err := other.client.Publish(t.Context(), other.key, `{"ask":{"id":"last","from":"nobody"}}`).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other node answers", func() bool { return other.client.Exists(t.Context(), other.key+":answers:last").Val() == 1 })
	if n := asked.Load(); n != 2 {
		t.Errorf("%d questions were answered, want that of the friend and the last", n)
	}
	if err := other.Barred(source); err != nil {
		t.Errorf("a penalty of another database: %v", err)
	}
}
