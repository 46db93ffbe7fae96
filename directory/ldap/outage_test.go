package ldap_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/directory"
	"berth/directory/ldap"
	"berth/test/peers"
)

// impatient are settings with which a server that was down is soon found to be
// back. The limits are the usual ones: a busy machine needs them.
func impatient(p *peers.Peer, more ...*peers.Peer) ldap.Settings {
	s := settings(p)
	for _, q := range more {
		s.URLs = append(s.URLs, q.LDAPS)
	}
	s.ProbeEvery = 10 * time.Millisecond
	return s
}

// twins starts two servers that know the same people. Their certificates come
// from different authorities, so the file holds both.
func twins(t *testing.T) (a, b *peers.Peer, s ldap.Settings) {
	t.Helper()
	a, b = peers.OpenLDAP(t), peers.OpenLDAP(t)
	s = impatient(a, b)
	s.CAFile = joinFiles(t, a.CAFile, b.CAFile)
	return a, b, s
}

// works expects that a person can be looked up and log in, at the first try.
func works(t *testing.T, d directory.Directory, when string) {
	t.Helper()
	u, err := d.Lookup(t.Context(), "alice")
	if err != nil {
		t.Errorf("%s: Lookup = %v, want alice", when, err)
		return
	}
	if err := d.Authenticate(t.Context(), u, peers.Password("alice")); err != nil {
		t.Errorf("%s: Authenticate = %v, want nil", when, err)
	}
}

func TestFailover(t *testing.T) {
	a, b, s := twins(t)
	c := open(t, s)
	works(t, c, "both up")
	a.Kill()
	works(t, c, "first killed")
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	works(t, c, "first back")
	b.Kill()
	works(t, c, "second killed")
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err := a.Pause(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { works(t, c, "first hangs") })
	}
	wg.Wait()
	t.Logf("20 logins at once while the first hangs: %v", time.Since(start)) // how long is TestStoppedServer's
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil {
		t.Fatalf("first hangs: Lookup = %v, want alice from the second", err)
	}
	works(t, c, "first hangs")
	if err := a.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Authenticate(t.Context(), u, "wrong"); !errors.Is(err, directory.ErrBadPassword) {
		t.Errorf("Authenticate with a wrong password = %v, want ErrBadPassword", err)
	}
}

// TestImpatientCaller: a caller with little time left says nothing about the server.
func TestImpatientCaller(t *testing.T) {
	c := open(t, settings(peers.OpenLDAP(t)))
	u := find(t, c, "alice")
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := c.Authenticate(ctx, u, peers.Password("alice")); err == nil || directory.Refused(err) {
		t.Errorf("Authenticate without time = %v, want an error that is no refusal", err)
	}
	for _, s := range c.Traffic() {
		if !s.Up || s.Failures > 0 {
			t.Errorf("%s is down because a caller had no time", s.URL)
		}
	}
}

// TestRestartIsInvisible restarts the only server under a pooled connection.
func TestRestartIsInvisible(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, impatient(p))
	for range 3 {
		works(t, c, "before")
		p.Kill()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		works(t, c, "after the restart")
	}
}

// TestNoWrongAnswers kills and stops servers under load. Not every question gets
// an answer then, but no answer is wrong.
func TestNoWrongAnswers(t *testing.T) {
	a, b, s := twins(t)
	c := open(t, s)
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	nobody := &directory.User{Name: "nobody", DN: "uid=nobody,ou=people,dc=example,dc=test"}
	var asked, silent atomic.Int64
	count := func(err error) {
		asked.Add(1)
		if err != nil && !directory.Refused(err) {
			silent.Add(1)
		}
	}
	questions := []func(){
		func() {
			got, err := c.Lookup(t.Context(), "alice")
			if directory.Refused(err) || (err == nil && (got.Name != "alice" || len(got.Groups) != 5 || got.State.Err() != nil)) {
				t.Errorf("Lookup = %v, %v; want alice as she is, or no answer", got, err)
			}
			count(err)
		},
		func() {
			got, err := c.Lookup(t.Context(), "nobody")
			if err == nil || directory.Refused(err) != errors.Is(err, directory.ErrNoUser) {
				t.Errorf("Lookup of nobody = %v, %v; want ErrNoUser or no answer", got, err)
			}
			count(err)
		},
		func() {
			err := c.Authenticate(t.Context(), u, peers.Password("alice"))
			if directory.Refused(err) {
				t.Errorf("Authenticate with the right password = %v, want nil or no answer", err)
			}
			count(err)
		},
		func() {
			err := c.Authenticate(t.Context(), nobody, "guess")
			if err == nil || directory.Refused(err) != errors.Is(err, directory.ErrBadPassword) {
				t.Errorf("Authenticate of nobody = %v, want ErrBadPassword or no answer", err)
			}
			count(err)
		},
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, ask := range questions {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					ask()
				}
			}
		})
	}
	restart := func(p *peers.Peer) {
		p.Kill()
		answers(t, c)
		if err := p.Start(); err != nil {
			t.Error(err)
		}
	}
	hang := func(p *peers.Peer) {
		if err := p.Pause(); err != nil {
			t.Error(err)
		}
		answers(t, c)
		if err := p.Resume(); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		restart(a)
		hang(a)
		restart(b)
		hang(b)
		if err := a.Pause(); err != nil {
			t.Error(err)
		}
		restart(b)
		if err := a.Resume(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d questions, %d without an answer, no wrong answer", asked.Load(), silent.Load())
	if asked.Load()-silent.Load() < 100 {
		t.Error("hardly any question got an answer")
	}
}

// answers lets some questions pass.
func answers(t *testing.T, c *ldap.Client) {
	for range 20 {
		if err := c.Ping(t.Context()); directory.Refused(err) {
			t.Errorf("Ping = %v, want nil or no answer", err)
		}
	}
}

// joinFiles returns a file with the content of several.
func joinFiles(t *testing.T, paths ...string) string {
	t.Helper()
	var all []byte
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	joined := filepath.Join(t.TempDir(), "joined")
	if err := os.WriteFile(joined, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return joined
}
