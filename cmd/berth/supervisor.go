package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// A supervisor is systemd, or nobody. It learns how far the service is (sd_notify(3)),
// so that "systemctl start" waits for a server that can be reached, and "systemctl
// status" has a line about it.
type supervisor struct{ log hclog.Logger }

func (s supervisor) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("notify systemd", "state", state, "error", err)
	}
}

func (s supervisor) ready(status string)    { s.notify("READY=1\nSTATUS=" + status) }
func (s supervisor) stopping(status string) { s.notify("STOPPING=1\nSTATUS=" + status) }

// handedOver makes another process the main one of the service.
func (s supervisor) handedOver(pid int) { s.notify(fmt.Sprintf("MAINPID=%d\nREADY=1", pid)) }

// reloading is followed by ready.
func (s supervisor) reloading() {
	s.notify("RELOADING=1\n" + daemon.SdNotifyMonotonicUsec() + "STATUS=reloading")
}

// watch has systemd restart the service if alive is not true for as long as WatchdogSec
// of the unit says, until ctx ends.
func (s supervisor) watch(ctx context.Context, alive func() bool) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("the watchdog of systemd is off", "error", err)
	}
	if limit == 0 {
		return
	}
	for sleep(ctx, limit/3) {
		if alive() {
			s.notify("WATCHDOG=1")
		} else {
			s.log.Error("the server does not accept connections: systemd is going to restart it", "within", limit.Round(time.Second))
		}
	}
}
