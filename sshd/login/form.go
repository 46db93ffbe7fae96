package login

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"

	"berth/policy"
	"berth/sshd/early"
)

// A Form is what somebody has typed into a login page.
type Form struct {
	Peer                 Peer
	Client               string // what the browser calls itself
	Service              string // that the rules must list
	Name, Password, Code string // Code may be empty, and is then a wrong one if the rules ask for one
}

// Form makes one login by a page. It is an attempt by keyboard-interactive with the same
// decision, shield, penalties, delay and events; the rules must list the service as well.
// release ends the count of the session. If the login is refused, message is what the
// person may know of the reason, and may be empty.
func (g *Gate) Form(ctx context.Context, f Form) (grant *Grant, release func(), message string, err error) {
	a := g.Attempt(ctx, f.Peer, early.Hello{Version: Printable(f.Client)})
	a.service = f.Service
	page := page{name: f.Name, remote: net.TCPAddrFromAddrPort(f.Peer.Remote)}
	a.pre = page
	defer func() {
		if grant == nil { // also after a panic
			a.Failed()
		}
	}()
	perms, err := a.interactive(page, func(_, _ string, prompts []string, _ []bool) ([]string, error) {
		switch {
		case len(prompts) == 1 && prompts[0] == promptPassword:
			return []string{f.Password}, nil
		case len(prompts) == 1 && prompts[0] == promptCode:
			return []string{f.Code}, nil
		}
		return nil, ErrNoAnswer // a new password is chosen over SSH
	})
	if _, more := errors.AsType[*ssh.PartialSuccessError](err); more {
		err = fmt.Errorf("%w: the rules ask for a further factor, which a form cannot prove", errMethod)
	}
	if err == nil {
		grant, err = Granted(perms)
	}
	if err == nil && grant.Restriction != nil {
		err = grant.Restriction
	}
	if err != nil {
		if text, ok := errors.AsType[*ssh.BannerError](err); ok {
			message = text.Message
		}
		return nil, nil, message, err
	}
	return grant, a.Release, "", nil
}

// Serves returns nil if the policy of g lists a service.
func (g *Grant) Serves(service string) error {
	if g.Policy.Allows(service) {
		return nil
	}
	return &policy.Denied{Reason: policy.NoRule, User: g.User.Name, Detail: fmt.Sprintf("no rule that matches %s lists the service %s", g.User.Name, service)}
}

// A page takes the place of an SSH connection. Only its methods are called.
type page struct {
	ssh.ServerPreAuthConn
	name   string
	remote net.Addr
}

func (p page) User() string { return p.name }

func (p page) RemoteAddr() net.Addr { return p.remote }

// SendAuthBanner shows nothing: it would be the text for people who use files.
func (p page) SendAuthBanner(string) error { return nil }
