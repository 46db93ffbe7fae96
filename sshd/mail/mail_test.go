package mail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"berth/directory"
	"berth/sshd/event"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // of the days in mails: the tests begin at midnight
	goleak.VerifyTestMain(m)
}

// office is a directory of a few people, a mail server, and who sends.
type office struct {
	directory.Directory
	*Mailer
	users []*directory.User
	down  error // of the directory

	mu     sync.Mutex
	away   error // of the mail server
	sent   []string
	events []event.Event
}

func (o *office) Users(context.Context) iter.Seq2[*directory.User, error] {
	return func(yield func(*directory.User, error) bool) {
		for _, u := range o.users {
			if !yield(u, nil) {
				return
			}
		}
		if o.down != nil {
			yield(nil, o.down)
		}
	}
}

func (o *office) Lookup(_ context.Context, name string) (*directory.User, error) {
	if o.down != nil {
		return nil, o.down
	}
	for _, u := range o.users {
		if u.Name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("%w", directory.ErrNoUser)
}

type sinkFunc func(event.Event)

func (f sinkFunc) Emit(e event.Event) { f(e) }

// open makes a mailer that has its state in dir.
func open(t *testing.T, dir string, users ...*directory.User) *office {
	t.Helper()
	s := DefaultSettings()
	s.Server, s.From, s.Host = "smtp.example.test:587", "Berth <berth@example.test>", "sftp.example.test"
	m, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{Mailer: m, users: users}
	m.People, m.Ledger, m.Log = o, &File{Path: filepath.Join(dir, "mail.json")}, hclog.NewNullLogger()
	m.Rules = func(u *directory.User) (bool, bool) { return u.Name != "stranger", u.Name != "reader" }
	m.Events = sinkFunc(func(e event.Event) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, e)
	})
	m.send = func(_ context.Context, m *message) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.away != nil {
			return o.away
		}
		o.sent = append(o.sent, time.Now().UTC().Format("01-02 15")+" "+m.to.Address+" "+m.subject)
		return nil
	}
	return o
}

func (o *office) setAway(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = err
}

func (o *office) count(typ event.Type) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Type == typ {
			n++
		}
	}
	return n
}

// watch lets the mailer work for a time.
func (o *office) watch(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	o.Watch(ctx)
}

// person is somebody whose password expires in a time.
func person(name string, in time.Duration, status directory.Status) *directory.User {
	return &directory.User{
		Identity: directory.Identity{Source: "corp", ID: "id-" + name}, Name: name,
		State: directory.State{Status: status, PasswordExpires: time.Now().Add(in)},
		Attrs: map[string][]string{"mail": {name + "@example.test"}, "displayname": {"Zoë " + name}},
	}
}

const oneDay = 24 * time.Hour

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestExpiry: four mails come on the days that are named, at a restart every seven
// hours. Clocks of synctest begin at midnight of 2000-01-01.
func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, dir, person("alice", 20*oneDay, directory.StatusActive))
		var sent []string
		for range 80 {
			o.watch(t, 7*time.Hour)
			sent = append(sent, o.sent...)
			o = open(t, dir, o.users...)
		}
		want(
			t, sent,
			"01-07 00 alice@example.test Your password expires on 2000-01-21",
			"01-14 00 alice@example.test Your password expires on 2000-01-21",
			"01-18 00 alice@example.test Your password expires on 2000-01-21",
			"01-20 00 alice@example.test Your password expires on 2000-01-21",
		)
	})
}

// TestClockGoesBack: the clock was twelve days ahead. No older mail is sent again, and
// the later ones are.
func TestClockGoesBack(t *testing.T) {
	dir := t.TempDir()
	expires := time.Date(2000, 1, 15, 0, 0, 0, 0, time.UTC)
	send := func(from, to time.Duration) (sent []string) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(from)
			o := open(t, dir, person("alice", time.Until(expires), directory.StatusActive))
			o.watch(t, to-from)
			sent = o.sent
		})
		return sent
	}
	want(t, send(12*oneDay, 12*oneDay+time.Hour), "01-13 00 alice@example.test Your password expires on 2000-01-15") // of three days
	want(t, send(0, 20*oneDay), "01-14 00 alice@example.test Your password expires on 2000-01-15")
}

// TestWhoGetsNone: only those who can log in and whom a rule lets in get mails.
func TestWhoGetsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noAddress := person("noaddress", oneDay, directory.StatusActive)
		noAddress.Attrs = nil
		forever := person("forever", oneDay, directory.StatusActive)
		forever.State.PasswordExpires = time.Time{}
		o := open(
			t, t.TempDir(), noAddress, forever,
			person("disabled", oneDay, directory.StatusDisabled), person("locked", oneDay, directory.StatusLocked),
			person("expired", oneDay, directory.StatusExpired), person("unknown", oneDay, directory.StatusUnknown),
			person("mustchange", oneDay, directory.StatusMustChange), person("pwexpired", -time.Hour, directory.StatusPasswordExpired),
			person("stranger", oneDay, directory.StatusActive), person("early", 15*oneDay, directory.StatusActive),
			person("reader", oneDay, directory.StatusOutsideHours),
		)
		o.watch(t, time.Hour)
		want(t, o.sent, "01-01 00 reader@example.test Your password expires on 2000-01-02")
		if got := o.count(event.MailSent); got != 1 {
			t.Errorf("%d events of sent mails, want 1", got)
		}
	})
}

// TestServerAway: everybody gets a mail later, nobody gets two, and each try has one
// event.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), person("alice", oneDay, directory.StatusActive), person("bob", oneDay, directory.StatusActive))
		o.setAway(fmt.Errorf("%w: connection refused", errAway))
		o.watch(t, first+2*again+time.Second)
		if got := o.count(event.MailFailed); got != 3 || len(o.sent) > 0 || o.events[0].Reason != event.MailNotSent {
			t.Errorf("%d events with the reason %s and %q, want 3 with %s and no mail", got, o.events[0].Reason, o.sent, event.MailNotSent)
		}
		o.setAway(nil)
		o.watch(t, 3*time.Hour)
		if len(o.sent) != 2 {
			t.Errorf("then %q, want one mail each", o.sent)
		}
	})
}

// TestOneIsRefused: a mail that the server refuses for now is tried again, one that it
// refuses for good is not, and others are sent.
func TestOneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), person("later", oneDay, directory.StatusActive), person("never", oneDay, directory.StatusActive), person("bob", oneDay, directory.StatusActive))
		o.users = append(o.users, person("nowhere", oneDay, directory.StatusActive))
		o.users[3].Attrs["mail"] = []string{"nowhere"}
		tries, take := map[string]int{}, o.send
		o.send = func(ctx context.Context, m *message) error {
			name, _, _ := strings.Cut(m.to.Address, "@")
			tries[name]++
			switch {
			case name == "later" && tries[name] < 3:
				return errors.New("451 greylisted")
			case name == "never":
				return fmt.Errorf("%w: 550 no such user", errFinal)
			}
			return take(ctx, m)
		}
		o.watch(t, 12*time.Hour)
		if tries["later"] != 3 || tries["never"] != 1 || tries["bob"] != 1 || tries["nowhere"] != 0 {
			t.Errorf("tries: %v", tries)
		}
		if got := o.count(event.MailFailed); got != 4 { // two of later, and those that are final
			t.Errorf("%d events of failures, want 4", got)
		}
	})
}

// TestDirectoryAway: those who could be read get their mail, and the rest later.
func TestDirectoryAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), person("alice", oneDay, directory.StatusActive))
		o.down = errors.New("connection lost")
		o.watch(t, first+time.Second)
		if len(o.sent) != 1 || o.count(event.MailFailed) != 1 {
			t.Errorf("sent %q and %v", o.sent, o.events)
		}
		o.down, o.users = nil, append(o.users, person("bob", oneDay, directory.StatusActive))
		o.watch(t, again)
		if len(o.sent) != 2 || !strings.Contains(o.sent[1], "bob@") {
			t.Errorf("then %q, want one of bob's too", o.sent)
		}
	})
}

// TestNotTwiceADay: a mail that was late is not followed by the next one the same day.
func TestNotTwiceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), person("alice", 44*time.Hour, directory.StatusActive)) // expires at 20:00 of the second day
		time.Sleep(19 * time.Hour)
		o.watch(t, 24*time.Hour) // one day before is at 20:00
		want(
			t, o.sent,
			"01-01 19 alice@example.test Your password expires on 2000-01-02",
			"01-02 00 alice@example.test Your password expires on 2000-01-02",
		)
	})
}

// TestBrokenState: without its memory the mailer sends nothing.
func TestBrokenState(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mail.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := open(t, dir, person("alice", oneDay, directory.StatusActive))
		o.watch(t, time.Hour)
		if len(o.sent) > 0 || o.count(event.MailFailed) == 0 || !strings.Contains(o.events[0].Detail, "state_file") {
			t.Errorf("sent %q and %v; want events about state_file only", o.sent, o.events)
		}
	})
}

// TestPlans: what --dry-run prints is what comes.
func TestPlans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		german := person("emil", 5*oneDay, directory.StatusActive)
		german.Attrs["preferredlanguage"] = []string{"de-AT, en;q=0.5"}
		bad := person("bad", 3*oneDay, directory.StatusActive)
		bad.Attrs["mail"] = []string{"a@example.test, b@example.test"}
		o := open(t, t.TempDir(), person("alice", 2*oneDay, directory.StatusActive), german, bad, person("disabled", oneDay, directory.StatusDisabled),
			person("stranger", oneDay, directory.StatusActive), person("reader", 18*oneDay, directory.StatusActive), person("late", 40*oneDay, directory.StatusActive))
		plans := func() (got []string) {
			for p, err := range o.Plans(t.Context(), time.Now().Add(14*oneDay)) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintln(p.User, p.Language, p.Days, p.At.Format("01-02"), p.Passwd, p.Problem != ""))
			}
			return got
		}
		want(t, plans(), "alice en 3 01-01 true false\n", "emil de 7 01-01 true false\n", "bad en 3 01-01 true true\n", "reader en 14 01-05 false false\n")
		o.watch(t, time.Hour)
		want(t, plans(), "alice en 1 01-02 true false\n", "emil de 3 01-03 true false\n", "bad en 1 01-03 true true\n", "reader en 14 01-05 false false\n")
	})
}

// TestCheck: each mistake is named with its key.
func TestCheck(t *testing.T) {
	good := open(t, t.TempDir()).settings
	for _, tt := range []struct {
		break_ func(*Settings)
		want   string
	}{
		{func(*Settings) {}, ""},
		{func(s *Settings) { s.Server, s.From = "", "" }, ""},
		{func(s *Settings) { s.Server = "smtp.example.test" }, "server: "},
		{func(s *Settings) { s.Server = "smtp.example.test:smtp" }, "server: "},
		{func(s *Settings) { s.From = "" }, "from: "},
		{func(s *Settings) { s.Host = "a b" }, "host: "},
		{func(s *Settings) { s.User = "berth" }, "user and password_file: "},
		{func(s *Settings) { s.About = []string{"weather"} }, "about: "},
		{func(s *Settings) { s.Days = []int{0} }, "days: "},
		{func(s *Settings) { s.AddressAttribute = "" }, "address_attribute: "},
		{func(s *Settings) { s.StateFile = "" }, "state_file: "},
	} {
		s := good
		tt.break_(&s)
		if got := fmt.Sprint(errors.Join(s.Check()...)); (tt.want == "") != (got == "<nil>") || !strings.Contains(got, tt.want) {
			t.Errorf("got %s, want %q", got, tt.want)
		}
	}
}
