package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	netmail "net/mail"
	"net/netip"
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

// TestServerAway: nobody is left out, nobody gets two mails, and one event a try tells.
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

// TestOneIsRefused: a mail that the server does not want now is tried again, one that it
// never wants is not, and others are sent.
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

// about is an event about somebody.
func about(typ event.Type, name string) event.Event {
	return event.Event{
		Type: typ, User: name, UserID: "id-" + name, Directory: "corp", Session: "s", Remote: netip.MustParseAddrPort("203.0.113.7:22"),
		Fields: map[string]string{"fingerprint": "SHA256:abc"},
	}
}

// TestNotices: what happens to an account is told its owner, of guessing once a day.
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

		// The server is away, comes back, and the last one goes out at the end.
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

// TestNoticesAreBounded: nobody waits for mails, and what is lost is an event.
func TestNoticesAreBounded(t *testing.T) {
	o := open(t, t.TempDir(), person("alice", oneDay, directory.StatusActive))
	for range mostNotices + 3 {
		o.Emit(about(event.KeyAdded, "alice"))
	}
	if got := o.count(event.MailFailed); got != 3 || o.events[0].Reason != event.QueueFull {
		t.Errorf("%d events, %v; want 3 about a full queue", got, o.events[:1])
	}
}

// written returns a mail to u as it is sent.
func written(t *testing.T, o *office, u *directory.User, kind, fingerprint string) (*netmail.Message, []byte) {
	t.Helper()
	var raw bytes.Buffer
	o.send = func(_ context.Context, m *message) error {
		msg, err := o.settings.compose(m)
		if err == nil {
			_, err = msg.WriteTo(&raw)
		}
		return err
	}
	if err := o.write(t.Context(), u, kind, "one", facts{Fingerprint: clean(fingerprint), Days: 3, CanChange: true, Date: "2000-01-04"}); err != nil {
		if !errors.Is(err, errFinal) {
			t.Fatal(err)
		}
		return nil, nil
	}
	text := raw.Bytes()
	parsed, err := netmail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return parsed, text
}

// TestHeaders: the headers are always the same ones.
func TestHeaders(t *testing.T) {
	o := open(t, t.TempDir())
	u := person("alice", oneDay, directory.StatusActive)
	first, _ := written(t, o, u, "key_added", "SHA256:abc")
	u.Attrs["displayname"] = []string{"Ægir \"X\" <eve@evil.test>\r\nBcc: eve@evil.test"}
	u.Name = "alice\nBcc: eve@evil.test"
	m, text := written(t, o, u, "key_added", "x\r\n.\r\nMAIL FROM")
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "Message-Id": first.Header.Get("Message-Id"), "Content-Type": "text/plain; charset=UTF-8",
		"Subject": "An SSH key was added to your account", "Bcc": "",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "alice@example.test" || !strings.HasPrefix(to[0].Name, `Ægir "X" <eve@`) {
		t.Errorf("To: %v, %v\n%s", to, err, text)
	}
	if _, domain, _ := strings.Cut(first.Header.Get("Message-Id"), "@"); domain != "example.test>" {
		t.Errorf("Message-ID %q, want the domain of the sender", first.Header.Get("Message-Id"))
	}
}

// FuzzAttributes: no attribute of a person makes another header, recipient or mail.
func FuzzAttributes(f *testing.F) {
	f.Add("alice@example.test", "Alice", "alice", "SHA256:x")
	f.Add("alice@example.test\r\nBcc: eve@evil.test", "A\r\nBcc: eve@evil.test", "a\n\nX: y", "\r\n.\r\n")
	f.Add(`"a b"@example.test`, "=?utf-8?q?A=0ABcc=3A_eve=40evil.test?=", "\u202eecila", "\x00")
	f.Add("a@b, eve@evil.test", strings.Repeat("é", 2000), "{{.Name}}", "<b>")
	f.Fuzz(func(t *testing.T, address, name, user, fingerprint string) {
		o := open(t, t.TempDir())
		u := &directory.User{Name: user, Attrs: map[string][]string{"mail": {address}, "displayname": {name}, "preferredlanguage": {name}}}
		for _, kind := range kinds() {
			m, text := written(t, o, u, kind, fingerprint)
			if m == nil {
				return
			}
			var names []string
			for name, values := range m.Header {
				if names = append(names, name); len(values) != 1 {
					t.Errorf("%s: %d times", name, len(values))
				}
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != "Auto-Submitted Content-Transfer-Encoding Content-Type Date From Message-Id Mime-Version Subject To X-Auto-Response-Suppress" {
				t.Errorf("headers: %s\n%s", got, text)
			}
			to, err := m.Header.AddressList("To")
			if err != nil || len(to) != 1 || to[0].Address != address {
				t.Errorf("To: %v, %v, want %q", to, err, address)
			}
			if bytes.Contains(text, []byte("\r\n.\r\n")) || bytes.ContainsAny(bytes.ReplaceAll(text, []byte("\r\n"), nil), "\r\n\x00") {
				t.Errorf("a bare line end or an end of the mail:\n%q", text)
			}
		}
	})
}

// TestTexts: a folder replaces texts and adds languages; mistakes are found at the start.
func TestTexts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("password_expiring.fr.txt", "Subject: Bonjour {{.Name}}\r\n\r\nDans {{.Days}} jours.\r\n")
	write("key_added.en.txt", "Subject: Ours\n\nText.\n")
	all, err := openTexts(dir, "en")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ wanted, kind, subject string }{
		{"", expiring, "Your password expires on D"},
		{"de-CH", expiring, "Ihr Passwort läuft am D ab"},
		{"fr-CA, de;q=0.9", expiring, "Bonjour N"},
		{"fr", "key_removed", "An SSH key was removed from your account"}, // there is no French one
		{"en-GB", "key_added", "Ours"},
		{"ja", "key_added", "Ours"},
		{"\x00;;q=", "key_added", "Ours"},
	} {
		if subject, _, err := all.write(tt.kind, all.language(tt.wanted), facts{Name: "N", Date: "D"}); subject != tt.subject || err != nil {
			t.Errorf("%s in %q: %q, %v, want %q", tt.kind, tt.wanted, subject, err, tt.subject)
		}
	}
	for _, kind := range kinds() {
		for _, tag := range []string{"en", "de"} {
			if all.of[kind][all.language(tag)] == nil {
				t.Errorf("no %s in %s is shipped", kind, tag)
			}
		}
	}
	if _, err := openTexts(dir, "fr"); err == nil || !strings.Contains(err.Error(), "fr.txt") {
		t.Errorf("French for everybody: %v, want which file is missing", err)
	}
	for name, text := range map[string]string{
		"password_expired.en.txt":  "Subject: a\n\nb\n",
		"password_expiring.en.tmp": "Subject: a\n\nb\n",
		"key_added.de.txt":         "Subject: {{.Password}}\n\nb\n",
		"key_removed.de.txt":       "Betreff: a\n\nb\n",
		"password_changed.de.txt":  "Subject: a\nBcc: b@example.test\n\nb\n",
		"login_shielded.de.txt":    "Subject: a\n\n",
	} {
		write(name, text)
		if _, err := openTexts(dir, "en"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want what is wrong with it", name, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openTexts(filepath.Join(dir, "none"), "en"); err == nil {
		t.Error("a folder that is missing is no error")
	}
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
