// Command bench measures Berth beside an OpenSSH sshd. It builds and starts
// both over one directory, runs every workload against one and then the other,
// round by round, and prints Berth's speed and server CPU as ratios to OpenSSH's
// of the same round, beside what was aimed for. With -owner Berth keeps files of a
// person, and there is a third server: a Berth whose files are its own. With -old, the
// third server is a Berth that was built before a change.
//
// The figures of two runs on one machine differ by what else the machine does;
// the ratios differ less, and those of CPU least. A goal that is missed is
// marked and is no failure. Start at workloads in workload.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == keepCommand {
		os.Exit(keep(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options is what the command line says.
type options struct {
	quick   bool
	rounds  int
	only    *regexp.Regexp
	json    string // file that every measurement is added to, "" for none
	profile string // directory for profiles of Berth, "" for none
	owner   bool   // Berth keeps files of a person, and is measured beside one with files of its own, too
	old     string // program of another Berth that it is measured beside, too; "" for none
}

func parse(args []string) (options, error) {
	var o options
	only := ""
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "small sizes and few rounds: under a minute")
	f.IntVar(&o.rounds, "rounds", 0, "measure each workload `N` times; 0: 5, or 3 with -quick")
	f.StringVar(&only, "only", "", "measure only workloads whose name matches `REGEXP`")
	f.StringVar(&o.json, "json", "", "add one JSON line a measurement to `FILE`")
	f.BoolVar(&o.owner, "owner", false, "measure Berth with owner: person, beside owner: service and beside OpenSSH; only as root")
	f.StringVar(&o.old, "old", "", "measure Berth beside `PROGRAM` too: a berth that was built before a change")
	f.StringVar(&o.profile, "profile", "", "record Berth with perf, one file a workload, in `DIR`; such rounds are slower")
	if err := f.Parse(args); err != nil {
		return o, flag.ErrHelp // Parse has printed what is wrong
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.owner && o.old != "" {
		return o, errors.New("-owner and -old: choose one")
	}
	re, err := regexp.Compile(only)
	if err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	o.only = re
	return o, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	b, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r, err := newReport(os.Stdout, o.json)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.begin(ctx); err != nil {
		return err
	}
	for _, w := range workloads {
		if !o.only.MatchString(w.name) {
			continue
		}
		goals := []goal{w.goal}
		switch {
		case o.owner:
			goals = []goal{{speed: 0.9}, {speed: 1}}
		case o.old != "":
			goals = []goal{{speed: 0.95, cpu: 1.05}, w.goal}
		}
		rounds, err := b.measure(ctx, w)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i, other := range b.others {
			w.goal = goals[i]
			if err := r.add(w, other.name, rounds[i], err); err != nil {
				return err
			}
		}
	}
	r.end()
	return nil
}
