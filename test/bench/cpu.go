package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A meter counts the CPU time of a process and all it has forked.
type meter struct {
	pid     int
	from    float64
	used    float64 // seconds, once stopped
	stopped bool
}

// start begins to count, or begins again.
func (m *meter) start() { m.from = cpuSeconds(m.pid) }

// stop ends counting; a later stop changes nothing.
func (m *meter) stop() {
	if !m.stopped {
		m.used, m.stopped = cpuSeconds(m.pid)-m.from, true
	}
}

// ticks is USER_HZ of every Linux that Go runs on.
const ticks = 100

// stat is what counts here of /proc/PID/stat, proc(5).
type stat struct {
	parent int
	own    float64 // CPU seconds, those of ended threads too
	ended  float64 // CPU seconds of children that were waited for
	rss    int64   // bytes
}

func readStat(pid int) (stat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	// The name, in brackets, may hold anything; field 3 comes after it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 22 {
		return stat{}, false
	}
	field := func(n int) int64 {
		v, _ := strconv.ParseInt(fields[n-3], 10, 64)
		return v
	}
	return stat{
		parent: int(field(4)),
		own:    float64(field(14)+field(15)) / ticks,
		ended:  float64(field(16)+field(17)) / ticks,
		rss:    field(24) * int64(os.Getpagesize()),
	}, true
}

// tree returns the live processes from root down.
func tree(root int) map[int]stat {
	all, children := map[int]stat{}, map[int][]int{}
	entries, _ := os.ReadDir("/proc") // what could not be read is not there
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok {
			all[pid] = s
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	found := map[int]stat{}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		if s, ok := all[next[0]]; ok {
			found[next[0]] = s
			next = append(next, children[next[0]]...)
		}
	}
	return found
}

// cpuSeconds is the CPU time of a tree. Living processes count in nanoseconds
// if the kernel has them: in ticks, many short sessions would be rounded to
// nothing.
func cpuSeconds(root int) float64 {
	var sum float64
	for pid, s := range tree(root) {
		sum += max(s.own, threadSeconds(pid)) + s.ended
	}
	return sum
}

// threadSeconds is the CPU time of the live threads of a process.
func threadSeconds(pid int) float64 {
	dir := fmt.Sprintf("/proc/%d/task/", pid)
	entries, _ := os.ReadDir(dir)
	var sum int64
	for _, e := range entries {
		b, _ := os.ReadFile(dir + e.Name() + "/schedstat")
		running, _, _ := strings.Cut(string(b), " ")
		ns, _ := strconv.ParseInt(running, 10, 64)
		sum += ns
	}
	return float64(sum) / 1e9
}
