package main

import (
	"context"
	"errors"
	"time"

	"berth/directory"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

// errDraining is why a server that is shutting down is not ready.
var errDraining = errors.New("shutting down")

// readiness answers /readyz. A server is ready if it is not shutting down,
// every directory answers, and the last sessions could open a folder. Events
// that are lost matter if whenLost is audit.Refuse.
func readiness(serving context.Context, people directory.Directory, shown *folders, record *audit.Queue, stateHealth func() (int, error), whenLost string) func(context.Context) error {
	return func(ctx context.Context) error {
		if serving.Err() != nil {
			return errDraining
		}
		down, lost := people.Ping(ctx), record.Lost()
		all, missing := shown.Err()
		_, apart := stateHealth()
		err := errors.Join(down, lost, missing, apart)
		if down == nil && !all && (lost == nil || whenLost != audit.Refuse) && err != nil {
			return admin.Degraded{Err: err}
		}
		return err
	}
}

// watchDirectory sends an event when the directories stop answering and when
// they answer again.
func watchDirectory(ctx context.Context, people *directories, sink event.Sink) {
	const every = 10 * time.Second
	var last error
	for first := true; first || sleep(ctx, every); first = false {
		err := people.Ping(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil && last == nil:
			sink.Emit(event.Event{Type: event.DirectoryDown, Detail: err.Error()})
		case err == nil && (first || last != nil):
			sink.Emit(event.Event{Type: event.DirectoryUp})
		}
		last = err
	}
}
