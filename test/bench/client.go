package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"
)

// A job is one run of a workload on one server.
type job struct {
	ctx    context.Context
	bench  *bench
	target *target
	meter  *meter
}

// result is the result of one run of a workload. CPU is filled in by the
// bench.
type result struct {
	Value  float64 `json:"value"`                // in the workload's unit
	Work   float64 `json:"work"`                 // what CPU is divided by: bytes, files, logins
	CPU    float64 `json:"cpu"`                  // of the server, in the workload's unit
	Client float64 `json:"client_cpu,omitempty"` // seconds, of OpenSSH's clients
	Growth float64 `json:"growth_mib,omitempty"` // of the server's memory while it ran
	Note   string  `json:"note,omitempty"`
}

// An offer has the algorithms for a client; with an empty field the client uses
// its own list.
type offer struct{ cipher, exchange string }

var (
	defaults = offer{}
	aes128   = offer{cipher: "aes128-gcm@openssh.com", exchange: curve25519}
	chacha20 = offer{cipher: "chacha20-poly1305@openssh.com", exchange: curve25519}
)

// runLimit is for a client that hangs.
const runLimit = 5 * time.Minute

// sftp runs OpenSSH's sftp with a batch of commands.
func (j *job) sftp(o offer, batch ...string) (took time.Duration, cpu float64, err error) {
	args := append(j.options(o), "-b", "-", j.target.user+"@127.0.0.1")
	return j.run("sftp", args, strings.Join(batch, "\n")+"\n")
}

// scp runs OpenSSH's scp with the old protocol.
func (j *job) scp(args ...string) (took time.Duration, cpu float64, err error) {
	return j.run("scp", append(append(j.options(aes128), "-O"), args...), "")
}

// scpRemote is a served file as an argument of scp.
func (j *job) scpRemote(name string) string {
	return j.target.scpUser + "@127.0.0.1:" + j.target.remote(name)
}

func (j *job) options(o offer) []string {
	_, port, _ := net.SplitHostPort(j.target.addr)
	args := []string{"-F", "none", "-q", "-P", port, "-i", j.target.key}
	settings := []string{
		"BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey",
		"StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null", "ConnectTimeout=20",
	}
	if o.cipher != "" {
		settings = append(settings, "Ciphers="+o.cipher)
	}
	if o.exchange != "" {
		settings = append(settings, "KexAlgorithms="+o.exchange)
	}
	for _, s := range settings {
		args = append(args, "-o", s)
	}
	return args
}

// run runs a client to its end and returns how long it took, and its CPU time
// in seconds.
func (j *job) run(program string, args []string, input string) (time.Duration, float64, error) {
	ctx, cancel := context.WithTimeout(j.ctx, runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said.Bytes()))
	}
	return took, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}
