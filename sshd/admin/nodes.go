package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A Task is something that an operator asks of nodes that share their state.
type Task struct {
	Do    string        // one of the names below
	Node  string        // the name of the only one that does it; empty: all others; EveryNode: all
	Who   string        // for DoKick: as for Operator.Kick
	Level string        // for DoLogLevel
	For   time.Duration // for DoLogLevel
	By    Caller
}

// EveryNode is all nodes, the one that is asked included.
const EveryNode = "all"

// The tasks that there are.
const (
	DoSessions = "sessions"
	DoKick     = "kick"
	DoStatus   = "status"
	DoDrain    = "drain"
	DoReload   = "reload"
	DoLogLevel = "log-level"
)

// A Done is the result of a task on one node.
type Done struct {
	Node      string    `json:"node"`
	RulesHash string    `json:"rules_hash"` // that the node runs, afterwards
	Sessions  []Session `json:"sessions,omitempty"`
	Status    *Status   `json:"status,omitempty"`
	Waits     string    `json:"waits,omitempty"` // of a reload: what only a restart applies
	Error     string    `json:"error,omitempty"` // why it was not done
}

// Perform does t on the server of o.
func Perform(o Operator, t Task) (d Done) {
	var err error
	switch t.Do {
	case DoSessions:
		d.Sessions = o.Sessions()
	case DoKick:
		d.Sessions = o.Kick(t.By, t.Who)
	case DoStatus:
		s := o.Status()
		d.Status = &s
	case DoDrain:
		o.Drain(t.By)
	case DoReload:
		d.Waits, err = o.Reload(t.By)
	case DoLogLevel:
		err = o.LogLevel(t.By, t.Level, t.For)
	default:
		err = fmt.Errorf("%q: this version cannot do that", t.Do)
	}
	if err != nil {
		d.Error = err.Error()
	}
	return d
}

// serveNodes answers a task as JSON with what o has nodes do.
func serveNodes(w http.ResponseWriter, r *http.Request, o Operator) {
	var t Task
	if err := json.Unmarshal([]byte(r.FormValue("task")), &t); err != nil {
		http.Error(w, "task: "+err.Error(), http.StatusBadRequest)
		return
	}
	t.By = asking(r)
	done, err := o.Nodes(t)
	writeOutcome(w, done, err)
}

// Nodes has nodes do t, and returns the result of each. The error says which have not
// answered.
func (c *Client) Nodes(ctx context.Context, t Task) ([]Done, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return askOutcome[[]Done](ctx, c, "/nodes", url.Values{"task": {string(text)}}.Encode())
}
