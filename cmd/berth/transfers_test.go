package main

import (
	"net/netip"
	"testing"
	"time"

	"berth/sshd/admin"
)

// TestDrawTransfers has a download in its middle, one that was resumed, an upload that
// has just begun, and a name that would clear the screen.
func TestDrawTransfers(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 30, 0, 0, time.Local)
	const mib = 1 << 20
	old := admin.Transfer{Path: "/big.iso", Mode: "reading", Since: now.Add(-time.Minute), Bytes: 40 * mib, Position: 40 * mib, Size: 200 * mib}
	session := admin.Session{ID: "0123456789abcdef", User: "alice", Remote: netip.MustParseAddrPort("192.0.2.7:1234"), Transfers: []admin.Transfer{old}}
	before := transfersOf([]admin.Session{session})
	old.Bytes, old.Position = 50*mib, 50*mib
	session.Transfers = []admin.Transfer{
		old,
		{Path: "/rest", Mode: "reading", Since: now.Add(-2 * time.Second), Bytes: 4 * mib, Position: 94 * mib, Size: 100 * mib},
		{Path: "/up", Mode: "writing", Since: now.Add(-4 * time.Second), Bytes: 2 * mib, Position: 2 * mib},
		{Path: "/\x1b[2J", Mode: "reading", Since: now, Size: 5},
	}
	got := drawTransfers([]admin.Session{session}, before, 2*time.Second, now)
	want := `09:30:00  1 session, 4 files open
0123456789abcdef  alice from 192.0.2.7, idle 0s
  [#####...............]  25% 50.0 MiB 5.0 MiB/s, 30s left  /big.iso
  [##################..]  94% 4.0 MiB 2.0 MiB/s, 3s left  /rest
  [writing             ]      2.0 MiB 0.5 MiB/s  /up
  [....................]   0% 0.0 MiB 0.0 MiB/s  "/\x1b[2J"
`
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got, want := drawTransfers(nil, nil, 0, now), "09:30:00  0 sessions, 0 files open\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
