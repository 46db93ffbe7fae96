package sshd

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/state"
)

// counted makes a server whose store holds everything against everybody, and
// lets change alter its settings.
func counted(t *testing.T, change func(*fixture, *state.Settings)) (*fixture, *state.Memory) {
	s := state.DefaultSettings()
	s.Exempt = nil
	var store *state.Memory
	f := start(t, func(f *fixture) {
		change(f, &s)
		store = state.NewMemory(s)
		f.Gate.State = store
	})
	return f, store
}

func TestLoginGrace(t *testing.T) {
	for name, says := range map[string]string{"nothing": "", "only its name": "SSH-2.0-slow\r\n"} {
		f, store := counted(t, func(f *fixture, _ *state.Settings) { f.LoginGrace = 300 * time.Millisecond })
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(nc, says)
		if _, err := io.Copy(io.Discard, nc); err != nil { // until the server closes
			t.Errorf("says %s: %v", name, err)
		}
		f.hangUp()
		if got := f.events.reasons(event.ConnectionClosed); !slices.Equal(got, []string{"login_grace_over"}) {
			t.Errorf("says %s: reasons = %q", name, got)
		}
		if _, _, sources := store.Counts(); sources != 1 {
			t.Errorf("says %s: held against %d sources, want 1", name, sources)
		}
	}
}

func TestTriesAreLimited(t *testing.T) {
	f := start(t, func(f *fixture) { f.Gate.MaxTries = 3 })
	wrong := ssh.PasswordCallback(func() (string, error) { return "x", nil })
	if _, _, err := f.dial(t, "alice", ssh.RetryableAuthMethod(wrong, 10)); err == nil {
		t.Fatal("logged in")
	}
	if f.people.binds != 3 {
		t.Errorf("%d passwords were tried on one connection, want 3", f.people.binds)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	f := start(t, func(f *fixture) { f.MaxConnections = 1 })
	f.must(t)
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		t.Error("the second connection was served")
	}
	f.Sessions() // waits for accept, which reports the refusal at its end
	if got := f.events.reasons(event.ConnectionRefused); !slices.Equal(got, []string{"too_many_connections"}) {
		t.Errorf("reasons = %q", got)
	}
}

// TestRefusedAtTheDoor checks that a refused connection costs nothing: the
// server sends no byte and computes nothing.
func TestRefusedAtTheDoor(t *testing.T) {
	for reason, shut := range map[string]func(*fixture, *state.Settings){
		"source_blocked":            func(_ *fixture, s *state.Settings) { s.Blocked = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
		"too_many_logins":           func(_ *fixture, s *state.Settings) { s.MaxStartups = state.Startups{Begin: 1, Rate: 100, Full: 1} },
		"too_many_logins_of_source": func(_ *fixture, s *state.Settings) { s.StartupsPerSource = 1 },
	} {
		f, _ := counted(t, shut)
		first, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if reason != "source_blocked" { // the first one is let in, and stays
			if _, err := io.ReadFull(first, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		if said, err := io.ReadAll(nc); err != nil || len(said) > 0 {
			t.Errorf("%s: the server said %q, %v", reason, said, err)
		}
		got := f.events.reasons(event.ConnectionRefused)
		if !slices.Contains(got, reason) {
			t.Errorf("reasons = %q, want %s", got, reason)
		}
	}
}

func TestSessionsInTotal(t *testing.T) {
	f, _ := counted(t, func(_ *fixture, s *state.Settings) { s.MaxSessions = 1 })
	f.must(t)
	if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
		t.Error("the second session was opened")
	}
	if got := f.events.reasons(event.LoginDenied); !slices.Equal(got, []string{"too_many_sessions_in_total"}) {
		t.Errorf("reasons = %q", got)
	}
}

// TestRefusedWithoutFault: somebody who was refused for a reason that is not theirs has
// not left without a try.
func TestRefusedWithoutFault(t *testing.T) {
	for reason, happens := range map[event.Reason]func(*fixture) (io.Closer, error){
		event.UserSessions: func(f *fixture) (io.Closer, error) {
			f.change(func(p *policy.Policy) { p.Limits.Sessions = 1 })
			c, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key))
			return c, err
		},
		event.NoRule: func(f *fixture) (io.Closer, error) {
			f.revocable()()
			return io.NopCloser(nil), nil
		},
		event.DirectoryUnavailable: func(f *fixture) (io.Closer, error) {
			f.people.down = true
			return io.NopCloser(nil), nil
		},
	} {
		f, store := counted(t, func(*fixture, *state.Settings) {})
		first, err := happens(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.dial(t, "alice", ssh.PublicKeys(f.key)); err == nil {
			t.Errorf("%v: logged in", reason)
		}
		first.Close()
		f.hangUp()
		if held := store.Penalties(); len(held) > 0 {
			t.Errorf("%v: a penalty of %v", reason, held[0].Left)
		}
	}
}
