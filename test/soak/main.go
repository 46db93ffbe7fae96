// Command soak runs a server for a long time with many sessions that come and
// go, breaks things around it, and compares the counts of clients, events,
// metrics and files, which must agree to the byte. It draws memory, descriptors
// and goroutines over time. It needs root, for a small disk, and slapd. Start at
// run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	o := options{}
	flag.DurationVar(&o.last, "for", 30*time.Minute, "how long")
	flag.IntVar(&o.sessions, "sessions", 500, "clients at a time")
	flag.StringVar(&o.plot, "plot", "", "write the drawing to `FILE`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "berth-soak-")
	if err == nil {
		o.dir = dir
		err = errors.Join(run(ctx, o), os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1)
	}
}

// options is what the command line says.
type options struct {
	dir      string // empty, for everything the run makes
	last     time.Duration
	sessions int
	plot     string
}

// run soaks a server. The error joins everything that was wrong.
func run(ctx context.Context, o options) (err error) {
	s, err := open(o)
	if s != nil {
		defer func() { err = errors.Join(err, s.close()) }()
	}
	if err != nil {
		return err
	}
	m, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	s.atRest, s.began = sampleOf(m), time.Now()
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	visitors := s.visitors(loaded, o.sessions)

	// One life of the server ends by kill -9, under load. What was acknowledged stays.
	if err := s.fault(ctx, "kill -9", o.last/10, s.crash); err != nil {
		return err
	}
	// The other life is long. Each fault comes several times.
	faults := []struct {
		name string
		act  func(context.Context) error
	}{
		{"directory killed", s.directoryKilled},
		{"directory hangs", s.directoryHangs},
		{"disk full", s.diskFull},
		{"TCP cut", s.cutAll},
	}
	const rounds = 3
	for range rounds {
		for _, f := range faults {
			if err := s.fault(ctx, f.name, o.last*17/20/time.Duration(rounds*len(faults)), f.act); err != nil {
				return err
			}
		}
	}
	if !pause(ctx, o.last/20) {
		return context.Cause(ctx)
	}
	s.unloaded = time.Now()
	stop()
	visitors.Wait()
	err = errors.Join(s.reckon(ctx), s.flat(ctx))
	s.report(os.Stdout)
	if o.plot != "" {
		err = errors.Join(err, os.WriteFile(o.plot, []byte(s.drawing()), 0o644))
	}
	return err
}

// fault lets the load run for a while and then breaks something.
func (s *soak) fault(ctx context.Context, name string, after time.Duration, act func(context.Context) error) error {
	if !pause(ctx, after) {
		return context.Cause(ctx)
	}
	began := time.Now()
	s.excuse.Add(1) // odd: a fault is going on
	err := act(ctx)
	if err == nil {
		err = s.ready() // it may take a moment to see that the directory is back
	}
	s.excuse.Add(1)
	s.faults = append(s.faults, interval{name, began, time.Now()})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (s *soak) directoryKilled(ctx context.Context) error {
	s.directory.Kill()
	pause(ctx, s.faultLasts)
	return s.directory.Start()
}

func (s *soak) directoryHangs(ctx context.Context) error {
	err := s.directory.Pause()
	pause(ctx, s.faultLasts)
	return errors.Join(err, s.directory.Resume())
}

func (s *soak) diskFull(ctx context.Context) error {
	filler := s.small + "/filler"
	if err := os.WriteFile(filler, make([]byte, smallDisk+1), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fill the small disk: %w, want it to be full", err)
	}
	pause(ctx, s.faultLasts)
	return os.Remove(filler)
}

// cutAll cuts all connections without notice, in the middle of transfers.
func (s *soak) cutAll(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.SetLinger(0)
		c.Close()
	}
	return nil
}

// crash kills the server and starts it again. The events that tell its two lives apart are
// written behind the start, and what waits is lost with the process.
func (s *soak) crash(ctx context.Context) error {
	for lives, err := s.accounts(); err != nil || len(lives) == 0; lives, err = s.accounts() {
		if !pause(ctx, 20*time.Millisecond) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
	if err := s.server.Process.Kill(); err != nil {
		return err
	}
	s.server.Wait()
	return s.serve()
}

// pause waits for d and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
