package sshd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"berth/sshd/event"
	"berth/sshd/login"
)

// serveChannels answers the client until it leaves. It returns when all services have
// ended.
func (c *conn) serveChannels(ctx context.Context) {
	channels, requests := c.channels, c.requests
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer c.pace.Stop() // or services would wait for their rate
	defer cancel()
	defer c.ssh.Close()
	var open atomic.Int32
	user := c.grant.Load().User.Identity
	noMore, proved := false, false
	c.announceHostKeys()
	for channels != nil || requests != nil {
		select {
		case <-ctx.Done():
			return
		case nc, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			if c.rejects(nc, noMore, int(open.Load())) {
				continue
			}
			release := func() { c.srv.budget.take(user, holding{channels: -1}) }
			ch, reqs, err := nc.Accept()
			if err != nil {
				release()
				continue // the connection is gone; channels closes next
			}
			open.Add(1)
			running.Go(func() {
				defer c.survive()
				defer open.Add(-1)
				defer release()
				window := c.grow(ch, user)
				defer window.end()
				s := &session{conn: c, ch: &sharedStderr{Channel: window}, window: window}
				c.sessions.Store(s, nil)
				defer c.sessions.Delete(s)
				s.serve(ctx, reqs)
			})
		case req, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			// https://github.com/openssh/openssh-portable/blob/master/PROTOCOL section 2.2
			noMore = noMore || req.Type == "no-more-sessions@openssh.com"
			c.refuseForwarding(req)
			var answer []byte
			if req.Type == proveHostKeys && !proved { // at most once, because signatures cost time
				proved, answer = true, c.proveHostKeys(req.Payload)
			}
			if req.WantReply {
				req.Reply(answer != nil, answer)
			}
		}
	}
}

// rejects refuses a channel if it may not be opened. open is the number of open channels.
func (c *conn) rejects(nc ssh.NewChannel, noMore bool, open int) bool {
	reason, why, text := event.Reason{}, ssh.Prohibited, ""
	switch {
	case nc.ChannelType() != "session":
		reason, text = event.NoForwarding, "there is no forwarding here"
	case noMore:
		reason, text = event.NoMoreSessions, "the client has asked for no more sessions"
	case open >= c.srv.MaxChannels:
		reason, why, text = event.TooManyChannels, ssh.ResourceShortage, fmt.Sprintf("no more than %d sessions on one connection", c.srv.MaxChannels)
	case c.srv.budget.take(c.grant.Load().User.Identity, holding{channels: 1}) != nil:
		reason, why, text = event.TooManyChannels, ssh.ResourceShortage, fmt.Sprintf("no more than %d sessions of one person", c.srv.MaxUserChannels)
	default:
		return false
	}
	c.emit(event.Event{Type: event.ServiceRefused, Service: login.Printable(nc.ChannelType()), Reason: reason})
	nc.Reject(why, text)
	return true
}

// forwarding are the requests that would begin it (RFC 4254, sections 6.3 and
// 7.1, and OpenSSH's PROTOCOL).
var forwarding = []string{"tcpip-forward", "streamlocal-forward@openssh.com", "x11-req", "auth-agent-req@openssh.com"}

// refuseForwarding emits an event for a request that would begin forwarding.
func (c *conn) refuseForwarding(req *ssh.Request) {
	if slices.Contains(forwarding, req.Type) {
		c.emit(event.Event{Type: event.ServiceRefused, Service: req.Type, Reason: event.NoForwarding})
	}
}

// A session is one session channel (RFC 4254, section 6). It runs one service.
type session struct {
	conn    *conn
	ch      ssh.Channel
	window  *growing                 // of ch
	pty     *term.Terminal           // set if the client asked for one before it asked for a service
	service atomic.Pointer[service]  // what it runs, once it does
	files   atomic.Pointer[observed] // that the service uses, once it does
}

// serve answers the requests of the channel. A service runs on a goroutine of its own, so
// that serve can still answer changes of the window size.
func (s *session) serve(ctx context.Context, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer s.ch.Close()
	started := false
	for req := range requests {
		s.conn.touch()
		s.window.requested()
		run, ok := s.request(req, started)
		if req.WantReply {
			req.Reply(ok, nil)
		}
		if run == nil {
			continue
		}
		started = true
		running.Go(func() {
			defer s.conn.survive()
			s.exit(run(ctx))
		})
	}
}

// A run serves a session to its end and returns the exit status.
type run func(context.Context) uint32

// request handles one channel request. It returns whether to accept it, and what to run.
func (s *session) request(req *ssh.Request, started bool) (run, bool) {
	switch req.Type {
	case "pty-req":
		if s.pty != nil || started {
			return nil, false
		}
		s.pty = newTerminal(s.ch, req.Payload)
		return nil, true
	case "window-change":
		if s.pty == nil {
			return nil, false
		}
		resize(s.pty, req.Payload)
		return nil, true
	case "subsystem", "exec", "shell":
		if started { // one service a channel
			s.conn.emit(event.Event{Type: event.ServiceRefused, Service: req.Type, Reason: event.SecondService})
			return nil, false
		}
		return s.start(req)
	}
	s.conn.refuseForwarding(req)
	return nil, false // env, signal, x11-req, auth-agent-req@openssh.com
}

// start finds the service that req asks for.
func (s *session) start(req *ssh.Request) (run, bool) {
	var asked struct{ Name string }
	if req.Type != "shell" {
		if err := ssh.Unmarshal(req.Payload, &asked); err != nil {
			return nil, false
		}
	}
	sv := find(req.Type, asked.Name)
	if sv == nil && req.Type == "subsystem" {
		s.conn.emit(event.Event{Type: event.ServiceRefused, Service: login.Printable(asked.Name), Reason: event.UnknownService})
		return nil, false
	}
	return func(ctx context.Context) uint32 {
		if err := s.refused(sv, asked.Name); err != nil {
			s.say(s.ch.Stderr(), err.Error())
			return 1
		}
		began := time.Now()
		s.service.Store(sv)
		s.started(sv)
		status, err := sv.run(ctx, s, asked.Name)
		s.ended(sv, status, time.Since(began), err)
		return status
	}, true
}

// started and ended report a service. They are separate functions, because an event needs
// room on the stack, which a waiting session would keep.
//
//go:noinline
func (s *session) started(sv *service) {
	s.conn.emit(event.Event{Type: event.ServiceStarted, Service: sv.name})
}

//go:noinline
func (s *session) ended(sv *service, status uint32, took time.Duration, err error) {
	s.conn.emit(event.Event{
		Type: event.ServiceEnded, Service: sv.name, Duration: took, Err: err,
		Fields: map[string]string{"status": fmt.Sprint(status)},
	})
}

// refused returns, as a sentence for the user, why a service is refused.
func (s *session) refused(sv *service, command string) error {
	g := s.conn.grant.Load()
	name, reason := "", event.Reason{}
	var err error
	switch {
	case sv == nil:
		name, reason, err = login.Printable(command), event.UnknownCommand, noService(command)
	case sv.help != "" && !sv.takes && len(strings.Fields(command)) > 1:
		name, reason, err = sv.name, event.Arguments, message("This command takes no arguments: it is about yourself.")
	case !g.Policy.Allows(sv.name):
		name, reason, err = sv.name, event.NotAllowed, message("You may not use "+sv.name+" here.")
	case !g.Permits(sv.name):
		name, reason, err = sv.name, event.NotInCertificate, message("Your certificate is not for "+sv.name+".")
	case g.Restriction != nil && !sv.always:
		name, reason = sv.name, login.ReasonOf(g.Restriction)
		err = message(g.Instruction())
	}
	if err != nil {
		s.conn.emit(event.Event{Type: event.ServiceRefused, Service: name, Reason: reason})
	}
	return err
}

// say writes a line to the client, with the line ends its terminal needs.
func (s *session) say(w io.Writer, line string) {
	end := "\n"
	if s.pty != nil {
		end = "\r\n"
	}
	io.WriteString(w, line+end)
}

// exit sends the client the exit status of its service, which writes no more, and closes
// the channel.
func (s *session) exit(status uint32) {
	s.sendStatus(status)
	s.ch.CloseWrite()
	s.ch.Close()
}

func (s *session) sendStatus(status uint32) {
	s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}
