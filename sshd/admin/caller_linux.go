package admin

import (
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// callerOf asks the kernel who is at the other end of a Unix socket.
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
