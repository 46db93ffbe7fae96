package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a server and everything it has forked. It is the child of this
// program started once more with keepCommand, which sees to two things: what
// the server leaves behind is still counted (sshd's monitor does not always wait
// for its child, and the CPU time of that would be lost), and nothing outlives
// this program, even if it is killed.
type process struct {
	cmd  *exec.Cmd
	hold io.Closer // the keeper ends the server when this is closed
	log  string
}

const keepCommand = "keep"

// launch starts a server. Its output is written to the file log.
func (b *bench) launch(log string, argv ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(self, append([]string{keepCommand}, argv...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to pass on
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	p := &process{cmd: cmd, hold: hold, log: log}
	b.running = append(b.running, p)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the server and waits for it.
func (p *process) stop() {
	p.hold.Close()
	p.cmd.Wait()
}

// said returns what the server has written to its log.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// patience is how long a server may take to end by itself.
const patience = 5 * time.Second

// keep is the keeper: it runs argv until standard input ends, and adopts and
// waits for everything that argv forks. It returns the exit status.
func keep(argv []string) int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "adopt orphans:", err)
		return 1
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), 1, 2}})
	if err != nil {
		fmt.Fprintf(os.Stderr, "start %s: %v\n", argv[0], err)
		return 1
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		end(syscall.SIGTERM)
		time.Sleep(patience)
		end(syscall.SIGKILL)
	}()
	return reap()
}

// end sends sig to all below this process.
func end(sig syscall.Signal) {
	self := os.Getpid()
	for pid := range tree(self) {
		if pid != self {
			syscall.Kill(pid, sig) // it may have ended by now
		}
	}
}

// reap waits for children, adopted ones too, until none is left.
func reap() int {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil && err != syscall.EINTR {
			return 0
		}
	}
}
