package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/sshd/admin"
)

// How often the server is asked, while somebody looks.
const (
	othersEvery = 3 * time.Second  // the other nodes about their sessions
	healthEvery = 10 * time.Second // all nodes how they are
	ratesOver   = 3 * time.Second  // a transfer's rate is over this time at least

	mostDrawings = 20  // that are kept for a second
	mostShown    = 100 // sessions: each row is drawn every second
)

// A live has the sessions and transfers of the moment. All open pages share it, so that
// five of them cost as much as one. No page waits for other nodes or directories: their
// last answer is shown until they answer again.
type live struct {
	mu       sync.Mutex
	read     time.Time
	sessions []admin.Session
	moved    map[string]progress // by transfer
	others   asked
	health   asked
	drawn    map[drawing]part // since read
	asking   sync.WaitGroup
}

// An asked is what nodes have answered.
type asked struct {
	began   time.Time
	running bool
	done    []admin.Done
	err     error // which have not answered
}

// progress is how many bytes a transfer had moved, and how fast.
type progress struct {
	at          time.Time
	bytes, rate int64 // rate: bytes a second
}

// A drawing is what a part of the page Now depends on, beside what is happening.
type drawing struct {
	find     string
	operates bool
}

// transferKey tells transfers apart.
func transferKey(s *admin.Session, t *admin.Transfer) string {
	return s.ID + "\x00" + t.Path + "\x00" + t.Since.String()
}

// refresh reads the sessions again if they were last read some time ago. l.mu is held.
func (c *Console) refresh(l *live, now time.Time) {
	c.ask(l, &l.others, othersEvery, now, admin.Task{Do: admin.DoSessions})
	c.ask(l, &l.health, healthEvery, now, admin.Task{Do: admin.DoStatus, Node: admin.EveryNode})
	if now.Sub(l.read) < refresh*9/10 { // the ticks of viewers are not exact
		return
	}
	l.read, l.drawn = now, map[drawing]part{}
	l.sessions = c.Operators.Sessions()
	for _, d := range l.others.done {
		for _, s := range d.Sessions {
			s.Node = d.Node
			l.sessions = append(l.sessions, s)
		}
	}
	slices.SortStableFunc(l.sessions, func(a, b admin.Session) int { return a.Since.Compare(b.Since) })
	moved := map[string]progress{}
	for i := range l.sessions {
		s := &l.sessions[i]
		for j := range s.Transfers {
			t := &s.Transfers[j]
			key := transferKey(s, t)
			p, known := l.moved[key]
			if !known {
				p.at = t.Since
			}
			if passed := now.Sub(p.at); passed >= ratesOver {
				p = progress{now, t.Bytes, max(0, int64(float64(t.Bytes-p.bytes)/passed.Seconds()))}
			}
			moved[key] = p
		}
	}
	l.moved = moved
}

// ask has nodes do t in the background, if the last time is a while ago. l.mu is held.
func (c *Console) ask(l *live, a *asked, every time.Duration, now time.Time, t admin.Task) {
	if a.running || now.Sub(a.began) < every {
		return
	}
	a.running, a.began = true, now
	l.asking.Go(func() {
		done, err := c.Operators.Nodes(t)
		l.mu.Lock()
		defer l.mu.Unlock()
		a.running, a.done, a.err = false, done, err
		l.read = time.Time{} // so that the next refresh shows the answer
	})
}

// A nowBody is what is happening.
type nowBody struct {
	Find     string // part of a name of a person
	Operates bool
	Nodes    bool // there are several
	Total    int  // sessions that Find matches
	Shown    []sessionRow
	Health   []admin.Done // of each node; none: not known yet
	Missing  string       // nodes that have not answered
	Minutes  int          // that the plots are about
	Plots    []plot
}

// A sessionRow is a session, and its transfers with their rates.
type sessionRow struct {
	admin.Session
	Rates []string
}

// drawLive returns the part of the page Now that changes.
func (c *Console) drawLive(d drawing) (part, error) {
	l := &c.live
	l.mu.Lock()
	defer l.mu.Unlock()
	c.refresh(l, time.Now())
	if drawn, known := l.drawn[d]; known {
		return drawn, nil
	}
	p, err := drawPart("live", c.nowBody(l, d))
	if len(l.drawn) < mostDrawings {
		l.drawn[d] = p
	}
	return p, err
}

func (c *Console) nowBody(l *live, d drawing) nowBody {
	b := nowBody{Find: d.find, Operates: d.operates, Nodes: len(l.health.done) > 1, Health: l.health.done}
	b.Minutes, b.Plots = c.History.plots()
	if err := cmp.Or(l.others.err, l.health.err); err != nil {
		b.Missing = err.Error()
	}
	find := strings.ToLower(d.find)
	for i := range l.sessions {
		s := &l.sessions[i]
		if !strings.Contains(strings.ToLower(s.User), find) {
			continue
		}
		if b.Total++; len(b.Shown) == mostShown {
			continue
		}
		row := sessionRow{Session: *s}
		for j := range s.Transfers {
			row.Rates = append(row.Rates, size(l.moved[transferKey(s, &s.Transfers[j])].rate)+"/s")
		}
		b.Shown = append(b.Shown, row)
	}
	return b
}

// open returns the open sessions of all nodes, as they were a second ago at most.
func (c *Console) open() []admin.Session {
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	c.refresh(&c.live, time.Now())
	return c.live.sessions // never changed, only replaced
}

// findSession returns the open session with an id, of any node. It answers if there is none.
func (c *Console) findSession(w http.ResponseWriter, id string) (open admin.Session, found bool) {
	all := c.open()
	i := slices.IndexFunc(all, func(s admin.Session) bool { return s.ID == id })
	if i < 0 {
		c.fail(w, http.StatusNotFound, say("kick.ended"))
		return admin.Session{}, false
	}
	return all[i], true
}
