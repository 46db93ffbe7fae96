package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/fs"
	"berth/policy"
	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/console"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/event/metrics"
	"berth/sshd/login"
)

func serveCommand() *cobra.Command {
	return configCommand("serve", "Run the server",
		`Serve reads the configuration and serves until it gets SIGTERM or SIGINT. Then
running transfers have the time of ssh.drain to finish. At SIGHUP it reads the rules
again and reopens the event file. Open sessions have the new rights at their next
operation. SIGUSR2 does the same as "berth upgrade". Serve uses the sockets that
systemd passes if listen, admin.listen or console.listen has their address.`, cobra.NoArgs, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
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
	reloads, upgrades := signals(syscall.SIGHUP), signals(syscall.SIGUSR2) // that come during the start wait
	defer signal.Stop(reloads)
	defer signal.Stop(upgrades)
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
	for _, warning := range owners(made.rules) {
		log.Warn(warning)
	}
	settings := cfg.SSH
	connections, files := fitLimits(settings.MaxConnections, log)
	settings.MaxConnections = connections
	settings.MaxFiles = cmp.Or(settings.MaxFiles, files)

	if err := nameNode(cfg); err != nil {
		return err
	}
	record, err := openRecord(cfg, made.keys[0], log)
	if err != nil {
		return err
	}
	defer record.Close()
	sinks, counts := record.Sinks, record.counts
	history := &console.History{}
	if cfg.Console.Listen != "" {
		sinks = append(sinks, history)
	}
	post, err := openMailer(cfg, sinks, log.Named("mail"))
	if err != nil {
		return err
	}
	if post != nil {
		defer post.close()
		sinks = append(sinks, post)
	}

	attributes := slices.Concat(made.rules.Attributes(), cfg.Certificates.PrincipalAttributes, cfg.Mail.Attributes())
	people, err := openDirectories(cfg.Directories, attributes, log)
	if err != nil {
		return err
	}
	defer people.Close()
	certificates := func() []metrics.Certificate { return people.certificates(made.keys) }

	syscall.Umask(0) // each folder has an umask of its own
	quotas := &fs.Quotas{}
	store, err := openState(cfg, sinks)
	if err != nil {
		return err
	}
	store.shareTries(people.shields)
	store.shareQuotas(quotas)
	if made.codes != nil {
		made.codes.Since = store.codesSince(time.Now())
	}
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
	if made.provider != nil { // else the interface would hold a nil pointer, and would not be nil
		gate.SignIn = made.provider
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
		srv.Refusing = record.main.Lost
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
		store.remember(before.talk, known)
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
	background.Go(func() { returnMemory(beside) })
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
	isReady := readiness(ctx, people, shown, record.main, store.health, cfg.Events.WhenLost)
	health, endHealth := context.WithCancel(beside) // until another process takes over
	defer endHealth()
	background.Go(func() { service.watch(health, srv.Alive) })
	if post != nil {
		post.of(people, live.set.Load)
		background.Go(func() { post.Watch(health) })
		background.Go(func() { post.Notify(beside) })
	}
	up := &upgrader{
		program: program, listeners: r.sockets, memories: store.memories, drain: cfg.SSH.Drain, sink: sinks,
		talk:  func(conn net.Conn, read *json.Decoder) { background.Go(func() { store.talk(beside, conn, read) }) },
		aside: func() (func(), error) { return r.stepAside(cfg.Admin.Socket, pid) },
		leave: func(h handedOver) {
			service.handedOver(h.pid)
			record.file.Yield()
			endHealth() // the next process answers
			drain(h)
		},
	}
	re := &reloader{
		started: written, attributes: attributes, confined: confined, rules: live, people: people,
		server: srv, store: store, audit: record.file, sink: sinks, before: func() []*admin.Client { return up.before(cfg.Admin.Socket) }, supervisor: service, status: r.status(), log: log,
	}
	if err := re.hashed(written); err != nil {
		return err
	}
	counts.Ask(people.traffic, certificates, func() metrics.Node {
		logins, _, penalized := store.Counts()
		channels, files := srv.InUse()
		return metrics.Node{Logins: logins, Penalized: penalized, Rules: live.Hash(), Config: *re.hash.Load(), Channels: channels, Files: files}
	})
	if r.admin != nil {
		answer(health, r.admin, admin.Handler(isReady, counts.Registry, log.Named("admin")))
	}
	// The outcome of these is an event.
	background.Go(func() { onSignal(beside, upgrades, func(by map[string]string) { _, _ = up.run(by) }) })
	background.Go(func() { onSignal(beside, reloads, func(by map[string]string) { _, _ = re.run(beside, by) }) })
	operators := operator{
		Server: srv, serving: beside, store: store, reloader: re, upgrader: up, level: newLogLevel(log),
		started: time.Now(), ready: isReady, ways: record.ways, certificates: certificates, counts: counts.Registry, drain: drain, sink: sinks,
	}
	if r.console != nil {
		web := &console.Console{
			Settings: cfg.Console, Gate: gate, Operators: operators, Events: sinks, History: history, File: cfg.Events.OnDisk(), Node: cfg.Events.Node,
			Recheck: cfg.SSH.Recheck, Rules: &consoleRules{reloader: re}, Review: cfg.Review, Log: log.Named("console"),
		}
		background.Go(func() { web.Watch(health) })
		answer(health, cfg.Console.Secure(r.console), web.Handler())
	}
	if r.socket != nil {
		answer(beside, r.socket, admin.Control(operators))
	}
	store.answerWith(operators.perform)
	background.Go(func() { store.run(beside) })

	lastStop, err := record.file.LastStop()
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
		background.Go(func() { store.talk(beside, before.talk, before.read) })
	} else {
		service.ready(r.status())
	}
	ready(r)
	err = untilDone(ctx, untilStopped, srv, r, served, sinks, service, cfg.SSH)
	sinks.Emit(event.Event{Type: event.ServerStopped})
	return err
}

// lastMinute is how long before the end of a drain the sessions of the old process are
// ended after an upgrade: as at any drain, each then finishes its file.
const lastMinute = 15 * time.Second

// untilDone waits for the end of ctx or of a listener, and drains. stopped ends when the
// server must end, even if another process has taken over.
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

// signals returns where signals arrive. Without it they end the process.
func signals(sig os.Signal) chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, sig)
	return c
}

// onSignal calls act at every signal until ctx ends, with the fields of an event that
// a signal causes.
func onSignal(ctx context.Context, signals <-chan os.Signal, act func(by map[string]string)) {
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
