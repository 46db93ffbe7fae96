package state

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
)

// TestSnapshot: who is kept out by one process is kept out by the next, and a code that
// was used, or was guessed at too often, cannot be used there.
func TestSnapshot(t *testing.T) {
	s := DefaultSettings()
	bad, exempt := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	before := NewMemory(s)
	for range 100 {
		before.Penalize(bad, LoginFailed)
		before.Penalize(exempt, LoginFailed)
		_ = before.UseCode("guesser", 5, false)
	}
	if err := before.UseCode("alice", 7, true); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Acquire("alice", 1); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(before.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var passed Snapshot
	if err := json.Unmarshal(text, &passed); err != nil {
		t.Fatal(err)
	}
	s.Exempt = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	after := NewMemory(s)
	after.Restore(passed)

	if err := after.Barred(bad); err == nil {
		t.Error("a source that was kept out is let in")
	}
	if err := after.Barred(exempt); err != nil {
		t.Errorf("a source that is exempt now: %v", err)
	}
	for _, use := range []struct {
		user string
		code uint64
		want Reason // empty: accepted
	}{{"alice", 7, CodeUsed}, {"alice", 8, ""}, {"guesser", 9, CodesShielded}, {"bob", 7, ""}} {
		err := after.UseCode(use.user, use.code, true)
		var refused *Refusal
		errors.As(err, &refused)
		if (err == nil) != (use.want == "") || refused != nil && refused.Code != use.want {
			t.Errorf("code %d of %s: %v, want %q", use.code, use.user, err, use.want)
		}
	}
	if _, err := after.Acquire("alice", 1); err != nil {
		t.Errorf("a session of the process before counts: %v", err)
	}
	if before, after := before.Penalties(), after.Penalties(); len(before) != 2 || len(after) != 1 || before[0].Left-after[0].Left > 1e9 {
		t.Errorf("penalties %v became %v", before, after)
	}
}
