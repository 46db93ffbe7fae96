package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A bench is running servers over one directory full of files: Berth, and those that
// it is measured beside.
type bench struct {
	dir     string // everything that is made; removed at the end
	home    string // what all servers serve
	key     string // private key file of the user of all
	sizes   sizes
	rounds  int
	hurry   time.Time // from when on one round of a workload must do; zero: never
	profile string
	owner   bool
	old     string
	berth   *target
	others  []*target
	running []*process
}

// hurryAfter leaves a quick run time to end within a minute on a slow machine.
const hurryAfter = 20 * time.Second

// open makes the files and starts the servers.
func open(ctx context.Context, o options) (*bench, error) {
	b := &bench{sizes: fullSizes, rounds: 5, profile: o.profile, owner: o.owner, old: o.old}
	if o.quick {
		b.sizes, b.rounds = quickSizes, 3
	}
	if o.rounds > 0 {
		b.rounds = o.rounds
	}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	if o.quick {
		b.hurry = time.Now().Add(hurryAfter)
	}
	return b, nil
}

func (b *bench) start(ctx context.Context) error {
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(place(b.sizes.space()), "berth-bench-")
	if err != nil {
		return err
	}
	b.dir, b.home, b.key = dir, filepath.Join(dir, "home"), filepath.Join(dir, "user_key")
	if err := os.Chmod(dir, 0o755); err != nil { // OpenSSH may serve it as another user
		return err
	}
	if err := writeKey(b.key); err != nil {
		return err
	}
	if err := b.makeData(); err != nil {
		return fmt.Errorf("make the files: %w", err)
	}
	if err := b.startBerths(ctx); err != nil {
		return fmt.Errorf("start berth: %w", err)
	}
	openssh, err := b.startOpenSSH(ctx)
	if err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	b.others = append(b.others, openssh)
	return nil
}

// close ends what was started and removes what was made.
func (b *bench) close() error {
	for _, p := range b.running {
		p.stop()
	}
	return os.RemoveAll(b.dir)
}

// place is where the files go: memory if it has room for space bytes, so that
// no disk is measured, else the directory for temporary files.
func place(space int64) string {
	const shm = "/dev/shm"
	var s unix.Statfs_t
	if err := unix.Statfs(shm, &s); err == nil && int64(s.Bavail)*s.Bsize > space {
		return shm
	}
	return os.TempDir()
}

// A round is one workload measured once on another server and on Berth.
type round struct{ other, berth result }

// measure runs w on all servers in turns, and returns the rounds of each other server.
// The one that goes first changes from round to round.
func (b *bench) measure(ctx context.Context, w workload) ([][]round, error) {
	n := b.rounds
	if w.rounds > 0 {
		n = min(n, w.rounds)
	}
	servers := append([]*target{b.berth}, b.others...)
	rounds := make([][]round, len(b.others))
	for i := range n {
		if i > 0 && !b.hurry.IsZero() && time.Now().After(b.hurry) {
			break
		}
		results := make([]result, len(servers))
		for j := range servers {
			turn := (i + j) % len(servers)
			var err error
			if results[turn], err = b.once(ctx, w, servers[turn]); err != nil {
				return rounds, err
			}
		}
		for j := range rounds {
			rounds[j] = append(rounds[j], round{other: results[1+j], berth: results[0]})
		}
	}
	return rounds, nil
}

// once runs w on t.
func (b *bench) once(ctx context.Context, w workload, t *target) (result, error) {
	t.settle()
	stop, err := b.record(w, t)
	if err != nil {
		return result{}, err
	}
	m := &meter{pid: t.process.pid()}
	m.start()
	r, err := w.run(&job{ctx: ctx, bench: b, target: t, meter: m})
	t.settle()
	m.stop()
	if err := stop(); err != nil {
		return result{}, err
	}
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", t.name, err)
	}
	r.CPU = m.used / r.Work * w.unit.scale
	return r, nil
}
