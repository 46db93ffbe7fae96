package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/directory"
)

// An actor does something as a person: the kernel checks what the person may do with
// files, and what is made is the person's.
//
// Linux keeps ids, groups and capabilities for each thread. do locks a goroutine of
// its own to a thread and changes that thread alone, by raw calls. Those of package
// syscall would change all threads, and so all sessions:
//
//	go act -> LockOSThread -> enter -> op -> leave -> UnlockOSThread
//	                                           |
//	                                           +- failed: the goroutine ends locked,
//	                                              and the runtime ends the thread
//
// The runtime never starts a thread from a locked one. So no other thread inherits
// the person's ids.
type actor struct {
	person, service credentials
	writes          bool // open files are written as the person, too: see overrides
}

// credentials are the ids and capabilities of a thread that acts for somebody. Only
// the effective ids change, and the ids for files follow them. setfsuid(2) is not
// used, because it reports no error. The real ids stay those of the service, so that
// the person cannot send signals to the process.
type credentials struct {
	uid, gid uint32
	groups   []uint32
	caps     [2]unix.CapUserData
}

// keep are the capabilities that stay effective. leave needs them, and neither gives
// access to files. The others are removed here, because the kernel removes them only
// when root becomes somebody else.
const keep = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID

// overrides are capabilities that change what a write does to an open file: set-user-id
// bits would stay, and the kernel's quotas would not count. Only a service that runs as
// root has them.
const overrides = 1<<unix.CAP_FSETID | 1<<unix.CAP_SYS_RESOURCE

// newActor returns an actor for p. Each thread but those of actors has the credentials
// of the service.
func newActor(p directory.POSIX) (*actor, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	groups, err := unix.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("read the groups of this process: %w", err)
	}
	a := &actor{
		person:  credentials{uid: p.UID, gid: p.GID, groups: p.Groups},
		service: credentials{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())},
	}
	for _, g := range groups {
		a.service.groups = append(a.service.groups, uint32(g))
	}
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &a.service.caps[0]); err != nil {
		return nil, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	a.writes = a.service.caps[0].Effective&overrides != 0
	a.person.caps = a.service.caps
	a.person.caps[0].Effective &= keep
	a.person.caps[1].Effective = 0
	return a, nil
}

// owns reports whether a file is the person's. A nil actor is the service: it counts
// every file as its own.
func (a *actor) owns(fi iofs.FileInfo) bool {
	return a == nil || fi.Sys().(*Owner).UID == a.person.uid
}

// CheckActing returns why this process cannot act as other people, and give them the
// homes that it makes; or nil.
func CheckActing() error {
	const nobody = 65534
	a, err := newActor(directory.POSIX{UID: nobody, GID: nobody})
	if err != nil {
		return err
	}
	if err := a.do(func() error { return nil }); err != nil {
		return fmt.Errorf("%w (it needs CAP_SETUID and CAP_SETGID)", err)
	}
	if a.service.caps[0].Effective&(1<<unix.CAP_CHOWN) == 0 {
		return errors.New("homes cannot be given to people (this needs CAP_CHOWN)")
	}
	return nil
}

// do calls op as the person. op must not use goroutines.
func (a *actor) do(op func() error) error {
	result := make(chan returned, 1)
	go a.act(op, result)
	o := <-result
	if o.panicked != nil {
		panic(o.panicked) // in the goroutine of the session, which handles it
	}
	return o.err
}

// doing is do for an operation that has a result.
func doing[T any](a *actor, op func() (T, error)) (v T, err error) {
	err = a.do(func() (err error) {
		v, err = op()
		return err
	})
	return v, err
}

// returned is how an operation ended.
type returned struct {
	err      error
	panicked any
}

func (a *actor) act(op func() error, result chan<- returned) {
	var o returned
	defer func() { result <- o }()
	runtime.LockOSThread()
	if o.err = a.enter(); o.err == nil {
		o = attempt(op)
	}
	if a.leave() == nil {
		runtime.UnlockOSThread()
	}
}

func attempt(op func() error) (o returned) {
	defer func() { o.panicked = recover() }()
	o.err = op()
	return o
}

// enter makes this thread the person's. The groups come first, because the kernel takes
// the capabilities from a thread of root that becomes somebody else.
func (a *actor) enter() error {
	p := &a.person
	err := errors.Join(p.setGroups(), p.setGID(), p.setUID(), p.setCaps())
	if err != nil {
		return fmt.Errorf("act as uid %d, gid %d: %w", p.uid, p.gid, err)
	}
	return nil
}

// leave undoes enter, even a part of it. The user comes first, because root gets the
// capabilities back with it.
func (a *actor) leave() error {
	s := &a.service
	return errors.Join(s.setUID(), s.setGID(), s.setGroups(), s.setCaps())
}

const unchanged = ^uintptr(0) // of three ids, in setresuid(2)

func (c *credentials) setUID() error {
	return raw(unix.SYS_SETRESUID, unchanged, uintptr(c.uid), unchanged)
}

func (c *credentials) setGID() error {
	return raw(unix.SYS_SETRESGID, unchanged, uintptr(c.gid), unchanged)
}

func (c *credentials) setGroups() error {
	return raw(unix.SYS_SETGROUPS, uintptr(len(c.groups)), uintptr(unsafe.Pointer(unsafe.SliceData(c.groups))), 0)
}

func (c *credentials) setCaps() error {
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &c.caps[0])
}

// raw makes a system call for this thread alone.
func raw(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}
