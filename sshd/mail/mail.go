// Package mail sends mails to people: before their password expires, and when something
// about their account was changed through this server. It asks the directory who is due,
// and the rules who can use this server at all. A Ledger remembers what was sent. Start
// at Mailer: Watch looks who is due, and Notify sends what events are about.
package mail

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/sshd/event"
)

// A Ledger remembers what was sent, for all nodes that send. Keys are opaque. Methods
// are safe for concurrent use; their errors mean that nobody knows.
type Ledger interface {
	// Turn reports whether this node is the one that looks who is due, and no other is
	// within d.
	Turn(ctx context.Context, d time.Duration) (bool, error)

	// EndTurn lets another node look before d is over.
	EndTurn(ctx context.Context) error

	// Claim records all keys for a time unless one of them is there, and reports whether
	// it did. With no time it only reports whether it would.
	Claim(ctx context.Context, keep time.Duration, keys ...string) (bool, error)

	// Release forgets keys.
	Release(ctx context.Context, keys ...string) error
}

// A Mailer sends mails. Make it with New, and set the fields before Watch and Notify.
type Mailer struct {
	People directory.Directory
	Ledger Ledger
	Events event.Sink
	Log    hclog.Logger

	// Rules says whether any rule lets a person in, and whether the rules let the person
	// change the password here.
	Rules func(*directory.User) (admitted, passwd bool)

	settings Settings
	texts    *texts
	notices  chan notice
	send     func(context.Context, *message) error
}

// New returns a Mailer; s must have passed Check.
func New(s Settings) (*Mailer, error) {
	t, err := openTexts(s.Templates, s.Language)
	m := &Mailer{settings: s, texts: t, notices: make(chan notice, mostNotices), send: s.send}
	slices.SortFunc(m.settings.Days, func(a, b int) int { return b - a })
	return m, err
}

// expiring is the kind of the mails before a password expires.
const expiring = "password_expiring"

const (
	first = 10 * time.Second    // after the start, Watch looks who is due
	every = time.Hour           // it looks again
	again = 10 * time.Minute    // after something went wrong
	keep  = 60 * 24 * time.Hour // a mail is remembered: days may be 60 apart
)

// Watch sends the mails before passwords expire, until ctx ends.
func (m *Mailer) Watch(ctx context.Context) {
	for wait := first; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if wait = every; !m.round(ctx) {
			wait = again
		}
	}
}

// round sends what is due now. It reports whether nothing is left to try again.
func (m *Mailer) round(ctx context.Context) (done bool) {
	turn, err := m.Ledger.Turn(ctx, every-again)
	if err != nil || !turn {
		return m.report(ctx, nil, nil, err)
	}
	var due []*directory.User
	var unread error
	for u, err := range m.People.Users(ctx) {
		if err != nil {
			unread = fmt.Errorf("not all people could be read: %w", err)
			break
		}
		if d, _ := m.days(u, time.Now()); d > 0 {
			due = append(due, u)
		}
	}
	done = m.report(ctx, nil, nil, unread)
	for _, u := range due {
		err := m.remind(ctx, u)
		done = done && err == nil
		if errors.Is(err, errAway) || ctx.Err() != nil {
			break // it is the same for everybody
		}
	}
	if !done {
		if err := m.Ledger.EndTurn(context.WithoutCancel(ctx)); err != nil {
			m.Log.Warn("let another node send", "error", err)
		}
	}
	return done
}

// days returns how many days before the expiry of u's password a mail is due, 0 if none
// is, and the number of the one after it.
func (m *Mailer) days(u *directory.User, now time.Time) (due, next int) {
	s := u.State
	if !reachable(s.Status) || s.PasswordExpires.IsZero() || !now.Before(s.PasswordExpires) {
		return 0, 0
	}
	for _, d := range m.settings.Days { // the largest first
		if at := s.PasswordExpires.AddDate(0, 0, -d); at.After(now) {
			return due, d
		}
		due = d
	}
	return due, 0
}

// reachable reports whether somebody whose account has this state gets mails about
// passwords. Those who are disabled, locked or expired get none of any kind.
func reachable(s directory.Status) bool {
	return s == directory.StatusActive || s == directory.StatusOutsideHours
}

// remind sends u the mail that is due. The error means that it must be tried again.
func (m *Mailer) remind(ctx context.Context, u *directory.User) error {
	now := time.Now()
	days, _ := m.days(u, now)
	if days == 0 || m.addressOf(u) == "" {
		return nil
	}
	admitted, passwd := m.Rules(u)
	if !admitted {
		return nil
	}
	keys := claims(u, days, now)
	claimed, err := m.Ledger.Claim(ctx, keep, keys...)
	if err != nil {
		m.report(ctx, u, nil, err)
		return errors.Join(errAway, err)
	}
	if !claimed {
		return nil
	}
	for _, d := range m.settings.Days {
		if d > days { // is over: a clock that is put back brings no older mail
			if _, err := m.Ledger.Claim(ctx, keep, claims(u, d, now)[0]); err != nil {
				m.Log.Warn("remember older mails", "error", err)
			}
		}
	}
	f := m.expiry(u, now)
	f.CanChange = passwd
	err = m.write(ctx, u, expiring, keys[0], f)
	if retried(err) {
		return errors.Join(err, m.Ledger.Release(context.WithoutCancel(ctx), keys...))
	}
	return nil
}

// claims are the keys of one mail: this number of days before this expiry, and any mail
// of this kind today.
func claims(u *directory.User, days int, now time.Time) []string {
	of := expiring + "/" + u.Identity.String()
	return []string{
		fmt.Sprintf("%s/%d/%d", of, u.State.PasswordExpires.Unix(), days),
		of + "/" + now.UTC().Format(time.DateOnly),
	}
}

// expiry is what mails say about the expiry of u's password.
func (m *Mailer) expiry(u *directory.User, now time.Time) facts {
	end := u.State.PasswordExpires
	return facts{Days: int((end.Sub(now) + 24*time.Hour - 1) / (24 * time.Hour)), Date: day(end), Time: clock(end)}
}

// write sends u a mail, and reports what became of it. what is the same whenever the
// mail is the same.
func (m *Mailer) write(ctx context.Context, u *directory.User, kind, what string, f facts) error {
	f.User, f.Host, f.SSH = clean(u.Name), m.settings.Host, m.settings.ssh()
	f.Name = f.User
	if name := clean(m.attribute(u, m.settings.NameAttribute)); name != "" {
		f.Name = name
	}
	sum := sha256.Sum256([]byte(what))
	msg := &message{id: fmt.Sprintf("berth-%x", sum[:16])}
	address, err := parseAddress(m.addressOf(u))
	if err == nil {
		msg.to = netmail.Address{Name: f.Name, Address: address}
		msg.subject, msg.body, err = m.texts.write(kind, m.languageOf(u), f)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errFinal, err)
	} else {
		err = m.send(ctx, msg)
	}
	m.report(ctx, u, map[string]string{"kind": kind, "message_id": msg.id}, err)
	return err
}

// retried reports whether a mail that failed with err is sent again later.
func retried(err error) bool { return err != nil && !errors.Is(err, errFinal) }

// report emits what became of a mail, or of the look who is due. It returns whether that
// went well.
func (m *Mailer) report(ctx context.Context, u *directory.User, fields map[string]string, err error) bool {
	e := event.Event{Type: event.MailSent, Fields: fields}
	if u != nil {
		e.User, e.UserID, e.Directory = u.Name, u.ID, u.Source
	}
	switch {
	case err == nil && u == nil, ctx.Err() != nil: // nothing was sent, or the server ends
		return err == nil
	case err != nil:
		e.Type, e.Reason, e.Detail = event.MailFailed, event.MailNotSent, err.Error()
		if errors.Is(err, errFinal) {
			e.Reason = event.MailRefused
		}
	}
	m.Events.Emit(e)
	return err == nil
}

func (m *Mailer) attribute(u *directory.User, name string) string {
	for _, value := range u.Attrs[strings.ToLower(name)] {
		return value
	}
	return ""
}

func (m *Mailer) addressOf(u *directory.User) string {
	return m.attribute(u, m.settings.AddressAttribute)
}

// A Plan is a mail before a password expires, as somebody will get it. Its JSON is what
// "berth mail" prints.
type Plan struct {
	User      string    `json:"user"`
	UserID    string    `json:"user_id"`
	Directory string    `json:"directory"`
	Address   string    `json:"address"`
	Language  string    `json:"language"`
	Kind      string    `json:"kind"`
	Days      int       `json:"days"` // before the password expires
	At        time.Time `json:"at"`
	Expires   time.Time `json:"expires"`
	Passwd    bool      `json:"passwd"` // the mail says how to change it here
	Problem   string    `json:"problem,omitempty"`
}

// Plans yields who gets the next mail before the password expires, if that is before
// until, and who would get one if they had an address.
func (m *Mailer) Plans(ctx context.Context, until time.Time) iter.Seq2[*Plan, error] {
	return func(yield func(*Plan, error) bool) {
		for u, err := range m.People.Users(ctx) {
			var p *Plan
			if err == nil {
				p, err = m.plan(ctx, u, time.Now())
			}
			if err == nil && (p == nil || p.At.After(until)) {
				continue
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// plan returns the next mail to u, nil if there is none.
func (m *Mailer) plan(ctx context.Context, u *directory.User, now time.Time) (*Plan, error) {
	days, next := m.days(u, now)
	at := now
	if days > 0 {
		open, err := m.Ledger.Claim(ctx, 0, claims(u, days, now)...)
		if err != nil {
			return nil, err
		}
		if !open {
			days = 0
		}
	}
	if days == 0 {
		if next == 0 {
			return nil, nil
		}
		days, at = next, u.State.PasswordExpires.AddDate(0, 0, -next)
	}
	admitted, passwd := m.Rules(u)
	if !admitted {
		return nil, nil
	}
	p := &Plan{
		User: u.Name, UserID: u.ID, Directory: u.Source, Language: m.languageOf(u).String(), Kind: expiring, Days: days,
		At: at.UTC().Truncate(time.Second), Expires: u.State.PasswordExpires.UTC(), Passwd: passwd, Address: clean(m.addressOf(u)),
	}
	if _, err := parseAddress(m.addressOf(u)); err != nil {
		p.Problem = fmt.Sprintf("%s: %v", m.settings.AddressAttribute, err)
	}
	return p, nil
}
