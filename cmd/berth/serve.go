package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/metrics"
	"berth/sshd/login"
	"berth/sshd/state"
)

func serveCommand() *cobra.Command {
	return configCommand("serve", "Serve files",
		`Serve reads the configuration and serves until it gets SIGTERM or SIGINT; then
running transfers have ssh.drain to end. SIGHUP reads the rules again and reopens
the event file: open sessions have the new rights at their next operation.`, cobra.NoArgs, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
			return serve(cmd.Context(), cfg, cfg, func(r *running) {
				for _, l := range r.listeners {
					fmt.Fprintf(cmd.OutOrStdout(), "listening on %s\n", l.Addr())
				}
				if r.admin != nil {
					fmt.Fprintf(cmd.OutOrStdout(), "health and metrics on http://%s/\n", r.admin.Addr())
				}
			})
		})
}

// running is what a server in service listens on.
type running struct {
	listeners []net.Listener
	admin     net.Listener // nil if there is none
	socket    net.Listener // nil if there is none
	people    *directories
}

// close closes what could be opened when something else could not.
func (r *running) close() {
	for _, l := range append(r.listeners, r.admin, r.socket) {
		if l != nil {
			l.Close()
		}
	}
}

// rules are the compiled rules of the moment; SIGHUP replaces them.
type rules struct{ set atomic.Pointer[policy.Set] }

func (r *rules) Resolve(q policy.Request) (*policy.Policy, error) { return r.set.Load().Resolve(q) }
func (r *rules) Explain(q policy.Request) policy.Explanation      { return r.set.Load().Explain(q) }
func (r *rules) Hash() string                                     { return r.set.Load().Hash() }

// serve puts all parts together and serves until ctx ends. It calls ready when
// clients can connect. written is the configuration as the file has it, cfg the
// one to use: the command line may have changed something.
func serve(ctx context.Context, written, cfg *config.Config, ready func(*running)) error {
	log := cfg.Log.New(os.Stderr)
	ctx, drain := context.WithCancelCause(ctx)
	defer drain(nil)

	made, err := prepare(cfg, cfg.HostKeys)
	if err != nil {
		return err
	}
	removePID, err := writePID(cfg.PIDFile)
	if err != nil {
		return err
	}
	defer removePID()
	live := &rules{}
	live.set.Store(made.rules)
	settings := cfg.SSH
	connections, files := fitLimits(settings.MaxConnections, log)
	settings.MaxConnections = connections
	if settings.MaxFiles == 0 {
		settings.MaxFiles = files
	}

	audit, err := event.Open(cfg.Events, log.Named("events"))
	if err != nil {
		return err
	}
	defer audit.Close()
	counts, queues := metrics.New(), []*event.Queue{audit.Queue}
	sinks := event.Sinks{audit, counts, event.Log(log)}
	if cfg.Events.Syslog.Enabled() {
		syslog, err := event.OpenSyslog(cfg.Events, log.Named("events"))
		if err != nil {
			return fmt.Errorf("events.%w", err)
		}
		defer syslog.Close()
		queues, sinks = append(queues, syslog), append(sinks, syslog)
	}
	audit.Report(sinks)
	counts.Watch(queues...)
	record := audit.Queue
	if cfg.Events.File == "" {
		record = queues[len(queues)-1]
	}

	attributes := append(made.rules.Attributes(), cfg.Certificates.PrincipalAttributes...)
	people, err := openDirectories(cfg.Directories, attributes, log)
	if err != nil {
		return err
	}
	defer people.Close()

	syscall.Umask(0) // each folder has an umask of its own
	quotas, store := &fs.Quotas{}, state.NewMemory(cfg.Admission)
	shown := &folders{report: counts.MissingFolders, missing: map[string]policy.Folder{}, opened: map[string]bool{}}
	gate := &login.Gate{
		Settings:     settings.Settings,
		Directory:    people.Directory,
		Rules:        live,
		Certificates: made.authorities,
		Kerberos:     made.keytab,
		Codes:        made.codes,
		State:        store,
		HostKeys:     made.keys,
		Emit:         sinks.Emit,
		Log:          log.Named("login"),
		Service:      sshd.ServiceName,
	}
	srv := &sshd.Server{
		Settings: settings,
		Gate:     gate,
		Open: func(p *policy.Policy, pace *fs.Pace) (fs.FS, error) {
			return shown.open(p, fs.Settings{Quotas: quotas, Pace: pace})
		},
		Events: sinks,
		Log:    log.Named("sshd"),
	}
	if cfg.Events.WhenLost == event.Refuse {
		srv.Refusing = record.Lost
	}
	r, err := listen(cfg)
	if err != nil {
		return err
	}

	// What runs beside the server ends after it: health answers during a drain.
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { followLoad(beside) })
	background.Go(func() { srv.Watch(beside) })
	background.Go(func() { watchDirectory(beside, people, sinks) })
	background.Go(func() { shown.watch(beside) })
	background.Go(func() { sweep(beside, live.set.Load, quotas, log.Named("sweep")) })
	answer := func(l net.Listener, h http.Handler) {
		background.Go(func() {
			if err := admin.Serve(beside, l, h, log.Named("admin")); err != nil {
				log.Error("answer operators", "address", l.Addr(), "error", err)
			}
		})
	}
	if r.admin != nil {
		answer(r.admin, admin.Handler(readiness(ctx, people, shown, record, cfg.Events.WhenLost), counts.Registry, log.Named("admin")))
	}
	re := &reloader{
		started: written, attributes: attributes, rules: live, people: people,
		server: srv, store: store, audit: audit, sink: sinks, log: log,
	}
	background.Go(func() { re.onHangup(beside) })
	if r.socket != nil {
		answer(r.socket, admin.Control(operator{srv, beside, store, re, drain, sinks}))
	}

	lastStop, err := audit.LastStop()
	if err != nil {
		log.Warn("mark that the server is running", "error", err)
	}
	sinks.Emit(event.Event{Type: event.ServerStarted, Detail: "berth " + release, Fields: map[string]string{"last_stop": lastStop, "rules_hash": live.Hash()}})
	served := make(chan error, len(r.listeners))
	for _, l := range r.listeners {
		go func() { served <- srv.Serve(beside, l) }()
	}
	debug.FreeOSMemory() // what the start needed: rules, hashes of an embedded directory
	r.people = people
	notify("READY=1", log)
	ready(r)
	err = untilDone(ctx, srv, r, served, sinks, cfg.SSH.Drain)
	sinks.Emit(event.Event{Type: event.ServerStopped})
	return err
}

// listen opens every port before anything is served.
func listen(cfg *config.Config) (_ *running, err error) {
	r := &running{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for _, a := range cfg.Addresses() {
		l, err := net.Listen(a.Network, a.Address)
		if err != nil {
			return nil, fmt.Errorf("listen: %s: %w", a.Address, err)
		}
		r.listeners = append(r.listeners, sshd.Behind(l, cfg.SSH.ProxyFrom))
	}
	if cfg.Admin.Listen != "" {
		if r.admin, err = net.Listen("tcp", cfg.Admin.Listen); err != nil {
			return nil, fmt.Errorf("admin.listen: %s: %w", cfg.Admin.Listen, err)
		}
	}
	if cfg.Admin.Socket != "" {
		if r.socket, err = admin.ListenSocket(cfg.Admin.Socket); err != nil {
			return nil, fmt.Errorf("admin.socket: %w", err)
		}
	}
	return r, nil
}

// untilDone waits for the end of ctx or of a listener, and drains.
func untilDone(ctx context.Context, srv *sshd.Server, r *running, served <-chan error, sink event.Sink, drain time.Duration) error {
	var failed error
	left := len(r.listeners)
	select {
	case <-ctx.Done():
	case failed = <-served:
		left--
	}
	draining := event.Event{Type: event.ServerDraining, Err: failed}
	var by drainedBy
	if errors.As(context.Cause(ctx), &by) {
		draining.Fields = by.Fields()
	} else if failed == nil {
		draining.Fields = map[string]string{"operator": "signal"}
	}
	sink.Emit(draining)
	notify("STOPPING=1", srv.Log)
	for _, l := range r.listeners {
		l.Close()
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		failed = errors.Join(failed, err)
	}
	for ; left > 0; left-- {
		failed = errors.Join(failed, <-served)
	}
	return failed
}

// errDraining is why a server that is shutting down is not ready.
var errDraining = errors.New("shutting down")

// readiness answers /readyz. A server is ready if this is not its end, every
// directory answers, and the last sessions could open a folder. Events that are
// lost matter if whenLost is event.Refuse.
func readiness(serving context.Context, people directory.Directory, shown *folders, record *event.Queue, whenLost string) func(context.Context) error {
	return func(ctx context.Context) error {
		if serving.Err() != nil {
			return errDraining
		}
		down, lost := people.Ping(ctx), record.Lost()
		all, missing := shown.Err()
		err := errors.Join(down, lost, missing)
		if down == nil && !all && (lost == nil || whenLost != event.Refuse) && err != nil {
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
	for first := true; ; first = false {
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
		if !sleep(ctx, every) {
			return
		}
	}
}

// sleep waits for d and reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// notify tells systemd how far the service is (sd_notify), so that "systemctl
// start" waits for a server that can be reached, and fails when there is none.
func notify(state string, log hclog.Logger) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		log.Warn("tell systemd", "state", state, "error", err)
	}
}
