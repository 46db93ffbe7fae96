package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/event/metrics"
	"berth/sshd/state"
)

// operator answers operators for the running server. Each change by an
// operator is an event that names the operator.
type operator struct {
	*sshd.Server
	serving      context.Context // ends with the server
	store        *nodes
	reloader     *reloader
	upgrader     *upgrader
	level        *logLevel
	started      time.Time
	ready        func(context.Context) error // the answer of /readyz
	ways         []audit.Watched             // of events
	certificates func() []metrics.Certificate
	counts       prometheus.Gatherer
	drain        context.CancelCauseFunc
	sink         event.Sink
}

// drainedBy is why the server ends when an operator asks for it.
type drainedBy struct{ admin.Caller }

func (drainedBy) Error() string { return "an operator ends the server" }

func (o operator) Drain(by admin.Caller) { o.drain(drainedBy{by}) }

func (o operator) Kick(by admin.Caller, who string) []admin.Session {
	kicked := o.Server.Kick(who)
	for _, s := range kicked {
		o.sink.Emit(event.Event{Type: event.SessionKicked, Session: s.ID, User: s.User, UserID: s.UserID, Directory: s.Directory, Remote: s.Remote, Fields: by.Fields()})
	}
	return kicked
}

// nodesWait is how long other nodes may take to answer an operator: a reload asks
// directories.
var nodesWait = map[string]time.Duration{admin.DoReload: 20 * time.Second, admin.DoStatus: statusWait + 2*time.Second}

func (o operator) Nodes(t admin.Task) ([]admin.Done, error) {
	here := o.store.name()
	if o.store.shared == nil && t.Node != "" && t.Node != admin.EveryNode {
		return nil, errors.New("state.redis: missing: this server knows no other nodes")
	}
	ctx, cancel := context.WithTimeout(o.serving, cmp.Or(nodesWait[t.Do], 2*time.Second))
	defer cancel()
	others, err := o.store.ask(ctx, t)
	if t.Node == admin.EveryNode || t.Node != "" && t.Node == here { // an empty name asks the other nodes only, and is the name of a server that is alone
		others = append([]admin.Done{o.perform(t)}, others...)
	}
	return others, err
}

// perform does a task on this node.
func (o operator) perform(t admin.Task) admin.Done {
	d := admin.Perform(o, t)
	d.Node, d.RulesHash = o.store.name(), o.reloader.rules.Hash()
	return d
}

func (o operator) Reload(by admin.Caller) (waits string, err error) {
	return o.reloader.run(o.serving, by.Fields())
}

func (o operator) Metrics() prometheus.Gatherer { return o.counts }

func (o operator) Upgrade(by admin.Caller) (admin.Successor, error) {
	return o.upgrader.run(by.Fields())
}

func (o operator) Penalties() []state.Penalty { return o.store.Penalties() }

func (o operator) Lift(by admin.Caller, network netip.Prefix) []netip.Prefix {
	lifted := o.store.Lift(network)
	for _, source := range lifted {
		e := event.Event{Type: event.PenaltyLifted, Fields: by.Fields()}
		e.Fields["source"] = source.String()
		o.sink.Emit(e)
	}
	return lifted
}
