package sshd

import (
	"errors"
	"sync"

	"berth/directory"
)

// A budget limits what all sessions of one person, and of everybody, use of the process.
// A limit for each channel or connection would not help: a client can open many.
type budget struct {
	perUser, total holding

	mu    sync.Mutex
	users map[directory.Identity]*holding
	all   holding
}

// A holding is what sessions use.
type holding struct {
	files    int   // open files and directories, each a descriptor
	channels int   // sessions, each some goroutines and buffers
	unread   int64 // bytes that clients sent and services have not read
	window   int64 // bytes by which windows of channels have grown
}

func (h *holding) add(d holding) {
	h.files += d.files
	h.channels += d.channels
	h.unread += d.unread
	h.window += d.window
}

// within reports whether h respects each limit that is set. Larger windows may be filled,
// so they raise the limit of unread bytes.
func (h holding) within(limit holding) bool {
	return (limit.files == 0 || h.files <= limit.files) && (limit.channels == 0 || h.channels <= limit.channels) &&
		(limit.unread == 0 || h.unread <= limit.unread+h.window) && h.window <= limit.window
}

// errBudget means that a person or the process would use more than the limit.
var errBudget = errors.New("too much is open at once")

// take adds d to what u uses, or fails and changes nothing. A negative d is given back and
// never fails.
func (b *budget) take(u directory.Identity, d holding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	users, all := holding{}, b.all
	if h := b.users[u]; h != nil {
		users = *h
	}
	users.add(d)
	all.add(d)
	grows := d.files > 0 || d.channels > 0 || d.unread > 0 || d.window > 0
	if grows && (!users.within(b.perUser) || !all.within(b.total)) {
		return errBudget
	}
	b.all = all
	if users == (holding{}) {
		delete(b.users, u)
		return nil
	}
	if b.users == nil {
		b.users = map[directory.Identity]*holding{}
	}
	b.users[u] = &users
	return nil
}
