package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFitConnections(t *testing.T) {
	tests := []struct {
		want        int
		descriptors uint64
		connections int
		warning     string
	}{
		{2000, 1 << 20, 2000, ""},
		{2000, 6256, 2000, ""},
		{2000, 6255, 1999, "raise the limit to 6256"},
		{2000, 1024, 256, "the limit of 1024 open files (RLIMIT_NOFILE) is enough for 256 connections, and ssh.max_connections is 2000"},
		{2000, 64, 10, "enough for 10 connections"},
		{2000, 3, 1, "enough for 1 connections"},
		{5, 64, 5, ""},
		{0, 1024, 256, ""}, // no limit of its own
		{0, math.MaxUint64, math.MaxInt32, ""},
	}
	for _, tt := range tests {
		n, warning := fitConnections(tt.want, tt.descriptors)
		if n != tt.connections || !strings.Contains(warning, tt.warning) || (warning == "") != (tt.warning == "") {
			t.Errorf("fitConnections(%d, %d) = %d, %q, want %d, %q", tt.want, tt.descriptors, n, warning, tt.connections, tt.warning)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing", nil, math.MaxInt64},
		{"unlimited", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, math.MaxInt64},
		{"of a container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "134217728\n"}, 128 << 20},
		{"of the service", map[string]string{
			"proc/self/cgroup": "0::/system.slice/berth.service\n",
			"sys/fs/cgroup/system.slice/berth.service/memory.max": "1000\n", "sys/fs/cgroup/system.slice/memory.max": "2000\n",
		}, 1000},
		{"of the slice", map[string]string{
			"proc/self/cgroup": "0::/system.slice/berth.service\n",
			"sys/fs/cgroup/system.slice/berth.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "2000\n",
		}, 2000},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/b\n4:memory:/b\n0::/b\n",
			"sys/fs/cgroup/memory/b/memory.limit_in_bytes": "3000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/cpu/b/memory.max": "1\n",
		}, 3000},
		{"version 1 without a limit", map[string]string{
			"proc/self/cgroup": "4:memory:/b\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, math.MaxInt64},
		{"of somebody else", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/b/memory.max": "1\n"}, math.MaxInt64},
		{"of no sense", map[string]string{"proc/self/cgroup": "x\n0::/a\n", "sys/fs/cgroup/a/memory.max": "-1\n"}, math.MaxInt64},
	}
	for _, tt := range tests {
		root := fstest.MapFS{}
		for name, text := range tt.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memoryLimit(root); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestTuneMemory(t *testing.T) {
	limit := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(limit)
	for _, tt := range []struct {
		set    string // in the environment
		memory int64
		limit  int64
	}{
		{"", 1000, 900},
		{"", math.MaxInt64, 77},
		{"GOMEMLIMIT", 1000, 77},
	} {
		debug.SetMemoryLimit(77)
		tuneMemory(func(name string) string { return map[string]string{tt.set: "set"}[name] }, tt.memory)
		if l := debug.SetMemoryLimit(-1); l != tt.limit {
			t.Errorf("with %q set and %d bytes: limit %d, want %d", tt.set, tt.memory, l, tt.limit)
		}
	}
}

// TestReturnFree: memory that was needed for a moment only is returned to the
// system.
func TestReturnFree(t *testing.T) {
	var pieces [][]byte
	for range 16 << 10 {
		pieces = append(pieces, make([]byte, 4<<10))
	}
	runtime.KeepAlive(pieces)
	runtime.GC()
	returnFree()
	if free, all := heldMemory(); free > max(leastReturned, all/16) {
		t.Errorf("%d of %d bytes are free and not returned", free, all)
	}
}

func TestFitFiles(t *testing.T) {
	for _, tt := range []struct {
		connections int
		descriptors uint64
		want        int
	}{
		{2000, 524288, 524288 - 256 - 2000},
		{21, 64, 64 - 32 - 21},
		{1, 2, 1},
	} {
		if got := fitFiles(tt.connections, tt.descriptors); got != tt.want {
			t.Errorf("beside %d connections, of %d descriptors: %d files, want %d", tt.connections, tt.descriptors, got, tt.want)
		}
	}
}
