package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/config"
	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/state"
)

// recorder keeps what is emitted.
type recorder []event.Event

func (r *recorder) Emit(e event.Event) { *r = append(*r, e) }

// What an operator changes is an event that says who did.
func TestOperatorsAreNamed(t *testing.T) {
	by := admin.Caller{User: "root", UID: "0", Login: "alice"}
	store, sink := state.NewMemory(state.DefaultSettings()), &recorder{}
	audit, err := audit.Open(audit.DefaultSettings(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer audit.Close()
	ctx, drain := context.WithCancelCause(t.Context())
	o := operator{Server: &sshd.Server{}, serving: ctx, store: &nodes{nodeState: store}, drain: drain, sink: sink}
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

	o.reloader = &reloader{started: &config.Config{Path: "missing"}, audit: audit, sink: sink, log: hclog.NewNullLogger()}
	*sink = nil
	if _, err := o.Reload(by); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reload of a missing file: %v", err)
	}
	if len(*sink) != 1 || (*sink)[0].Type != event.ReloadFailed || (*sink)[0].Fields["operator_login"] != "alice" {
		t.Errorf("reload: events %v", *sink)
	}

	o.Drain(by)
	var cause drainedBy
	if !errors.As(context.Cause(ctx), &cause) || cause.Caller != by {
		t.Errorf("the cause of the end is %v", context.Cause(ctx))
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
		"::ffff:10.0.0.0/104": "[10.0.0.0/8]",
		"alice":               "[]",
		"":                    "[]",
	} {
		got, err := parseNetworks(in)
		if fmt.Sprint(got) != want || (err != nil) != (want == "[]") {
			t.Errorf("%q: got %v, %v, want %s", in, got, err, want)
		}
	}
}
