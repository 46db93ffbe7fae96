package mail

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/text/language"

	"berth/directory"
	"berth/sshd/event"
)

// noticed are the events that mails are about.
var noticed = []event.Type{event.PasswordChanged, event.KeyAdded, event.KeyRemoved, event.LoginShielded}

// kinds are what mails can be about.
func kinds() []string {
	all := []string{expiring}
	for _, t := range noticed {
		all = append(all, t.String())
	}
	return all
}

// A notice is an event that somebody gets a mail about.
type notice struct {
	event.Event
	kind string
	last time.Time // after which it is not tried again
}

const (
	mostNotices = 1000           // that wait
	noticeFor   = 24 * time.Hour // a notice is tried again
	farewell    = 10 * time.Second
)

// Emit takes the events that mails are about, and never waits.
func (m *Mailer) Emit(e event.Event) {
	kind := e.Type.String()
	if !slices.Contains(noticed, e.Type) || !slices.Contains(m.settings.About, kind) || e.UserID == "" {
		return
	}
	now := time.Now()
	if e.Time.IsZero() {
		e.Time = now
	}
	n := notice{e, kind, now.Add(noticeFor)}
	select {
	case m.notices <- n:
	default:
		m.lost(n, event.QueueFull)
	}
}

func (m *Mailer) lost(n notice, why event.Reason) {
	m.Events.Emit(event.Event{Type: event.MailFailed, User: n.User, UserID: n.UserID, Directory: n.Directory, Reason: why, Fields: map[string]string{"kind": n.kind}})
}

// Notify sends mails about events until ctx ends. Then it tries once more to send what
// waits, for a few seconds.
func (m *Mailer) Notify(ctx context.Context) {
	var waiting []notice
	retry := time.NewTicker(again)
	defer retry.Stop()
	for {
		select {
		case n := <-m.notices:
			if m.notify(ctx, n) != nil {
				waiting = append(waiting, n)
			}
		case <-retry.C:
			waiting = m.notifyAll(ctx, waiting)
		case <-ctx.Done():
			for range len(m.notices) {
				waiting = append(waiting, <-m.notices)
			}
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			for _, n := range m.notifyAll(end, waiting) {
				m.lost(n, event.ShuttingDown)
			}
			return
		}
		if len(waiting) > mostNotices {
			m.lost(waiting[0], event.QueueFull)
			waiting = waiting[1:]
		}
	}
}

// notifyAll tries notices and returns those to be tried again.
func (m *Mailer) notifyAll(ctx context.Context, all []notice) (left []notice) {
	for i, n := range all {
		err := m.notify(ctx, n)
		if err != nil && time.Now().Before(n.last) {
			left = append(left, n)
		}
		if errors.Is(err, errAway) || ctx.Err() != nil {
			return append(left, all[i+1:]...)
		}
	}
	return left
}

// notify sends one mail. The error means that it must be tried again. About wrong
// passwords a person gets one mail a day, however many strangers try.
func (m *Mailer) notify(ctx context.Context, n notice) error {
	u, err := m.People.Lookup(directory.Fresh(ctx), n.User)
	if directory.Refused(err) || errors.Is(err, directory.ErrNoUser) {
		return nil
	}
	if err != nil {
		return err
	}
	if u.ID != n.UserID || u.Source != n.Directory || !reachable(u.State.Status) || m.addressOf(u) == "" {
		return nil
	}
	key := n.kind + "/" + u.Identity.String() + "/" + n.Time.UTC().Format(time.DateOnly)
	once := n.Type == event.LoginShielded
	if once {
		if claimed, err := m.Ledger.Claim(ctx, keep, key); err != nil || !claimed {
			return err
		}
	}
	f := facts{Fingerprint: clean(n.Fields["fingerprint"]), Remote: n.Remote.Addr().Unmap().String(), Date: day(n.Time), Time: clock(n.Time)}
	err = m.write(ctx, u, n.kind, key+"/"+n.Session+"/"+n.Time.String(), f)
	if !retried(err) {
		return nil
	}
	if once {
		err = errors.Join(err, m.Ledger.Release(context.WithoutCancel(ctx), key))
	}
	return err
}

func (m *Mailer) languageOf(u *directory.User) language.Tag {
	return m.texts.language(clean(m.attribute(u, m.settings.LanguageAttribute)))
}
