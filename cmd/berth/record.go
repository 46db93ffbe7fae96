package main

import (
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/config"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/event/metrics"
)

// A record has the destinations of a server's events.
type record struct {
	event.Sinks
	file   *audit.File
	counts *metrics.Sink
	ways   []audit.Watched // the queues of file, syslog and webhook
	main   *audit.Queue    // whose losses count for events.when_lost
	syslog *audit.Queue    // nil if syslog gets the lines of file, or nothing
	log    hclog.Logger
}

// openRecord opens all ways of the configuration. key signs the checkpoints of the file.
func openRecord(cfg *config.Config, key ssh.Signer, log hclog.Logger) (_ *record, err error) {
	settings, events := cfg.Events, log.Named("events")
	settings.Version = release
	file, err := audit.Open(settings, events)
	if err != nil {
		return nil, err
	}
	file.Sign(key)
	r := &record{file: file, main: file.Queue, counts: metrics.New(), ways: []audit.Watched{file.Queue}, log: events}
	r.Sinks = event.Sinks{file, r.counts, event.Log(log)}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if settings.SyslogFromFile() {
		forwarder, err := file.ForwardToSyslog(settings, events)
		if err != nil {
			return nil, fmt.Errorf("events.%w", err)
		}
		r.ways = append(r.ways, forwarder)
	} else if settings.Syslog.Enabled() {
		if r.syslog, err = audit.OpenSyslog(settings, events); err != nil {
			return nil, fmt.Errorf("events.%w", err)
		}
		r.ways, r.Sinks = append(r.ways, r.syslog), append(r.Sinks, r.syslog)
		if settings.File == "" {
			r.main = r.syslog
		}
	}
	if settings.Webhook.Enabled() {
		forwarder, err := file.ForwardToWebhook(settings, events)
		if err != nil {
			return nil, fmt.Errorf("events.%w", err)
		}
		r.ways = append(r.ways, forwarder)
	}
	file.Report(r.Sinks)
	r.counts.Build(release)
	r.counts.Watch(r.ways...)
	return r, nil
}

// Close writes what is waiting. The log has what could not be written.
func (r *record) Close() {
	var err error
	if r.syslog != nil {
		err = r.syslog.Close()
	}
	if err := errors.Join(err, r.file.Close()); err != nil {
		r.log.Error("end the record of events", "error", err)
	}
}
