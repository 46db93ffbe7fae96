package admin

import (
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Caller is the operator who asks for something, as the kernel knows them.
type Caller struct {
	User  string // of the process that asks
	UID   string
	Login string // who logged in to the machine as, before su or sudo; empty if nobody knows

	Console string // session of the web page, if the operator uses that: User is then of the directory
}

// Self is who runs this process.
func Self() Caller { return caller(os.Getuid(), os.Getpid()) }

func caller(uid, pid int) Caller {
	return Caller{User: userName(uid), UID: strconv.Itoa(uid), Login: loginOf(pid)}
}

// Fields are those of events that operators cause.
func (c Caller) Fields() map[string]string {
	return map[string]string{"operator": c.User, "operator_uid": c.UID, "operator_login": c.Login, "operator_session": c.Console}
}

// userName returns the name of a user of this machine, or the number if there
// is no name.
func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// callerOf asks the kernel which user is at the other end of a Unix socket.
func callerOf(c net.Conn) (Caller, bool) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return Caller{}, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Caller{}, false
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil || err != nil {
		return Caller{}, false
	}
	return caller(int(cred.Uid), int(cred.Pid)), true
}

// loginOf is the user who logged in to the machine for the process pid, by the
// audit system of Linux; "" if nobody did, or nobody knows.
func loginOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/loginuid")
	uid, parseErr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || parseErr != nil || uint32(uid) == ^uint32(0) {
		return ""
	}
	return userName(int(uid))
}
