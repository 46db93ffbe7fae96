package sshd

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
)

// TestDrainWaitsForFiles: a drain does not close a connection with an open file,
// however quiet the client is. Between two files the client has a moment, but not for
// ever, and after lastOpens no file can be opened.
func TestDrainWaitsForFiles(t *testing.T) {
	f := start(t)
	files, err := sftp.NewClient(f.must(t))
	if err != nil {
		t.Fatal(err)
	}
	open, err := files.Create("/f")
	if err != nil {
		t.Fatal(err)
	}
	c, since := f.connections()[0], time.Now()
	f.draining.Store(&since)
	if !c.busy(since.Add(time.Hour)) {
		t.Error("a connection with an open file is not busy")
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	c.touch()
	if now := time.Now(); !c.busy(now) || c.busy(now.Add(2*quiet)) {
		t.Errorf("busy between two files: %t, and later: %t; want only the first", c.busy(now), c.busy(now.Add(2*quiet)))
	}
	since = time.Now().Add(-2 * lastOpens)
	f.draining.Store(&since)
	if c.touch(); c.busy(time.Now()) {
		t.Error("busy without a file long after the drain began")
	}
	if _, err := files.Open("/f"); err == nil {
		t.Error("a file was opened long after the drain began")
	}
	if got := f.events.reasons(event.FileOpenFailed); len(got) != 1 {
		t.Errorf("%d events of files that were not opened, want one", len(got))
	}
}

// TestWatch: Watch itself looks users up every Recheck, and ends sessions at the hour
// at which their rules end.
func TestWatch(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"recheck": func(f *fixture) { f.Recheck = time.Second },
		"hours": func(f *fixture) {
			f.Recheck = 0
			f.change(func(p *policy.Policy) { p.ValidUntil = time.Now().Add(time.Nanosecond) })
		},
		"idle": func(f *fixture) { f.Recheck, f.Idle = 0, time.Nanosecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, change)
			run1(t, f.must(t), "help", "")
			f.people.mu.Lock()
			delete(f.people.users, "alice")
			f.people.mu.Unlock()
			go f.Watch(t.Context())
			eventually(t, "the session ends", func() bool { return len(f.connections()) == 0 })
		})
	}
}

// TestWatchDoesNotWait: sessions end in time while a directory leaves a review without an
// answer.
func TestWatchDoesNotWait(t *testing.T) {
	t.Parallel()
	f := start(t, func(f *fixture) { f.Recheck, f.Idle = time.Second, 3*time.Second })
	run1(t, f.must(t), "help", "")
	asked, answer := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(asked) })
	f.Gate.Directory = downDirectory{f.people, func([]string) { first(); <-answer }}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.Watch(ctx) }()
	<-asked
	eventually(t, "the session ends", func() bool { return len(f.connections()) == 0 })
	end()
	select {
	case <-ended:
		t.Error("Watch has ended before its review")
	case <-time.After(10 * time.Millisecond):
	}
	close(answer)
	<-ended
}

// TestWhatEndsIsForgotten: after services, logins and connections have ended, nothing
// of them is counted.
func TestWhatEndsIsForgotten(t *testing.T) {
	f := start(t)
	c := f.must(t)
	run1(t, c, "help", "")
	open := f.connections()[0]
	eventually(t, "no service runs", func() bool { return len(open.runningSessions()) == 0 })
	if _, _, err := f.dial(t, "alice", ssh.Password("x")); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	probe, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	probe.Close()
	counts := f.Gate.State.(interface {
		Counts() (logins, sessions, sources int)
	}).Counts
	eventually(t, "no login is under way", func() bool { logins, sessions, _ := counts(); return logins == 0 && sessions == 1 })
	c.Close()
	f.hangUp()
	if logins, sessions, _ := counts(); logins != 0 || sessions != 0 {
		t.Errorf("%d logins and %d sessions are counted, want none", logins, sessions)
	}
	if all := f.budget.all; all != (holding{}) || len(f.budget.users) != 0 {
		t.Errorf("the budget holds %+v of %d users, want nothing", all, len(f.budget.users))
	}
}

// TestOneServiceAChannel: a second service on a channel is refused, and so is a
// terminal after the first.
func TestOneServiceAChannel(t *testing.T) {
	f := start(t)
	ch, requests, err := f.must(t).OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	command := func(line string) []byte { return ssh.Marshal(struct{ Command string }{line}) }
	for i, r := range []struct {
		kind    string
		payload []byte
		want    bool
	}{
		{"window-change", nil, false}, // there is no terminal
		{"exec", command("passwd"), true},
		{"exec", command("help"), false},
		{"shell", nil, false},
		{"pty-req", nil, false},
	} {
		if ok, err := ch.SendRequest(r.kind, true, r.payload); ok != r.want || err != nil {
			t.Errorf("request %d, %s: accepted %t, %v; want %t", i, r.kind, ok, err, r.want)
		}
	}
	if got := f.events.reasons(event.ServiceRefused); len(got) != 2 || got[0] != event.SecondService.String() {
		t.Errorf("reasons = %q, want twice %s", got, event.SecondService)
	}
}

// TestTransferEvents: the size of a file that was written, its sum, and no sum of a
// transfer that failed, that left a part out, or after which the file has something else.
func TestTransferEvents(t *testing.T) {
	for name, tt := range map[string]struct {
		do     func(*observed) error
		size   int64
		sum    bool
		failed bool
	}{
		"whole":               {func(o *observed) error { return put(o, false, "abc", "def") }, 6, true, false},
		"gap":                 {func(o *observed) error { return put(o, false, "abc", "", "def") }, 7, false, false},
		"abort":               {func(o *observed) error { return put(o, true, "abc") }, 0, false, true},
		"beginning of a file": {func(o *observed) error { return errors.Join(put(o, false, "abcdef"), put(o, false, "123")) }, 6, false, false},
		"cut":                 {func(o *observed) error { return putAndCut(o, 3) }, 3, false, false},
		"cut and made longer": {func(o *observed) error { return putAndCut(o, 0, 6) }, 6, false, false},
		"size of the whole":   {func(o *observed) error { return putAndCut(o, 6) }, 6, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(f *fixture) { f.Checksums = true })
			run1(t, f.must(t), "help", "")
			o, err := f.connections()[0].observe("sftp")
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			if err := tt.do(o); err != nil {
				t.Fatal(err)
			}
			kind := event.FileWriteClosed
			if tt.failed {
				kind = event.FileWriteFailed
			}
			if e := f.events.last(kind); e.Size != tt.size || (e.SHA256 != "") != tt.sum || e.HostPath == "" || (e.Err != nil) != tt.failed {
				t.Errorf("event %+v, want size %d, a sum: %t", e, tt.size, tt.sum)
			}
			if n := len(f.connections()[0].transfers()) + int(o.openFiles.Load()); n != 0 {
				t.Errorf("%d files are counted as open, want none", n)
			}
		})
	}
}

// putAndCut writes a file of six bytes and sets its size.
func putAndCut(o *observed, sizes ...int64) error {
	w, err := o.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = w.WriteAt([]byte("abcdef"), 0)
	for _, size := range sizes {
		err = errors.Join(err, w.SetAttr(fs.Attr{Set: fs.AttrSize, Size: size}))
	}
	return errors.Join(err, w.Close())
}

// put writes pieces to a new file one after another; an empty piece leaves out a byte.
func put(o *observed, abort bool, pieces ...string) error {
	w, err := o.OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	var off int64
	for _, p := range pieces {
		if _, err := w.WriteAt([]byte(p), off); err != nil {
			return err
		}
		off += int64(max(len(p), 1))
	}
	if abort {
		return w.Abort()
	}
	return w.Close()
}

// TestRulesChangeDuringALogin: a login that the old rules decided is decided again by
// the new ones before it can do anything.
func TestRulesChangeDuringALogin(t *testing.T) {
	f := start(t)
	resolve := f.Gate.Rules
	var changed atomic.Bool
	f.Gate.Rules = rules(func(q policy.Request) (*policy.Policy, error) {
		if changed.Swap(true) {
			return nil, &policy.Denied{Reason: policy.NoRule}
		}
		p, err := resolve.Resolve(q)
		f.Reconsider(t.Context())
		return p, err
	})
	_, _, _ = f.dial(t, "alice", ssh.PublicKeys(f.key)) // the client may be in before it is out
	eventually(t, "the session ends", func() bool { return len(f.connections()) == 0 })
	if got := f.events.reasons(event.LoginRevoked); !slices.Equal(got, []string{"no_rule"}) {
		t.Errorf("reasons = %q, want the session to end by the new rules", got)
	}
}

// TestKeepAliveWaits: a client is asked again no sooner than KeepAlive after it was
// asked before, or one slow answer would end the session within seconds.
func TestKeepAliveWaits(t *testing.T) {
	f := start(t)
	run1(t, f.must(t), "help", "")
	c, now := f.connections()[0], time.Now().Add(time.Hour)
	c.asked = now.Add(-f.KeepAlive / 2)
	before := c.asked
	c.enforceLimits(now)
	if c.asked != before {
		t.Error("the client was asked again too soon")
	}
}

// TestKickByName: an operator may write a user's name in any case. A session without a
// service ends at once, since nobody waits for its exit status.
func TestKickByName(t *testing.T) {
	f := start(t)
	f.must(t)
	eventually(t, "alice is in", func() bool { return len(f.Sessions()) == 1 })
	if got := f.Kick("bob"); len(got) != 0 {
		t.Errorf("Kick of somebody else = %+v, want none", got)
	}
	if got := f.Kick("ALICE"); len(got) != 1 || got[0].User != "alice" {
		t.Errorf("Kick = %+v, want alice's session", got)
	}
	if got := f.Kick("alice"); len(got) != 0 {
		t.Errorf("Kick of a session that is being ended = %+v, want none", got)
	}
	eventually(t, "the session ends", func() bool { return len(f.connections()) == 0 })
}
