package main

import (
	"context"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/state"
)

// operator is the running server as its operator's socket has it. Whatever an
// operator changes is an event that says who did.
type operator struct {
	*sshd.Server
	serving  context.Context // ends with the server
	store    *nodes
	reloader *reloader
	upgrader *upgrader
	level    *logLevel
	started  time.Time
	ready    func(context.Context) error // what /readyz says
	ways     []audit.Watched             // of events
	counts   prometheus.Gatherer
	drain    context.CancelCauseFunc
	sink     event.Sink
}

// drainedBy is why the server ends when an operator asks for it.
type drainedBy struct{ admin.Caller }

func (drainedBy) Error() string { return "an operator ends the server" }

func (o operator) Drain(by admin.Caller) { o.drain(drainedBy{by}) }

func (o operator) Kick(by admin.Caller, who string) []admin.Session {
	kicked := o.Server.Kick(who)
	for _, s := range kicked {
		o.sink.Emit(event.Event{Type: event.SessionKicked, Session: s.ID, User: s.User, UserID: s.UserID, Remote: s.Remote, Fields: by.Fields()})
	}
	return kicked
}

// A nodeQuestion is what a node asks the others: for their sessions, or to end some.
type nodeQuestion struct {
	Kick string       `json:"kick"`
	By   admin.Caller `json:"by"`
}

func (o operator) Others(by admin.Caller, who string) ([]admin.Session, error) {
	return o.store.ask(o.serving, nodeQuestion{who, by})
}

// answer is this node's answer to another one.
func (o operator) answer(q nodeQuestion) []admin.Session {
	if q.Kick != "" {
		return o.Kick(q.By, q.Kick)
	}
	return o.Sessions()
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
