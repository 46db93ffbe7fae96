package mail

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/directory"
	"berth/sshd/event"
)

// about is an event about somebody.
func about(typ event.Type, name string) event.Event {
	return event.Event{
		Type: typ, User: name, UserID: "id-" + name, Directory: "corp", Session: "s", Remote: netip.MustParseAddrPort("203.0.113.7:22"),
		Fields: map[string]string{"fingerprint": "SHA256:abc"},
	}
}

// TestNotices: the owner of an account gets a mail about each change, and about
// guessing one a day.
func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), person("alice", 90*oneDay, directory.StatusActive), person("disabled", oneDay, directory.StatusDisabled))
		o.settings.About = []string{expiring, "password_changed", "key_added", "login_shielded"} // not key_removed
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { o.Notify(ctx) })
		unknown := about(event.LoginShielded, "nobody")
		unknown.UserID = ""
		other := about(event.KeyAdded, "alice")
		other.UserID = "of somebody before her"
		copied := about(event.KeyAdded, "alice")
		copied.Directory = "partner"
		for _, e := range []event.Event{
			about(event.PasswordChanged, "alice"), about(event.KeyAdded, "alice"), about(event.KeyRemoved, "alice"), about(event.LoginShielded, "alice"),
			about(event.LoginShielded, "alice"), about(event.KeyAdded, "disabled"), about(event.KeyAdded, "gone"), about(event.LoginAccepted, "alice"), unknown, other, copied,
		} {
			o.Emit(e)
		}
		synctest.Wait()
		want(
			t, o.sent,
			"01-01 00 alice@example.test Your password was changed",
			"01-01 00 alice@example.test An SSH key was added to your account",
			"01-01 00 alice@example.test Too many wrong passwords for your account",
		)
		time.Sleep(25*time.Hour + time.Second)
		o.Emit(about(event.LoginShielded, "alice"))
		synctest.Wait()
		if len(o.sent) != 4 {
			t.Errorf("a day later: %q, want one more", o.sent)
		}

		// The server cannot be reached, is there again, and the last mail is sent
		// at the end.
		o.setAway(errAway)
		o.Emit(about(event.PasswordChanged, "alice"))
		time.Sleep(again)
		o.setAway(nil)
		time.Sleep(again)
		synctest.Wait()
		if len(o.sent) != 5 || o.count(event.MailFailed) != 2 {
			t.Errorf("after an outage: %q and %d failures, want one more and 2", o.sent, o.count(event.MailFailed))
		}
		o.setAway(errAway)
		o.Emit(about(event.PasswordChanged, "alice"))
		synctest.Wait()
		o.setAway(nil)
		cancel()
		running.Wait()
		if len(o.sent) != 6 {
			t.Errorf("at the end: %q, want one more", o.sent)
		}
	})
}

// TestNoticesAreBounded: nothing waits for mails, and each lost mail has an
// event.
func TestNoticesAreBounded(t *testing.T) {
	o := open(t, t.TempDir(), person("alice", oneDay, directory.StatusActive))
	for range mostNotices + 3 {
		o.Emit(about(event.KeyAdded, "alice"))
	}
	if got := o.count(event.MailFailed); got != 3 || o.events[0].Reason != event.QueueFull {
		t.Errorf("%d events, %v; want 3 about a full queue", got, o.events[:1])
	}
}
