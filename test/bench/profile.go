package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// record starts a profile of Berth if profiles are wanted; the function it
// returns ends it. The last round of a workload stays in its file. Look at it
// with: perf report --no-children -i FILE. Sampling makes every change of
// threads dearer, so a profile says where time goes, not how much it is.
func (b *bench) record(w workload, t *target) (stop func() error, err error) {
	if b.profile == "" || t != b.berth {
		return func() error { return nil }, nil
	}
	var pids []string
	for _, pid := range slices.Sorted(maps.Keys(tree(t.process.pid()))) {
		pids = append(pids, fmt.Sprint(pid))
	}
	file := filepath.Join(b.profile, w.name+".perf")
	cmd := exec.Command("perf", "record", "-q", "-g", "-e", "cpu-clock", "-F", "499", "-p", strings.Join(pids, ","), "-o", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return func() error {
		cmd.Process.Signal(os.Interrupt) // its way to end well
		cmd.Wait()
		_, err := os.Stat(file)
		return err
	}, nil
}
