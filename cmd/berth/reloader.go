package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"berth/config"
	"berth/policy"
	"berth/sshd"
	"berth/sshd/event"
)

// A reloader takes up what has changed while the server runs: rules, the people
// of embedded directories, and an event file that has been moved away.
type reloader struct {
	file   string
	rules  *rules
	people *directories
	server *sshd.Server
	audit  *event.File
	sink   event.Sink
	log    hclog.Logger
}

// onHangup reloads at every SIGHUP until ctx ends. A mistake changes nothing.
func (r *reloader) onHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		if err := r.audit.Reopen(); err != nil {
			r.log.Error("reopen the event file", "error", err)
		}
		if err := r.reload(); err != nil {
			r.log.Error("reload: what was before stays in force", "error", err)
			r.sink.Emit(event.Event{Type: event.ReloadFailed, Detail: err.Error()})
			continue
		}
		r.sink.Emit(event.Event{Type: event.ServerReloaded})
		r.server.Reconsider(ctx)
	}
}

// reload reads the rules, and people who live in files here.
func (r *reloader) reload() error {
	cfg, err := config.Load(r.file)
	if err != nil {
		return err
	}
	set, err := policy.Compile(cfg.Rules)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range r.people.embedded {
		errs = append(errs, e.Reload())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.rules.set.Store(set)
	return nil
}
