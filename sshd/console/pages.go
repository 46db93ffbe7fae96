package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

const (
	mostRows = 200     // of a table
	mostTail = 4 << 20 // bytes of the record that the page of events reads
	refresh  = time.Second
)

// A nowPage is the page Now.
type nowPage struct {
	Find string // part of a name of a person
	Live template.HTML
}

// drawingFor is what r asks for.
func drawingFor(r *http.Request, s *session) drawing {
	return drawing{r.FormValue("user"), s.grant.Load().Serves(operate) == nil}
}

func (c *Console) now(w http.ResponseWriter, r *http.Request, s *session) {
	d := drawingFor(r, s)
	p, err := c.drawLive(d)
	if err != nil {
		c.Log.Error("write a part of a page", "path", r.URL.Path, "error", err)
	}
	c.show(w, http.StatusOK, "now.html", c.view(s, say("now.title"), nowPage{d.find, p.html}))
}

// stream sends what is happening whenever it has changed, as server-sent events.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, s *session) {
	c.send(w, r, s, nil, func() (message []byte, more bool, err error) {
		p, err := c.drawLive(drawingFor(r, s))
		return p.message, true, err
	})
}

const aliveEvery = 10 * time.Second // so that a browser knows whether what it shows is old

// send sends the messages of next, which are JSON, whenever they have changed, until there
// is no more. It looks every second, and once more when done is closed.
func (c *Console) send(w http.ResponseWriter, r *http.Request, s *session, done <-chan struct{}, next func() (message []byte, more bool, err error)) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	var sent []byte
	var at time.Time
	for {
		message, more, err := next()
		if err != nil {
			c.Log.Error("write a part of a page", "path", r.URL.Path, "error", err)
			return
		}
		var text string
		switch {
		case !bytes.Equal(message, sent):
			sent, text = message, fmt.Sprintf("data: %s\n\n", message)
		case time.Since(at) >= aliveEvery:
			text = "event: alive\ndata:\n\n"
		}
		if text != "" {
			at = time.Now()
			_ = control.SetWriteDeadline(at.Add(10 * refresh))
			if _, err := io.WriteString(w, text); err != nil || control.Flush() != nil {
				return
			}
		}
		if !more {
			_, _ = fmt.Fprint(w, "event: end\ndata:\n\n") // otherwise the browser asks again
			return
		}
		select {
		case <-tick.C:
		case <-done:
		case <-r.Context().Done():
			return
		case <-s.ended:
			return
		}
	}
}

// drawPart returns what a template makes of data, for a page and as a message.
func drawPart(name string, data any) (part, error) {
	var b bytes.Buffer
	err := pages.ExecuteTemplate(&b, name, data)
	message, _ := json.Marshal(b.String())
	return part{template.HTML(b.String()), message}, err // written by a template
}

// A part is a piece of a page that changes while somebody looks.
type part struct {
	html    template.HTML
	message []byte // JSON
}

// A confirmation asks an operator before something is done.
type confirmation struct{ Action, Question, Warning, Name, Value string }

func (c *Console) confirmKick(w http.ResponseWriter, r *http.Request, s *session) {
	id := r.FormValue("session")
	open, found := c.findSession(w, id)
	if !found {
		return
	}
	question := say("kick.question", named(open.User), open.Remote)
	c.show(w, http.StatusOK, "confirm.html", c.view(s, say("kick.title"), confirmation{Action: "/kick", Question: question, Name: "session", Value: id}))
}

func (c *Console) kick(w http.ResponseWriter, r *http.Request, s *session) {
	id := r.PostFormValue("session")
	// Only an id is accepted: the name of a person would end all sessions of the
	// person.
	open, found := c.findSession(w, id)
	if !found {
		return
	}
	var ended []admin.Session
	var err error
	if open.Node == "" {
		ended = c.Operators.Kick(s.caller(), id)
	} else {
		var done admin.Done
		done, err = c.onNode(s, open.Node, admin.Task{Do: admin.DoKick, Who: id})
		ended = done.Sessions
	}
	switch {
	case err != nil:
		c.fail(w, http.StatusBadGateway, err.Error())
	case len(ended) == 0:
		c.fail(w, http.StatusNotFound, say("kick.ended"))
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// onNode has one node, this one or another, do t for the person of s.
func (c *Console) onNode(s *session, node string, t admin.Task) (done admin.Done, err error) {
	t.Node, t.By = node, s.caller()
	all, err := c.Operators.Nodes(t)
	for _, done = range all {
		if done.Error != "" {
			err = errors.Join(err, errors.New(say("node.error", done.Node, done.Error)))
		}
	}
	return done, err
}

// confirmDrain asks before a node is drained; the server of the console if none is named.
// It says what is lost with the node.
func (c *Console) confirmDrain(w http.ResponseWriter, r *http.Request, s *session) {
	node := r.FormValue("node")
	all, err := c.Operators.Nodes(admin.Task{Do: admin.DoStatus, Node: admin.EveryNode})
	what, here := say("drain.node", node), node == c.Node
	if node == "" {
		what, here = say("drain.this_server"), true
	}
	var status *admin.Status
	ready := 0 // other nodes
	for _, d := range all {
		switch {
		case d.Node == node || here && (d.Node == "" || d.Node == c.Node):
			status = d.Status
		case d.Status != nil && d.Status.NotReady == "":
			ready++
		}
	}
	var warnings []string
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	switch {
	case status == nil:
		c.fail(w, http.StatusNotFound, strings.Join(append([]string{say("drain.no_node", node)}, warnings...), " "))
		return
	case len(all) > 1 && ready == 0:
		warnings = append(warnings, say("drain.last"))
	}
	question := say("drain.question", what, status.Sessions)
	if here {
		question += " " + say("drain.console_ends")
	}
	c.show(w, http.StatusOK, "confirm.html", c.view(s, say("drain.title"), confirmation{"/drain", question, strings.Join(warnings, " "), "node", node}))
}

func (c *Console) drain(w http.ResponseWriter, r *http.Request, s *session) {
	node, sentence := r.PostFormValue("node"), say("drain.server_drains")
	switch node {
	case "":
		c.Operators.Drain(s.caller())
	case admin.EveryNode:
		c.fail(w, http.StatusBadRequest, say("drain.one_by_one"))
		return
	default:
		if _, err := c.onNode(s, node, admin.Task{Do: admin.DoDrain}); err != nil {
			c.fail(w, http.StatusBadGateway, err.Error())
			return
		}
		sentence = say("drain.node_drains", node)
	}
	c.show(w, http.StatusOK, "error.html", view{Title: say("drain.drains"), Body: sentence})
}

// An eventsBody is a search in the end of the events file.
type eventsBody struct {
	User, Path, Type, Session, Remote, Outcome string
	Outcomes                                   []event.Outcome
	Problem                                    string
	Rows                                       []eventRow // the newest first
	More                                       bool       // there are older ones
}

// An eventRow is an event in a table.
type eventRow struct {
	audit.Record
	JSON string
}

func newEventRow(m audit.Match) eventRow {
	return eventRow{m.Record, string(event.Printable(m.Line))}
}

func (c *Console) events(w http.ResponseWriter, r *http.Request, s *session) {
	b := eventsBody{
		User: r.FormValue("user"), Path: r.FormValue("path"), Type: r.FormValue("type"), Session: r.FormValue("session"),
		Remote: r.FormValue("remote"), Outcome: r.FormValue("outcome"), Outcomes: []event.Outcome{event.Success, event.Failure, event.Refused},
	}
	status := http.StatusOK
	if err := c.searchEvents(&b); err != nil {
		b.Problem, status = err.Error(), http.StatusBadRequest
	}
	c.show(w, status, "events.html", c.view(s, say("events.title"), b))
}

func (c *Console) searchEvents(b *eventsBody) error {
	if c.File == "" {
		return errors.New(say("events.no_file"))
	}
	q := audit.Query{User: b.User, Path: b.Path, Session: b.Session, Outcome: event.Outcome(b.Outcome)}
	if b.Type != "" {
		q.Types = strings.Split(b.Type, ",")
	}
	if b.Remote != "" {
		addr, err := netip.ParseAddr(b.Remote)
		if err != nil {
			return errors.New(say("form.bad_address", b.Remote))
		}
		q.Remote = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
	}
	search, err := audit.NewSearch(q)
	if err != nil {
		return err
	}
	return search.Newest(&c.tail, c.File, mostTail, func(m audit.Match) bool {
		if b.More = len(b.Rows) == mostRows; !b.More {
			b.Rows = append(b.Rows, newEventRow(m))
		}
		return !b.More
	})
}
