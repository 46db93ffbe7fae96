package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/state"
)

// recorder keeps what is emitted.
type recorder []event.Event

func (r *recorder) Emit(e event.Event) { *r = append(*r, e) }

// What an operator changes is an event that says who did.
func TestOperatorsAreNamed(t *testing.T) {
	by := admin.Caller{User: "root", UID: "0", Login: "alice"}
	store, sink := state.NewMemory(state.DefaultSettings()), &recorder{}
	ctx, drain := context.WithCancelCause(t.Context())
	o := operator{Server: &sshd.Server{}, serving: ctx, store: store, reloader: &reloader{requests: make(chan request)}, drain: drain, sink: sink}
	for _, remote := range []string{"192.0.2.1", "192.0.2.2", "198.51.100.1"} {
		store.Penalize(netip.MustParseAddr(remote), state.BadProtocol)
	}
	if got := o.Penalties(); len(got) != 3 {
		t.Errorf("penalties: %v", got)
	}
	o.Lift(by, netip.MustParsePrefix("192.0.2.0/24"))
	if len(*sink) != 2 || len(o.Penalties()) != 1 {
		t.Errorf("lifted: events %v, left %v", *sink, o.Penalties())
	}
	for i, e := range *sink {
		want := fmt.Sprintf("192.0.2.%d/32", i+1)
		if e.Type != event.PenaltyLifted || e.Fields["operator"] != "root" || e.Fields["operator_uid"] != "0" || e.Fields["operator_login"] != "alice" || e.Fields["source"] != want {
			t.Errorf("event %d: %v %v, want that root, who is alice, lifted %s", i, e.Type, e.Fields, want)
		}
	}

	go func() {
		r := <-o.reloader.requests
		if r.by["operator_login"] != "alice" {
			t.Errorf("reload asked by %v", r.by)
		}
		r.answer <- outcome{"ssh", errors.New("mistake")}
	}()
	if waits, err := o.Reload(by); waits != "ssh" || err == nil || err.Error() != "mistake" {
		t.Errorf("reload: %q, %v", waits, err)
	}

	o.Drain(by)
	var cause drainedBy
	if !errors.As(context.Cause(ctx), &cause) || cause.Caller != by {
		t.Errorf("the cause of the end is %v", context.Cause(ctx))
	}
	if _, err := o.Reload(by); !errors.Is(err, errDraining) {
		t.Errorf("reload at the end: %v", err)
	}
}

func TestParseNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":           "[192.0.2.1/32]",
		"::ffff:192.0.2.1":    "[192.0.2.1/32]",
		"192.0.2.0/24":        "[192.0.2.0/24]",
		"2001:db8::1":         "[2001:db8::1/128]",
		"fe80::1%eth0":        "[fe80::1/128]",
		"2001:db8::/32":       "[2001:db8::/32]",
		"all":                 "[0.0.0.0/0 ::/0]",
		"::ffff:10.0.0.0/104": "[]",
		"alice":               "[]",
		"":                    "[]",
	} {
		got, err := parseNetworks(in)
		if fmt.Sprint(got) != want || (err != nil) != (want == "[]") {
			t.Errorf("%q: got %v, %v, want %s", in, got, err, want)
		}
	}
}
