package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// residentMiB is the memory of a tree as each process sees it.
func residentMiB(root int) float64 {
	var sum int64
	for _, s := range tree(root) {
		sum += s.rss
	}
	return float64(sum) / (1 << 20)
}

// proportionalKiB is the memory of a tree, what is shared counted once.
func proportionalKiB(root int) float64 {
	var sum float64
	for pid := range tree(root) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		_, after, _ := strings.Cut(string(text), "\nPss:")
		fields := strings.Fields(after)
		if len(fields) > 0 {
			kib, _ := strconv.ParseFloat(fields[0], 64)
			sum += kib
		}
	}
	return sum
}

// growth watches the memory of a tree until the function it returns is called,
// which returns by how many MiB it was larger at most.
func growth(root int) func() float64 {
	const every = 20 * time.Millisecond
	before := residentMiB(root)
	peak := before
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(every):
				peak = max(peak, residentMiB(root))
			}
		}
	})
	return func() float64 {
		close(stop)
		watching.Wait()
		return peak - before
	}
}

// idleMemory opens sessions and leaves them alone. It comes first: a server
// that has done other work has freed memory, which would hide what they need.
func idleMemory(j *job) (result, error) {
	n := j.bench.sizes.idle
	before := proportionalKiB(j.target.process.pid())
	sessions, err := j.sessions(n, 8)
	defer closeAll(sessions)
	if err != nil {
		return result{}, err
	}
	time.Sleep(time.Second) // the last of them become idle
	after := proportionalKiB(j.target.process.pid())
	return result{
		Value: (after - before) / float64(n), Work: float64(n),
		Note: fmt.Sprintf("%d sessions, %.0f to %.0f MiB", n, before/1024, after/1024),
	}, nil
}
