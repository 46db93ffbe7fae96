package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
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
	"berth/sshd/event/audit"
	"berth/sshd/event/metrics"
	"berth/sshd/login"
)

func serveCommand() *cobra.Command {
	return configCommand("serve", "Serve files",
		`Serve reads the configuration and serves until it gets SIGTERM or SIGINT; then
running transfers have ssh.drain to end. SIGHUP reads the rules again and reopens
the event file: open sessions have the new rights at their next operation. SIGUSR2
is what "berth upgrade" does. Sockets that systemd passes are used if listen or
admin.listen has their address.`, cobra.NoArgs, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
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
	sockets   []net.Listener // the TCP sockets of listeners and admin
	admin     net.Listener   // nil if there is none
	socket    net.Listener   // nil if there is none
	aside     string         // the name of socket when another process has taken over
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
	log := cfg.Log.New(journal(os.Stderr))
	service := supervisor{log.Named("systemd")}
	untilStopped := ctx
	ctx, drain := context.WithCancelCause(ctx)
	defer drain(nil)

	program, err := os.Executable() // before an upgrade puts another file in its place
	if err != nil {
		return err
	}
	before, err := findPredecessor()
	if err != nil {
		return err
	}
	made, err := prepare(cfg, cfg.HostKeys)
	if err != nil {
		return err
	}
	pid := &pidFile{path: cfg.PIDFile}
	if before == nil {
		if err := pid.write(); err != nil {
			return err
		}
	}
	defer pid.remove()
	live := &rules{}
	live.set.Store(made.rules)
	settings := cfg.SSH
	connections, files := fitLimits(settings.MaxConnections, log)
	settings.MaxConnections = connections
	if settings.MaxFiles == 0 {
		settings.MaxFiles = files
	}

	evidence, err := audit.Open(cfg.Events, log.Named("events"))
	if err != nil {
		return err
	}
	defer evidence.Close()
	evidence.Sign(made.keys[0])
	record := evidence.Queue
	counts, ways := metrics.New(), []audit.Watched{evidence.Queue}
	sinks := event.Sinks{evidence, counts, event.Log(log)}
	if cfg.Events.SyslogFromFile() {
		syslog, err := evidence.ForwardToSyslog(cfg.Events, log.Named("events"))
		if err != nil {
			return fmt.Errorf("events.%w", err)
		}
		ways = append(ways, syslog)
	} else if cfg.Events.Syslog.Enabled() {
		syslog, err := audit.OpenSyslog(cfg.Events, log.Named("events"))
		if err != nil {
			return fmt.Errorf("events.%w", err)
		}
		defer syslog.Close()
		if ways, sinks = append(ways, syslog), append(sinks, syslog); cfg.Events.File == "" {
			record = syslog
		}
	}
	if cfg.Events.Webhook.Enabled() {
		webhook, err := evidence.ForwardToWebhook(cfg.Events, log.Named("events"))
		if err != nil {
			return fmt.Errorf("events.%w", err)
		}
		ways = append(ways, webhook)
	}
	evidence.Report(sinks)
	counts.Build(release)
	counts.Watch(ways...)

	attributes := append(made.rules.Attributes(), cfg.Certificates.PrincipalAttributes...)
	people, err := openDirectories(cfg.Directories, attributes, log)
	if err != nil {
		return err
	}
	defer people.Close()
	counts.Ask(people.traffic, func() []metrics.Certificate { return people.certificates(made.keys) })

	syscall.Umask(0) // each folder has an umask of its own
	quotas := &fs.Quotas{}
	store, err := openState(cfg, sinks)
	if err != nil {
		return err
	}
	store.shareTries(people.shields)
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
		Open: func(p *policy.Policy, pace *fs.Pace) (*fs.View, error) {
			return shown.open(p, fs.Settings{Quotas: quotas, Pace: pace})
		},
		Events: sinks,
		Log:    log.Named("sshd"),
	}
	if cfg.Events.WhenLost == audit.Refuse {
		srv.Refusing = record.Lost
	}
	r, err := listen(cfg, log)
	if err != nil {
		return err
	}
	confined, err := confine(cfg, made.rules)
	if err != nil {
		r.close()
		return err
	}
	if before != nil {
		known, err := before.ready()
		if err != nil {
			return err
		}
		store.Restore(known)
		if err := pid.write(); err != nil {
			return err
		}
	}
	if err := r.openSocket(cfg.Admin.Socket); err != nil {
		return err
	}
	defer r.removeAside()

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
	answer := func(ctx context.Context, l net.Listener, h http.Handler) {
		background.Go(func() {
			if err := admin.Serve(ctx, l, h, log.Named("admin")); err != nil {
				log.Error("answer operators", "address", l.Addr(), "error", err)
			}
		})
	}
	isReady := readiness(ctx, people, shown, record, store.health, cfg.Events.WhenLost)
	health, endHealth := context.WithCancel(beside) // until another process takes over
	defer endHealth()
	background.Go(func() { service.watch(health, srv.Alive) })
	if r.admin != nil {
		answer(health, r.admin, admin.Handler(isReady, counts.Registry, log.Named("admin")))
	}
	re := &reloader{
		started: written, attributes: attributes, confined: confined, rules: live, people: people,
		server: srv, store: store, audit: evidence, sink: sinks, supervisor: service, status: r.status(), log: log,
	}
	up := &upgrader{
		program: program, listeners: r.sockets, store: store, drain: cfg.SSH.Drain, sink: sinks,
		aside: func() (func(), error) { return r.stepAside(cfg.Admin.Socket, pid) },
		leave: func(h handedOver) {
			service.handedOver(h.pid)
			evidence.Yield()
			endHealth() // the next process answers
			drain(h)
		},
	}
	// What comes of these is an event.
	background.Go(func() { onSignal(beside, syscall.SIGUSR2, func(by map[string]string) { _, _ = up.run(by) }) })
	background.Go(func() { onSignal(beside, syscall.SIGHUP, func(by map[string]string) { _, _ = re.run(beside, by) }) })
	operators := operator{
		Server: srv, serving: beside, store: store, reloader: re, upgrader: up, level: newLogLevel(log),
		started: time.Now(), ready: isReady, ways: ways, counts: counts.Registry, drain: drain, sink: sinks,
	}
	if r.socket != nil {
		answer(beside, r.socket, admin.Control(operators))
	}
	store.answerWith(operators.answer)
	background.Go(func() { store.run(beside) })

	lastStop, err := evidence.LastStop()
	if err != nil {
		log.Warn("mark that the server is running", "error", err)
	}
	if before != nil {
		lastStop = "upgrade"
	}
	sinks.Emit(event.Event{Type: event.ServerStarted, Detail: "berth " + release, Fields: map[string]string{"last_stop": lastStop, "rules_hash": live.Hash()}})
	served := make(chan error, len(r.listeners))
	for _, l := range r.listeners {
		go func() { served <- srv.Serve(beside, l) }()
	}
	debug.FreeOSMemory() // what the start needed: rules, hashes of an embedded directory
	r.people = people
	if before != nil {
		before.serving()
	} else {
		service.ready(r.status())
	}
	ready(r)
	err = untilDone(ctx, untilStopped, srv, r, served, sinks, service, cfg.SSH)
	sinks.Emit(event.Event{Type: event.ServerStopped})
	return err
}

// listen opens every port before anything is served.
func listen(cfg *config.Config, log hclog.Logger) (_ *running, err error) {
	r := &running{}
	inherited, err := inheritSockets()
	if err != nil {
		return nil, err
	}
	defer inherited.close()
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for _, a := range cfg.Addresses() {
		l, err := inherited.listen(a.Network, a.Address)
		if err != nil {
			return nil, fmt.Errorf("listen: %s: %w", a.Address, err)
		}
		r.sockets = append(r.sockets, l)
		r.listeners = append(r.listeners, sshd.Behind(l, cfg.SSH.ProxyFrom))
	}
	if cfg.Admin.Listen != "" {
		if r.admin, err = inherited.listen("tcp", cfg.Admin.Listen); err != nil {
			return nil, fmt.Errorf("admin.listen: %s: %w", cfg.Admin.Listen, err)
		}
		r.sockets = append(r.sockets, r.admin)
	}
	inherited.giveUp(log)
	return r, nil
}

// openSocket listens for operators.
func (r *running) openSocket(path string) (err error) {
	if path == "" {
		return nil
	}
	if r.socket, err = admin.ListenSocket(path); err != nil {
		r.close()
		return fmt.Errorf("admin.socket: %w", err)
	}
	return nil
}

// stepAside gives another process what only one can have, the name of the socket for
// operators and the pid file, until back is called.
func (r *running) stepAside(path string, pid *pidFile) (back func(), err error) {
	if r.socket != nil {
		if r.aside, err = admin.StepAside(r.socket, path); err != nil {
			return nil, fmt.Errorf("admin.socket: %w", err)
		}
	}
	pid.yield()
	return func() {
		if r.socket != nil {
			os.Rename(r.aside, path)
			r.aside = ""
		}
		pid.write()
	}, nil
}

// removeAside removes the name that the socket has had since another process took over.
func (r *running) removeAside() {
	if r.aside != "" {
		os.Remove(r.aside)
	}
}

// status is the line of the supervisor about a server that serves.
func (r *running) status() string {
	var addresses []string
	for _, l := range r.listeners {
		addresses = append(addresses, l.Addr().String())
	}
	return "listening on " + strings.Join(addresses, ", ")
}

// lastMinute is how long before the end of a drain the sessions of the old process are
// ended after an upgrade: as at any drain, each then finishes its file.
const lastMinute = 15 * time.Second

// untilDone waits for the end of ctx or of a listener, and drains. stopped ends when the
// server is to end, whoever has taken over.
func untilDone(ctx, stopped context.Context, srv *sshd.Server, r *running, served <-chan error, sink event.Sink, service supervisor, times sshd.Settings) error {
	var failed error
	left := len(r.listeners)
	select {
	case <-ctx.Done():
	case failed = <-served:
		left--
	}
	draining := event.Event{Type: event.ServerDraining, Err: failed}
	var by drainedBy
	var over handedOver
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &over):
		draining.Fields = maps.Clone(over.by)
		draining.Fields["successor"] = strconv.Itoa(over.pid)
	case errors.As(cause, &by):
		draining.Fields = by.Fields()
	case failed == nil:
		draining.Fields = map[string]string{"operator": "signal"}
	}
	sink.Emit(draining)
	if over.pid == 0 {
		service.stopping("waiting for running transfers")
		if failed == nil {
			sleep(context.WithoutCancel(ctx), times.DrainNotice)
		}
	}
	for _, l := range r.listeners {
		l.Close()
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), times.Drain)
	defer cancel()
	if over.pid != 0 {
		linger, cancel := context.WithTimeout(stopped, times.Drain-lastMinute)
		srv.Linger(linger)
		cancel()
	}
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
// lost matter if whenLost is audit.Refuse.
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

// onSignal calls act at every signal until ctx ends, with the fields of an event that
// a signal causes.
func onSignal(ctx context.Context, sig os.Signal, act func(by map[string]string)) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, sig)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			act(map[string]string{"operator": "signal"})
		}
	}
}

// sleep waits for d. It reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
