package sshd

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

func TestReconsider(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "") // once it answers, the session stands
	f.people.down = true
	f.Reconsider(t.Context())
	if _, _, status := run1(t, c, "whoami", ""); status != 0 {
		t.Error("a directory that is down ended the session")
	}
	f.people.down = false
	f.people.set("alice", directory.StatusDisabled)
	f.Reconsider(t.Context())
	c.Wait()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"account_disabled"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestRightsEndAtTheirHour(t *testing.T) {
	f := start(t)
	resolve := f.Policy
	var over atomic.Bool
	f.Policy = rules(func(q policy.Request) (*policy.Policy, error) {
		if over.Load() {
			return nil, &policy.Denied{Reason: policy.NoRule}
		}
		p, err := resolve.Resolve(q)
		p.ValidUntil = time.Now().Add(time.Hour)
		return p, err
	})
	run1(t, f.must(t), "help", "") // once it answers, the session stands
	over.Store(true)
	for _, open := range f.open() {
		f.lapse(t.Context(), open, time.Now())
		if open.reason.Load() != nil {
			t.Error("ended before the hour")
		}
		f.lapse(t.Context(), open, time.Now().Add(2*time.Hour))
	}
	f.hangUp()
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
		t.Errorf("reasons = %q", got)
	}
}

func TestSessionsEndInTime(t *testing.T) {
	tests := []struct {
		name   string
		limits policy.Limits
		after  time.Duration
		want   string
	}{
		{"idle", policy.Limits{Idle: time.Minute}, time.Minute, "idle"},
		{"not idle yet", policy.Limits{Idle: time.Minute}, 50 * time.Second, ""},
		{"open too long", policy.Limits{SessionTime: time.Hour}, time.Hour, "session_time_over"},
		{"no limits", policy.Limits{}, 30 * time.Second, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			resolve := f.Policy
			f.Policy = rules(func(q policy.Request) (*policy.Policy, error) {
				p, err := resolve.Resolve(q)
				p.Limits = tt.limits
				return p, err
			})
			run1(t, f.must(t), "help", "")
			c := f.open()[0]
			c.look(time.Now().Add(tt.after))
			got := ""
			if why := c.reason.Load(); why != nil {
				got = *why
			}
			if got != tt.want {
				t.Errorf("after %v: closed for %q, want %q", tt.after, got, tt.want)
			}
		})
	}
}

// TestIdleWithAnOpenFile checks that an open file alone keeps no session, and
// that a client which takes what it asked for does.
func TestIdleWithAnOpenFile(t *testing.T) {
	f := start(t, func(f *fixture) { f.Idle = time.Minute })
	files, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Create("/f"); err != nil {
		t.Fatal(err)
	}
	c := f.open()[0]
	long := time.Now().Add(-2 * time.Minute)
	c.last.Store(long.UnixNano())
	if _, err := (taken{discarding{}, c}).Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c.look(time.Now())
	if why := c.reason.Load(); why != nil {
		t.Fatalf("closed for %q although the client takes data", *why)
	}
	c.last.Store(long.UnixNano())
	c.look(time.Now())
	if why := c.reason.Load(); why == nil || *why != "idle" {
		t.Errorf("closed for %v, want idle", why)
	}
}

// discarding is a channel that takes everything.
type discarding struct{ ssh.Channel }

func (discarding) Write(p []byte) (int, error) { return len(p), nil }

func TestSilentClientsAreLetGo(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c := f.open()[0]
	now := time.Now()
	c.silent.Store(unanswered) // as many have stayed away
	c.look(now.Add(f.KeepAlive))
	if why := c.reason.Load(); why == nil || *why != "client does not answer" {
		t.Errorf("closed for %v", why)
	}
}

func TestKeepAliveIsAnswered(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c := f.open()[0]
	c.look(time.Now().Add(f.KeepAlive))
	for c.silent.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
}
