package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/config"
	"berth/directory/ldap"
	"berth/policy"
	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

// A reloader applies what has changed while the server runs: rules, admission,
// the people of embedded directories, and an event file that has been moved away.
type reloader struct {
	started    *config.Config // as the file was at the start: all but its rules and admission is still in force
	attributes []string       // that all directories are asked for
	confined   confinement
	rules      *rules
	people     *directories
	server     *sshd.Server
	store      nodeState
	audit      *audit.File
	sink       event.Sink
	before     func() []*admin.Client // the processes that this one has taken over from, and that have sessions
	supervisor supervisor
	status     string // for the supervisor, when it is done
	log        hclog.Logger
	last       atomic.Pointer[admin.Reload] // how the last one ended
	hash       atomic.Pointer[string]       // of the configuration in force
	mu         sync.Mutex                   // held during a reload
}

// run reloads, with by as the first fields of its event, and has open sessions follow the rules before
// it returns. A mistake changes nothing.
func (r *reloader) run(ctx context.Context, by map[string]string) (waits string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.supervisor.reloading()
	defer r.supervisor.ready(r.status)
	if err := r.audit.Reopen(); err != nil {
		r.log.Error("reopen the event file", "error", err)
	}
	waits, err = r.reload()
	outcome := &admin.Reload{At: time.Now(), Waits: waits}
	defer r.last.Store(outcome)
	if err != nil {
		outcome.Error = err.Error()
		r.log.Error("reload failed: the previous configuration stays in force", "error", err)
		r.sink.Emit(event.Event{Type: event.ReloadFailed, Detail: err.Error(), Fields: by})
		return "", err
	}
	by["rules_hash"] = r.rules.Hash()
	r.sink.Emit(event.Event{Type: event.ServerReloaded, Detail: waits, Fields: by})
	r.server.Reconsider(ctx)
	for _, process := range r.before() {
		if _, err := process.Reload(ctx); err != nil && !errors.Is(err, admin.ErrNobody) { // else it has just ended
			r.log.Error("reload: sessions that began before the upgrade keep their rules", "error", err)
			waits = strings.TrimPrefix(waits+"; sessions that began before the upgrade keep their rules: "+err.Error(), "; ")
			outcome.Waits = waits
		}
	}
	return waits, nil
}

// asked reports whether every directory is asked for an attribute. name is in
// lower case.
func (r *reloader) asked(name string) bool {
	same := func(other string) bool { return strings.EqualFold(other, name) }
	lacks := func(d ldap.Settings) bool { return !slices.ContainsFunc(d.Attributes, same) }
	return slices.ContainsFunc(r.attributes, same) || !slices.ContainsFunc(r.started.Directories, lacks)
}

// compile returns the rules of cfg, if this process can follow them.
func (r *reloader) compile(cfg *config.Config) (*policy.Set, error) {
	set, err := cfg.Compile()
	if err != nil {
		return nil, err
	}
	now := *r.started
	now.Rules = cfg.Rules
	if err := errors.Join(now.CheckFactors()...); err != nil {
		return nil, fmt.Errorf("%w: it was not set when the server started: restart the server", err)
	}
	for _, name := range set.Attributes() {
		if !r.asked(name) {
			return nil, fmt.Errorf("rules: %%{%s}: no rule had this attribute when the server started, so the directories are not asked for it: restart the server", name)
		}
	}
	return set, r.confined.holds(folderNeeds(set))
}

// hashed notes the hash of the configuration in force: that of the start with what a reload
// applies of cfg.
func (r *reloader) hashed(cfg *config.Config) error {
	now := *r.started
	now.Rules, now.Admission = cfg.Rules, cfg.Admission
	hash, err := now.Hash()
	r.hash.Store(&hash)
	return err
}

// reload reads the rules, admission, and people who live in files here. It returns
// in a sentence what else has changed in the file, which it does not apply.
func (r *reloader) reload() (waits string, err error) {
	cfg, err := config.Load(r.started.Path)
	if err != nil {
		return "", err
	}
	set, err := r.compile(cfg)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, e := range r.people.embedded {
		errs = append(errs, e.Check()) // of all, before one of them changes
	}
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	for _, e := range r.people.embedded {
		errs = append(errs, e.Reload())
	}
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	for _, warning := range owners(set) {
		r.log.Warn(warning)
	}
	if err := r.hashed(cfg); err != nil {
		return "", err
	}
	r.rules.set.Store(set)
	r.store.SetSettings(cfg.Admission)
	others := slices.DeleteFunc(r.started.Changed(cfg), func(key string) bool { return key == "rules" || strings.HasPrefix(key, "admission.") })
	if len(others) > 0 {
		waits = "also changed, but only a restart applies it: " + strings.Join(others, ", ")
	}
	return waits, nil
}
