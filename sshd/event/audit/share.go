package audit

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/sshd/event"
)

const (
	burst        = 60               // seconds' worth of events that may come at once
	summaryAfter = 10 * time.Second // from the first event that was left out
	maxSharers   = 10_000           // remembered at once; more share one allowance
)

// A sharer is a person, or before the login a network, who shares the queue and
// the disk with others. One who causes more than their share loses only their
// own events, and a summary is written of those.
type sharer struct {
	allowance float64 // bytes that may be written now
	at        time.Time
	batch     uint64 // the batch that waiting belongs to
	waiting   int64  // bytes in the queue

	summary *event.Event // of what was left out
	types   map[event.Type]uint64
}

type sharerKey struct {
	user   string
	of     string // the directory, if user is an id
	source netip.Prefix
}

// essential reports whether a full queue has a reserve for t: server and
// operators, refused connections, logins, passwords, keys.
func essential(t event.Type) bool {
	return t < event.ConnectionOpened || t == event.ConnectionRefused || t >= event.LoginAccepted && t < event.ServiceStarted
}

// sharer returns the sharer that e counts for; nil if it counts for nobody.
// Logins, and what operators and the server do, are always recorded: admission
// limits how often they happen.
func (q *Queue) sharer(e *event.Event, now time.Time) *sharer {
	k := sharerKey{user: e.UserID, of: e.Directory}
	k.user = cmp.Or(k.user, e.User)
	if addr := e.Remote.Addr().Unmap().WithZone(""); k.user == "" && addr.IsValid() {
		k.source = netip.PrefixFrom(addr, min(addr.BitLen(), 64)).Masked()
	}
	if q.rate == 0 || k == (sharerKey{}) || essential(e.Type) && e.Type != event.ConnectionRefused {
		return nil
	}
	if q.sharers[k] == nil && len(q.sharers) >= maxSharers {
		if now.Sub(q.swept) >= time.Second {
			q.swept = now
			maps.DeleteFunc(q.sharers, func(_ sharerKey, s *sharer) bool {
				return now.Sub(s.at) >= burst*time.Second
			})
		}
		if len(q.sharers) >= maxSharers {
			k = sharerKey{user: "\x00others"} // not a name
		}
	}
	s := q.sharers[k]
	if s == nil {
		s = &sharer{allowance: burst * float64(q.rate), at: now}
		q.sharers[k] = s
	}
	return s
}

// takes reports whether n more bytes of s are within its share, and counts them
// if they are. The share of the queue is as much as is free for others, so that
// one sharer leaves half of it to them. Failures may use only half of the
// allowance, so that nobody can hide a download behind failures.
func (s *sharer) takes(n, free int64, batch uint64, rate float64, failed bool, now time.Time) bool {
	s.allowance = min(burst*rate, s.allowance+rate*now.Sub(s.at).Seconds())
	s.at = now
	if s.batch != batch {
		s.batch, s.waiting = batch, 0
	}
	least := float64(n)
	if failed {
		least += burst * rate / 2
	}
	if s.allowance < least || s.waiting > 0 && s.waiting+n > free {
		return false
	}
	s.allowance -= float64(n)
	s.waiting += n
	return true
}

// leaveOut counts e, which is not written, for the summary. It is called with
// q.mu held.
func (q *Queue) leaveOut(s *sharer, e *event.Event, now time.Time) {
	q.leftOut++
	if s.types == nil {
		s.types = map[event.Type]uint64{}
		s.summary = &event.Event{Type: event.EventsLeftOut, User: e.User, UserID: e.UserID, Directory: e.Directory, Reason: event.RateExceeded, Time: now}
		q.noisy = append(q.noisy, s)
	}
	s.types[e.Type]++
	s.summary.Session, s.summary.Remote = e.Session, e.Remote
	s.summary.BytesRead += e.BytesRead
	s.summary.BytesWritten += e.BytesWritten
}

// summarise writes the summaries that are due. It is called with q.mu held.
func (q *Queue) summarise(now time.Time) {
	q.noisy = slices.DeleteFunc(q.noisy, func(s *sharer) bool {
		if !q.closed && now.Sub(s.summary.Time) < summaryAfter {
			return false
		}
		var count uint64
		var types []string
		for _, t := range slices.Sorted(maps.Keys(s.types)) {
			count += s.types[t]
			types = append(types, fmt.Sprint(t, " ", s.types[t]))
		}
		e := *s.summary
		e.Time, e.Duration = now, now.Sub(e.Time)
		e.Fields = map[string]string{"count": fmt.Sprint(count), "types": strings.Join(types, ", ")}
		q.append(&e)
		s.types, s.summary = nil, nil
		return true
	})
	if len(q.noisy) > 0 {
		q.due.Reset(q.noisy[0].summary.Time.Add(summaryAfter).Sub(now))
	}
}
