package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/sshd/admin"
	"berth/sshd/event"
)

// TestSeveralNodes: sessions of other nodes are shown and ended there, and a node that does
// not answer is named.
func TestSeveralNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		far := admin.Session{ID: "fedcba9876543210", User: "bob", Remote: netip.MustParseAddrPort("192.0.2.8:22")}
		f.operators.others = []admin.Done{{Node: "two", Sessions: []admin.Session{far}}}
		f.operators.health = []admin.Done{
			{Node: "one", RulesHash: "abc", Status: &admin.Status{Directories: []admin.DirectoryStatus{{Name: "corp", Error: "<refused>"}}, NotReady: "no directory"}},
			{Node: "two", RulesHash: "abd", Status: &admin.Status{Sessions: 7, Degraded: "a folder is missing"}},
		}
		root, csrf := f.in(t, "root", "10.0.0.1")
		synctest.Wait() // they answer in the background
		page := text(t, root.do("/", nil))
		for _, want := range []string{
			"2 sessions", ">two</td>", ">this one</td>", "/kick?session=fedcba9876543210", "NO: no directory", "corp: DOES NOT ANSWER: &lt;refused&gt;",
			"yes, but a folder is missing", ">abd</td>",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("%q is missing in\n%s", want, page)
			}
		}
		if got := text(t, root.do("/people?user=alice", nil)); strings.Contains(got, "192.0.2.8") {
			t.Errorf("alice has the session of bob:\n%s", got)
		}
		if got := text(t, root.do("/kick?session="+far.ID, nil)); !strings.Contains(got, "End the session of bob from 192.0.2.8:22?") {
			t.Errorf("the question:\n%s", got)
		}
		if res := root.do("/kick", url.Values{"session": {far.ID}, "csrf": {csrf}}); res.StatusCode != http.StatusNotFound {
			t.Errorf("a session that has ended meanwhile: %s", res.Status)
		}
		f.operators.ended = []admin.Session{far}
		if res := root.do("/kick", url.Values{"session": {far.ID}, "csrf": {csrf}}); res.Header.Get("Location") != "/" {
			t.Errorf("a session that is ended: %s", res.Status)
		}
		if got := f.operators.done; len(got) != 2 || !strings.HasPrefix(got[1], "kick "+far.ID+" on two by root in ") {
			t.Errorf("done: %q", got)
		}
		f.operators.mu.Lock()
		f.operators.err = errors.New("node <two> has not answered")
		f.operators.mu.Unlock()
		if res := root.do("/kick", url.Values{"session": {far.ID}, "csrf": {csrf}}); res.StatusCode != http.StatusBadGateway {
			t.Errorf("a node that does not answer: %s", res.Status)
		}
		time.Sleep(2 * healthEvery)
		root.do("/", nil)
		synctest.Wait()
		if page := text(t, root.do("/", nil)); !strings.Contains(page, "node &lt;two&gt; has not answered") {
			t.Errorf("the page does not say who is missing:\n%s", page)
		}
	})
}

// TestDrainOfNodes: an operator drains one node, this one or another. Before that, the
// page shows what will be lost.
func TestDrainOfNodes(t *testing.T) {
	f := newFixture(t)
	f.Node = "one"
	down := &admin.Status{NotReady: "no directory"}
	f.operators.health = []admin.Done{{Node: "one", Status: &admin.Status{Sessions: 3}}, {Node: "two", Status: &admin.Status{Sessions: 7}}, {Node: "three", Status: down}}
	root, csrf := f.in(t, "root", "10.0.0.1")
	rita, hers := f.in(t, "rita", "10.0.0.2")
	f.drawLive(drawing{})
	f.live.asking.Wait()
	if page := text(t, root.do("/", nil)); strings.Count(page, `href="/drain?node=`) != 3 || !strings.Contains(page, `href="/drain?node=two"`) {
		t.Errorf("an operator cannot drain the nodes:\n%s", page)
	}
	if page := text(t, rita.do("/", nil)); strings.Contains(page, "/drain") {
		t.Errorf("a reader sees what only operators may do:\n%s", page)
	}
	const alone, itself = "No other node is ready", "The console ends with it."
	for _, tt := range []struct {
		node, want, no string
	}{
		{"two", "Drain the node two? ", itself},
		{"two", "It has 7 sessions.", alone},
		{"one", itself, alone},
		{"", "Drain this server? ", alone},
		{"", "It has 3 sessions. " + itself, alone},
		{"three", "Drain the node three? ", alone},
		{"<b>four", "No node that answers is called &#34;&lt;b&gt;four&#34;.", "csrf"},
		{"all", "No node that answers is called", "csrf"},
	} {
		if page := text(t, root.do("/drain?node="+url.QueryEscape(tt.node), nil)); !strings.Contains(page, tt.want) || strings.Contains(page, tt.no) {
			t.Errorf("drain %q: want %q and not %q in\n%s", tt.node, tt.want, tt.no, page)
		}
	}
	f.operators.health[1].Status, f.operators.err = down, errors.New("has not answered: five")
	if page := text(t, root.do("/drain?node=one", nil)); !strings.Contains(page, alone) || !strings.Contains(page, "has not answered: five") {
		t.Errorf("drain of the only node that is ready:\n%s", page)
	}
	f.operators.err = nil

	for _, bad := range []struct {
		b      *browser
		form   url.Values
		status int
	}{
		{rita, url.Values{"node": {"two"}, "csrf": {hers}}, http.StatusForbidden},
		{root, url.Values{"node": {"two"}, "csrf": {hers}}, http.StatusForbidden},
		{root, url.Values{"node": {"all"}, "csrf": {csrf}}, http.StatusBadRequest},
	} {
		if res := bad.b.do("/drain", bad.form); res.StatusCode != bad.status {
			t.Errorf("%v: %s", bad.form, res.Status)
		}
	}
	if len(f.operators.done) > 0 {
		t.Errorf("done: %q", f.operators.done)
	}
	if res := root.do("/drain", url.Values{"node": {"two"}, "csrf": {csrf}}); res.StatusCode != http.StatusOK || !strings.Contains(text(t, res), "The node two is draining.") {
		t.Errorf("drain: %s", res.Status)
	}
	if got := f.operators.done; len(got) != 1 || !strings.HasPrefix(got[0], "drain on two by root in ") {
		t.Errorf("done: %q", got)
	}
	f.operators.failed = "this version cannot do that"
	if res := root.do("/drain", url.Values{"node": {"two"}, "csrf": {csrf}}); res.StatusCode != http.StatusBadGateway || !strings.Contains(text(t, res), "node two: this version cannot do that") {
		t.Errorf("a node that cannot: %s", res.Status)
	}
}

// TestRates: a transfer has the rate of the last seconds, not of all the time.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		rita, _ := f.in(t, "rita", "10.0.0.1")
		began := time.Now()
		at := func(bytes int64) string {
			f.operators.mu.Lock()
			f.operators.open = []admin.Session{{ID: "1", User: "alice", Transfers: []admin.Transfer{{Path: "/big", Mode: "reading", Since: began, Bytes: bytes}}}}
			f.operators.mu.Unlock()
			time.Sleep(10 * time.Second)
			return text(t, rita.do("/", nil))
		}
		if page := at(10 << 10); !strings.Contains(page, "(reading, 10.0 KiB, 1.0 KiB/s)") {
			t.Errorf("at first:\n%s", page)
		}
		if page := at(30 << 20); !strings.Contains(page, "(reading, 30.0 MiB, 3.0 MiB/s)") {
			t.Errorf("later:\n%s", page)
		}
	})
}

// TestHistory counts each byte once, whether a session is open, has ended, or came and
// went between two samples.
func TestHistory(t *testing.T) {
	h := &History{}
	open := func(id string, read, written int64) admin.Session {
		return admin.Session{ID: id, Read: read, Written: written}
	}
	closed := func(id string, read int64) {
		h.Emit(event.Event{Type: event.FileReadClosed, Session: id, BytesRead: read})
	}
	h.sample([]admin.Session{open("a", 100, 10)})
	closed("a", 150) // 50 more
	closed("short", 7)
	h.Emit(event.Event{Type: event.LoginAccepted})
	h.Emit(event.Event{Type: event.LoginDenied})
	h.Emit(event.Event{Type: event.LoginRejected})
	h.sample([]admin.Session{open("b", 1000, 0)})
	h.sample([]admin.Session{open("b", 1000, 5)})
	closed("b", 1000)
	h.sample(nil)
	got := fmt.Sprint(h.samples)
	if want := "[{[0 0] [100 10]} {[1 2] [1057 0]} {[0 0] [0 5]} {[0 0] [0 0]}]"; got != want {
		t.Errorf("samples %s, want %s", got, want)
	}
	if len(h.files) > 0 {
		t.Errorf("sessions that have ended are remembered: %v", h.files)
	}
	minutes, plots := h.plots()
	p := plots[1]
	if minutes != 5 || p.Most != "2" || p.Lines[0] != "510,120 540,60 570,120 600,120" || p.Lines[1] != "510,120 540,0 570,120 600,120" || !strings.Contains(p.Summary, "at most 1 and 2") {
		t.Errorf("plot: %+v", p)
	}
	for range 2 * mostSamples {
		h.sample(nil)
		minutes, plots = h.plots()
		first, _, _ := strings.Cut(plots[1].Lines[0], " ")
		if want := map[int]int{20: 5, 21: 20, 80: 20, 81: 60}[len(h.samples)]; want != 0 && want != minutes || strings.HasPrefix(first, "-") {
			t.Errorf("%d samples are shown over %d minutes, from %s", len(h.samples), minutes, first)
		}
	}
	if len(h.samples) != mostSamples {
		t.Errorf("%d samples are kept", len(h.samples))
	}
}

// TestWatchSamples: the plots get samples while no page is open.
func TestWatchSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Watch(ctx); close(done) }()
		time.Sleep(sampleEvery*3 + time.Second)
		stop()
		<-done
		if n := len(f.History.samples); n != 3 {
			t.Errorf("%d samples", n)
		}
	})
}
