package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"
)

// A pidFile has the number of the server's process. The server keeps it locked, so
// that a second server with the same pid_file does not start.
type pidFile struct {
	path string   // empty: there is none
	f    *os.File // nil: another process has it
}

// write writes our own process to the file and locks it.
func (p *pidFile) write() error {
	if p.path == "" {
		return nil
	}
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("pid_file: %w", err)
	}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		defer f.Close()
		if pid := locker(f); pid != 0 {
			return fmt.Errorf("pid_file: %s: process %d is a server that has this file: stop it, or give each server a pid_file of its own", p.path, pid)
		}
		return fmt.Errorf("pid_file: %s: lock: %w", p.path, err)
	}
	if here, err := f.Stat(); err == nil {
		if there, err := os.Stat(p.path); err != nil || !os.SameFile(here, there) {
			f.Close() // a server that ended in this moment has removed the file
			return p.write()
		}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("pid_file: %w", err)
	}
	p.f = f
	return nil
}

// yield gives up the file for another process.
func (p *pidFile) yield() {
	if p.f != nil {
		p.f.Close()
		p.f = nil
	}
}

// remove removes the file unless another process has it.
func (p *pidFile) remove() {
	if p.f != nil {
		os.Remove(p.path) // while it is locked, so that it is nobody else's
		p.yield()
	}
}

// runningServer returns the process of the server that has locked file; 0 if
// there is none. What is written in the file proves nothing: it may be old, or
// somebody else's.
func runningServer(file string) (pid int, err error) {
	f, err := os.Open(file)
	if errors.Is(err, iofs.ErrNotExist) || file == "" {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("pid_file: %w", err)
	}
	defer f.Close()
	return locker(f), nil
}

// locker returns the other process that has the lock of f; 0 if none has. The
// kernel reports it, not the file.
func locker(f *os.File) int {
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil || l.Type == syscall.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}
