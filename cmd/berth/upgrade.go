package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/sshd/admin"
	"berth/sshd/event"
)

// An upgrade replaces the running program without a moment in which nobody accepts
// connections. Both processes talk over a pair of sockets, in JSON:
//
//	this process                        the next one
//	starts it, with its listeners  -->  reads the configuration and prepares all
//	                               <--  readyToServe, or why it cannot: nothing has changed then
//	gives up socket and pid file, sends its state  -->  begins to serve
//	                               <--  serving, or why it does not: this one steps back
//	accepts no more, lingers, ends
//	what it counts                <->  what it counts
//
// docs/adr/0010-upgrade.md has the reasons.

// predecessorVar has the number of the descriptor by which the next process finds this
// one. Variables that begin with BERTH_ are settings.
const predecessorVar = "LISTEN_PREDECESSOR_FD"

// takeOverWait is how long each step of the next process may take. An operator waits.
const takeOverWait = 12 * time.Second

// progress reports that the next process has come to its next step, or why it
// ends.
type progress struct {
	Release string `json:"release"`
	Error   string `json:"error"`
}

// An upgrader replaces this process by another one.
type upgrader struct {
	program   string // found before its file is replaced
	listeners []net.Listener
	memories  func(next net.Conn) memories
	talk      func(net.Conn, *json.Decoder)   // talks with the next process in the background, until one of both ends
	aside     func() (back func(), err error) // gives up what only one process can have
	leave     func(handedOver)                // ends this process when its sessions have ended
	drain     time.Duration
	sink      event.Sink

	mu   sync.Mutex // held during an upgrade
	next int        // the process that has taken over
}

// handedOver is why the server ends: another process has taken over.
type handedOver struct {
	by  map[string]string
	pid int
}

func (handedOver) Error() string { return "another process has taken over" }

// run starts the next process and returns when that serves. After an error this one
// serves as before. by are the first fields of its event.
func (u *upgrader) run(by map[string]string) (admin.Successor, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.next != 0 {
		return admin.Successor{}, fmt.Errorf("process %d has taken over already", u.next)
	}
	pid, release, err := u.handOver()
	if err != nil {
		err = fmt.Errorf("%w; process %d continues to serve", err, os.Getpid())
		u.sink.Emit(event.Event{Type: event.UpgradeFailed, Detail: err.Error(), Fields: by})
		return admin.Successor{}, err
	}
	u.next = pid
	u.leave(handedOver{by, pid})
	return admin.Successor{PID: pid, Release: release, Drain: u.drain}, nil
}

// before returns the processes that this one has taken over from, and that still have
// sessions: those that can be asked beside socket. There are none if another process has
// taken over from this one, because that asks all of them.
func (u *upgrader) before(socket string) []*admin.Client {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.next != 0 || socket == "" {
		return nil
	}
	return admin.Dial(socket).Lingering()
}

func (u *upgrader) handOver() (pid int, release string, err error) {
	next, talk, err := u.start()
	if err != nil {
		return 0, "", fmt.Errorf("start %s: %w", u.program, err)
	}
	back := func() {}
	defer func() {
		if err != nil {
			talk.Close()
			next.Process.Kill()
			next.Wait()
			back()
		}
	}()
	read, write := json.NewDecoder(talk), json.NewEncoder(talk)
	if release, err = await(read, talk, "prepare"); err != nil {
		return 0, "", err
	}
	if back, err = u.aside(); err != nil {
		return 0, "", err
	}
	if err := write.Encode(u.memories(talk)); err != nil {
		return 0, "", fmt.Errorf("send the state to the new process: %w", err)
	}
	if _, err = await(read, talk, "serve"); err != nil {
		return 0, "", err
	}
	go next.Wait() // so that it is no zombie if it ends before this process
	u.talk(talk, read)
	return next.Process.Pid, release, nil
}

// start starts the program with the listeners of this one, as systemd would pass them.
func (u *upgrader) start() (*exec.Cmd, net.Conn, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "next"), os.NewFile(uintptr(pair[1]), "predecessor")
	defer theirs.Close()
	talk, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(u.program, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, l := range u.listeners {
		f, err := duplicate(l.(*net.TCPListener))
		if err != nil {
			talk.Close()
			return nil, nil, err
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	const first = 3 // of cmd.ExtraFiles
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "LISTEN_") || strings.HasPrefix(v, "WATCHDOG_PID=") // this process
	})
	cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(u.listeners)), fmt.Sprintf("%s=%d", predecessorVar, first+len(u.listeners)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	if err := cmd.Start(); err != nil {
		talk.Close()
		return nil, nil, err
	}
	return cmd, talk, nil
}

// duplicate returns another descriptor of a listener. That of its method File is for
// blocking calls as soon as it is passed on, and so is the listener then: an Accept of
// this process would heed no deadline and no Close.
func duplicate(l *net.TCPListener) (*os.File, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if bad := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); bad != nil || err != nil {
		return nil, errors.Join(bad, err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// await waits until the next process has come to its next step.
func await(read *json.Decoder, talk net.Conn, what string) (release string, err error) {
	talk.SetReadDeadline(time.Now().Add(takeOverWait))
	var s progress
	err = read.Decode(&s)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", fmt.Errorf("the new process needs more than %v to %s", takeOverWait, what)
	case err != nil:
		return "", fmt.Errorf("the new process has ended before it could %s: the log may have why", what)
	case s.Error != "":
		return "", fmt.Errorf("the new process cannot %s: %s", what, s.Error)
	}
	return s.Release, nil
}

// A predecessor is the process that started this one to take over from it.
type predecessor struct {
	talk net.Conn
	read *json.Decoder
}

// findPredecessor returns nil if this process was started in another way.
func findPredecessor() (*predecessor, error) {
	talk, err := talkToPredecessor()
	if talk == nil || err != nil {
		return nil, err
	}
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())) // which nobody knew before it was started
	return &predecessor{talk, json.NewDecoder(talk)}, nil
}

// talkToPredecessor returns a connection to the predecessor until this process serves,
// nil if there is none.
func talkToPredecessor() (net.Conn, error) {
	text := os.Getenv(predecessorVar)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", predecessorVar, err)
	}
	syscall.CloseOnExec(int(fd))
	dup, err := syscall.Dup(int(fd)) // a second call gets the same connection
	if err != nil {
		return nil, fmt.Errorf("%s: %w", predecessorVar, err)
	}
	f := os.NewFile(uintptr(dup), "predecessor")
	defer f.Close()
	return net.FileConn(f)
}

// ready says that this process can serve, and waits until the predecessor has given up
// its socket and pid file. It returns what the predecessor remembers, which is nothing if it
// has crashed: this process has the listening sockets and can serve without.
func (p *predecessor) ready() (m memories, err error) {
	_ = json.NewEncoder(p.talk).Encode(progress{Release: release})
	p.talk.SetReadDeadline(time.Now().Add(takeOverWait))
	if err := p.read.Decode(&m); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return m, fmt.Errorf("take over from the old process: %w", err)
	}
	return m, nil
}

// serving says that this process serves. Both may talk about what they count afterwards.
func (p *predecessor) serving() {
	_ = json.NewEncoder(p.talk).Encode(progress{Release: release}) // a predecessor that does not get this has ended
	if fd, err := strconv.Atoi(os.Getenv(predecessorVar)); err == nil {
		syscall.Close(fd)
	}
	os.Unsetenv(predecessorVar)
}

// tellPredecessor says why this process could not take over, if it was to.
func tellPredecessor(why error) {
	talk, err := talkToPredecessor()
	if talk == nil || err != nil {
		return
	}
	_ = json.NewEncoder(talk).Encode(progress{Error: why.Error()})
	talk.Close()
}
