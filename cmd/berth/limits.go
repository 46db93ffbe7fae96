package main

import (
	"context"
	"fmt"
	iofs "io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// The descriptors that are reserved for the directory, the events, the
// folders of all people and connections that are about to be refused, and
// those that one connection needs on average: its socket, and the files that
// are open.
const (
	descriptorsKept   = 256
	descriptorsEach   = 3
	memoryUsedPercent = 90 // of the memory that the service may have: above this, garbage is collected more often
)

// fitLimits adapts the server to the limits of the machine. maxConnections is
// ssh.max_connections. The result is how many connections to accept, and how
// many files their clients may have open. The log says what the limits are.
func fitLimits(maxConnections int, log hclog.Logger) (connections, files int) {
	var limit syscall.Rlimit // Go has raised it to the hard limit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	connections, warning := fitConnections(maxConnections, limit.Cur)
	if warning != "" {
		log.Warn(warning)
	}
	memory := memoryLimit(os.DirFS("/"))
	tuneMemory(os.Getenv, memory)
	values := []any{"descriptors", limit.Cur, "max_connections", connections}
	if memory < math.MaxInt64 {
		values = append(values, "memory", memory)
	}
	log.Info("limits", values...)
	return connections, fitFiles(connections, limit.Cur)
}

// fitFiles returns how many files may be open beside so many connections, with
// enough descriptors left for logins and the directory.
func fitFiles(connections int, descriptors uint64) int {
	kept := min(descriptorsKept, descriptors/2)
	return max(1, int(min(descriptors-kept, math.MaxInt32))-connections)
}

// fitConnections returns how many connections so many descriptors carry, at most
// want; 0 is no limit. Without descriptors not even the directory can be asked,
// so refusing more connections is better than failing logins.
func fitConnections(want int, descriptors uint64) (connections int, warning string) {
	kept := min(descriptorsKept, descriptors/2)
	carried := int(min(max(1, (descriptors-kept)/descriptorsEach), math.MaxInt32))
	switch {
	case want == 0:
		return carried, ""
	case want <= carried:
		return want, ""
	}
	return carried, fmt.Sprintf("the limit of %d open files (RLIMIT_NOFILE) is enough for %d connections, and ssh.max_connections is %d: raise the limit to %d (LimitNOFILE of systemd)",
		descriptors, carried, want, want*descriptorsEach+descriptorsKept)
}

// unlimited is less than what version 1 of control groups writes if there is no limit:
// the largest multiple of a page.
const unlimited = math.MaxInt64 / 2

// memoryLimit returns how many bytes the control group of this process may use,
// or the largest number. root is the root of the file system.
func memoryLimit(root iofs.FS) int64 {
	least := int64(math.MaxInt64)
	look := func(file string) {
		text, _ := iofs.ReadFile(root, file)
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < unlimited {
			least = min(least, n)
		}
	}
	groups, _ := iofs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		// number:controllers:path, and no controllers in version 2
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if fields[1] == "memory" {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if fields[1] != "" {
			continue
		}
		for group := path.Join("/", fields[2]); ; group = path.Dir(group) { // the limit of each group above counts, too
			look(base + path.Join(group, file))
			if group == "/" {
				break
			}
		}
	}
	return least
}

// tuneMemory has memory collected more often near the limit of the control group,
// because the kernel would end the process. GOMEMLIMIT takes precedence.
func tuneMemory(getenv func(string) string, limit int64) {
	if getenv("GOMEMLIMIT") == "" && limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit / 100 * memoryUsedPercent)
	}
}

// returnMemory returns memory to the system each minute, if enough is free, until ctx
// ends. Thousands of logins at once leave free memory between what their sessions keep,
// and Go keeps much of it.
func returnMemory(ctx context.Context) {
	for sleep(ctx, time.Minute) {
		returnFree()
	}
}

func returnFree() {
	if free, all := heldMemory(); free > max(leastReturned, all/16) {
		debug.FreeOSMemory()
	}
}

// leastReturned is how many free bytes are worth a collection.
const leastReturned = 8 << 20

// heldMemory returns how many bytes this process holds, and how many of them nothing uses.
func heldMemory() (free, all uint64) {
	s := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[2].Value.Uint64() - s[1].Value.Uint64()
}
