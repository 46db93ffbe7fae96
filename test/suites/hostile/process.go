package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// memoryOfConnection is what an attack may cost the server, in bytes.
const memoryOfConnection = 64 << 20

// memory returns how many bytes of memory the server's process has for itself.
func (t *target) memory() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", t.pid))
	if err != nil {
		return 0
	}
	var kib int
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
			break
		}
	}
	return kib << 10
}

// watchMemory looks at the server's memory until the function that it returns
// is called, which says how much it has grown at most, in bytes.
func (t *target) watchMemory() func() int {
	start, peak := t.memory(), 0
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, t.memory())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() int {
		close(stop)
		watching.Wait()
		return peak - start
	}
}

func (t *target) openDescriptors() int {
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.pid))
	return len(open)
}

// descriptorsLeft waits for the server to close what the checks made it open.
// It keeps a few of its own.
func (t *target) descriptorsLeft() error {
	const own = 8
	for range 40 {
		if t.openDescriptors() <= t.descriptors+own {
			return nil
		}
		time.Sleep(250 * time.Millisecond)
	}
	return fmt.Errorf("%d are open, %d were at the start", t.openDescriptors(), t.descriptors)
}
