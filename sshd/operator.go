package sshd

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"time"

	"berth/sshd/admin"
	"berth/sshd/event"
)

// Sessions describes the open sessions for an operator, oldest first.
// Connections on which nobody has logged in are not among them.
func (s *Server) Sessions() []admin.Session { return describe(s.sessions("")) }

// Kick ends the session with the id who, or all sessions of the user with the name who in
// any case, and returns them. The user can log in again, unless the directory or a rule
// prevents that.
func (s *Server) Kick(who string) []admin.Session {
	conns := slices.DeleteFunc(s.sessions(who), func(c *conn) bool { // those that are being ended already
		return !c.ending.CompareAndSwap(nil, &ending{reason: event.EndedByOperator, line: "An operator has ended this session."})
	})
	kicked := describe(conns)
	for _, c := range conns {
		c.expel()
	}
	return kicked
}

// sessions returns the connections on which somebody has logged in, oldest first: all
// if who is empty, else the one with this id, or those of the user with this name.
func (s *Server) sessions(who string) []*conn {
	conns := slices.DeleteFunc(s.connections(), func(c *conn) bool {
		g := c.grant.Load()
		return g == nil || (who != "" && who != c.peer.Session && !strings.EqualFold(who, g.User.Name))
	})
	slices.SortFunc(conns, func(a, b *conn) int {
		return cmp.Or(a.peer.Opened.Compare(b.peer.Opened), cmp.Compare(a.peer.Session, b.peer.Session))
	})
	return conns
}

func describe(conns []*conn) []admin.Session {
	now := time.Now()
	var all []admin.Session
	for _, c := range conns {
		g, transfers := c.grant.Load(), c.transfers()
		all = append(all, admin.Session{
			ID: c.peer.Session, User: g.User.Name, UserID: g.User.ID, Directory: g.User.Source, Remote: c.peer.Remote, Method: g.Method, Client: c.client,
			Since: c.peer.Opened, Idle: c.idle(now), Files: len(transfers),
			Read: c.moved.read.Load(), Written: c.moved.written.Load(), Services: c.serviceNames(), Transfers: transfers,
		})
	}
	return all
}

// InUse returns what runs now, by service: channels, and files and folders that they have
// open.
func (s *Server) InUse() (channels, files map[string]int) {
	channels, files = map[string]int{}, map[string]int{}
	for _, c := range s.connections() {
		for _, session := range c.runningSessions() {
			sv := session.service.Load()
			if sv == nil {
				continue
			}
			channels[sv.name]++
			if o := session.files.Load(); o != nil {
				files[sv.name] += int(o.held.Load())
			}
		}
	}
	return channels, files
}

// transfers describes the open files of c, in the order in which they were opened.
func (c *conn) transfers() []admin.Transfer {
	all := []admin.Transfer{} // not null in JSON
	for key := range c.open.Range {
		f := key.(*observedFile)
		t := admin.Transfer{
			Path: f.name, Mode: event.Mode(f.access), Since: f.opened, Bytes: f.read.Load() + f.written.Load(), Position: f.position.Load(),
		}
		if f.access&(os.O_WRONLY|os.O_RDWR) == 0 { // SFTP does not announce the size of an upload
			if fi, err := f.File.Stat(); err == nil {
				t.Size = fi.Size()
			}
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b admin.Transfer) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Path, b.Path))
	})
	return all
}

// serviceNames are those of the services that run on c.
func (c *conn) serviceNames() []string {
	names := []string{} // not null in JSON
	for _, s := range c.runningSessions() {
		if sv := s.service.Load(); sv != nil {
			names = append(names, sv.name)
		}
	}
	slices.Sort(names)
	return names
}
