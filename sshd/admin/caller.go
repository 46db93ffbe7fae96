package admin

import (
	"os"
	"os/user"
	"strconv"
)

// A Caller is the operator who asks for something, as the kernel knows them.
type Caller struct {
	User  string // of the process that asks
	UID   string
	Login string // who logged in to the machine as, before su or sudo; empty if nobody knows
}

// Self is who runs this process.
func Self() Caller { return caller(os.Getuid(), os.Getpid()) }

func caller(uid, pid int) Caller {
	return Caller{User: userName(uid), UID: strconv.Itoa(uid), Login: loginOf(pid)}
}

// Fields are those of events that operators cause.
func (c Caller) Fields() map[string]string {
	return map[string]string{"operator": c.User, "operator_uid": c.UID, "operator_login": c.Login}
}

// userName is the name of a user of this machine, else the number.
func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
