package main

import "time"

// A workload is one thing that clients do, and how much better than OpenSSH
// Berth is meant to be at it.
type workload struct {
	name   string
	unit   unit
	rounds int // at most; 0: as many as asked for
	goal   goal
	run    func(*job) (result, error)
}

// A unit is what a workload is measured in.
type unit struct {
	value string
	less  bool    // less is better
	cpu   string  // of the server's CPU time
	scale float64 // from CPU seconds per piece of work to that
}

var (
	bytesPerSecond  = unit{value: "MB/s", cpu: "s/GB", scale: 1e9}
	filesPerSecond  = unit{value: "files/s", cpu: "ms/file", scale: 1e3}
	namesPerSecond  = unit{value: "names/s", cpu: "us/name", scale: 1e6}
	loginsPerSecond = unit{value: "logins/s", cpu: "ms/login", scale: 1e3}
	loginTime       = unit{value: "ms", less: true, cpu: "ms/login", scale: 1e3}
	answerTime      = unit{value: "us", less: true, cpu: "us/stat", scale: 1e6}
	sessionMemory   = unit{value: "KiB/session", less: true, cpu: "ms/login", scale: 1e3}
)

// A goal is what Berth should reach; what is zero is not asked for.
type goal struct {
	speed  float64 // at least so many times better than OpenSSH
	cpu    float64 // at most so much of OpenSSH's CPU time
	value  float64 // at most so much, in the workload's unit
	growth float64 // MiB of memory at most, more than when idle
}

// workloads in the order they run.
var workloads = []workload{
	{"idle-memory", sessionMemory, 1, goal{speed: 20, value: 90}, idleMemory},
	{"get-default", bytesPerSecond, 0, goal{speed: 2.5, cpu: 0.4}, get(defaults)},
	{"put-default", bytesPerSecond, 0, goal{speed: 2.0, cpu: 0.5}, put(defaults)},
	{"get-aes128gcm", bytesPerSecond, 0, goal{speed: 1.6, cpu: 0.5}, get(aes128)},
	{"put-aes128gcm", bytesPerSecond, 0, goal{speed: 1.4, cpu: 0.75}, put(aes128)},
	{"get8-aes128gcm", bytesPerSecond, 0, goal{speed: 1.3, cpu: 0.6}, getEight},
	{"put8-aes128gcm", bytesPerSecond, 0, goal{speed: 1.3, cpu: 0.5}, putEight},
	{"get-chacha20", bytesPerSecond, 0, goal{speed: 1.0, cpu: 1.5}, get(chacha20)},
	{"put-chacha20", bytesPerSecond, 0, goal{speed: 1.0, cpu: 1.35}, put(chacha20)},
	{"small-put", filesPerSecond, 0, goal{speed: 1.7, cpu: 0.8}, putSmall},
	{"small-get", filesPerSecond, 0, goal{speed: 1.5, cpu: 0.9}, getSmall},
	{"ls-1", namesPerSecond, 0, goal{speed: 1.5, cpu: 0.8, growth: 8}, list("ls -1")},
	{"ls-l", namesPerSecond, 0, goal{speed: 1.5, cpu: 0.8, growth: 8}, list("ls -l")},
	{"login16-curve25519", loginsPerSecond, 0, goal{speed: 12, cpu: 0.04}, logins(curve25519)},
	{"login16-mlkem768", loginsPerSecond, 0, goal{speed: 12, cpu: 0.04}, newestLogins},
	{"login1", loginTime, 0, goal{speed: 40, cpu: 0.06}, oneLogin},
	{"scp-get", bytesPerSecond, 0, goal{speed: 1.4, cpu: 0.7}, scpGet},
	{"scp-put", bytesPerSecond, 0, goal{speed: 1.4, cpu: 0.7}, scpPut},
	{"scp-small-put", filesPerSecond, 0, goal{speed: 1.5, cpu: 0.7}, scpPutSmall},
	{"scp-small-get", filesPerSecond, 0, goal{speed: 1.3, cpu: 0.7}, scpGetSmall},
	{"random-reads", bytesPerSecond, 0, goal{speed: 1.3, cpu: 0.7}, randomReads},
	{"stat-1", answerTime, 0, goal{speed: 1.3, cpu: 0.7}, stats(1)},
	{"stat-16", answerTime, 0, goal{speed: 1.4, cpu: 0.7}, stats(16)},
	{"rtt50-get", bytesPerSecond, 3, goal{speed: 1.0, cpu: 0.8}, distantGet(50 * time.Millisecond)},
	{"rtt50-put", bytesPerSecond, 3, goal{speed: 4, cpu: 0.8}, distantPut(50 * time.Millisecond)},
	{"rtt150-put", bytesPerSecond, 3, goal{speed: 4, cpu: 0.8}, distantPut(150 * time.Millisecond)},
}
