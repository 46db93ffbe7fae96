package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// Authenticate checks a password with exactly one bind, over a connection of
// its own. See directory.Directory.
func (c *Client) Authenticate(ctx context.Context, u *directory.User, password string) error {
	c, err := c.home(ctx, u)
	if err != nil {
		return err
	}
	cn, err := c.bindUser(ctx, u, password)
	if cn != nil {
		defer cn.close()
	}
	if err != nil {
		return err
	}
	if c.settings.BindAs != "" {
		return c.readSelf(ctx, cn, u)
	}
	return nil
}

// maxPassword is how many bytes a password may have. A server closes the connection when
// a request is too long (slapd at 256 KiB), which looks as if the server were down.
const maxPassword = 4096

// bindUser connects and binds as u. The caller closes the connection. With a refusal
// bindUser returns the connection too, because the server may accept a change of
// the password over it.
func (c *Client) bindUser(ctx context.Context, u *directory.User, password string) (*conn, error) {
	name := c.bindName(u)
	if password == "" || name == "" || len(password) > maxPassword {
		return nil, &directory.Refusal{Why: directory.ErrBadPassword, Detail: fmt.Sprintf("empty, or longer than %d bytes", maxPassword)}
	}
	// Several servers may be tried for the connection. The bind is tried only once,
	// because the directory counts wrong passwords.
	cn, err := c.pool.connect(ctx, asNobody())
	if err != nil {
		return nil, fmt.Errorf("check the password of %q: %w", u.Name, err)
	}
	a, err := c.bind(ctx, cn, name, password)
	if err != nil {
		cn.close()
		return nil, fmt.Errorf("bind as %q: %w", name, err)
	}
	v, ok := c.verdictOn(a)
	switch {
	case !ok:
		cn.close()
		return nil, fmt.Errorf("bind as %q: %s: %s", name, cn.server.url, a.detail())
	case v.why != nil:
		return cn, &directory.Refusal{Why: v.why, Proved: v.proved, Bound: a.code == ldap.LDAPResultSuccess, Detail: a.detail()}
	}
	if u.State.Status == directory.StatusActive || c.settings.BindAs != "" {
		return cn, nil
	}
	// The server may ignore parts of the account state in a bind, and the state in u
	// may be older than the password. So the state is read again.
	e, found, err := read(ctx, c.search, u.DN, c.userAttributes()...)
	state := directory.State{Reason: "entry is gone"}
	if found {
		state, err = c.state(ctx, c.search, e, true)
	}
	if err != nil {
		return cn, fmt.Errorf("account state of %q: %w", u.Name, err)
	}
	return cn, c.proved(state, a)
}

// verdictOn is what an answer to a bind means from this kind of server.
func (c *Client) verdictOn(a answer) (v verdict, ok bool) {
	if a.code == ldap.LDAPResultUnwillingToPerform && a.control == controlNone && !c.kind.unwilling {
		return verdict{}, false
	}
	return a.bindVerdict()
}

// bindName returns the name to bind as. If it is empty, the caller must not bind:
// the bind would be anonymous and succeed.
func (c *Client) bindName(u *directory.User) string {
	if c.settings.BindAs == "" {
		return u.DN
	}
	name := c.typed(u)
	if checkName(name) != nil {
		return ""
	}
	if strings.Contains(c.settings.BindAs, "=") {
		name = ldap.EscapeDN(name)
	}
	return strings.ReplaceAll(c.settings.BindAs, "%u", name)
}

// bind sends one bind with the password policy control. Without it some servers
// do not report that a password must be changed. The error is nil if the server
// gave any answer.
func (c *Client) bind(ctx context.Context, cn *conn, name, password string) (answer, error) {
	req := ldap.NewSimpleBindRequest(name, password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()})
	var res *ldap.SimpleBindResult
	err := c.runOnce(ctx, cn, func() (err error) {
		res, err = cn.SimpleBind(req)
		return err
	})
	if err != nil && !answered(err) {
		return answer{}, err
	}
	var controls []ldap.Control
	if res != nil {
		controls = res.Controls
	}
	return answerOf(controls, err), nil
}

// proved returns the refusal for a state, for a user whose password is right.
func (c *Client) proved(state directory.State, a answer) error {
	r, refused := errors.AsType[*directory.Refusal](state.Err())
	if !refused || a.grace && state.Status == directory.StatusPasswordExpired { // the directory allows a few more logins
		return nil
	}
	r.Proved, r.Bound = true, true
	return r
}

// With bind_as a user that was read is used again for selfFor. For selfKept the
// user is used without keys, so that open sessions can go on.
const (
	selfFor  = time.Minute
	selfKept = 12 * time.Hour
	maxSelfs = 1000
)

// A selfRead is a user whose entry was read over the user's own connection.
type selfRead struct {
	user  *directory.User
	typed string // the name for %u that has bound: it may differ from user.Name
	at    time.Time
}

// typed returns the name that was typed for u.
func (c *Client) typed(u *directory.User) string {
	self, known := c.self.recall(strings.ToLower(u.Name), c.now())
	if known && u.ID != "" && self.user.Identity == u.Identity {
		return self.typed
	}
	return u.Name
}

// lookupSelf is Lookup without a service account.
func (c *Client) lookupSelf(name string) (*directory.User, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	self, known := c.self.recall(strings.ToLower(name), c.now())
	switch {
	case !known:
		return &directory.User{
			Identity: directory.Identity{Source: c.settings.Name},
			Name:     name,
			State:    directory.State{Reason: "no service account: known after a login with the password"},
		}, nil
	case c.now().Sub(self.at) < selfFor:
		return self.user, nil
	}
	stale := *self.user
	stale.Keys, stale.Notes, stale.Cached = nil, nil, true
	return &stale, nil
}

// readSelf reads the entry of u over its own connection, for the next Lookup.
func (c *Client) readSelf(ctx context.Context, cn *conn, u *directory.User) error {
	search := c.searchOn(cn)
	typed := c.typed(u)
	e, err := c.findEntry(ctx, search, typed)
	if err == nil {
		err = c.isBound(ctx, cn, e, c.bindName(u))
	}
	var full *directory.User
	if err == nil {
		full, err = c.user(ctx, search, e)
	}
	if errors.Is(err, directory.ErrNoUser) {
		return &directory.Refusal{Why: directory.ErrStateUnknown, Proved: true, Detail: "the user may not read their own entry"}
	}
	if err != nil {
		return err
	}
	if err := c.proved(full.State, answer{}); err != nil {
		return err
	}
	for _, name := range []string{typed, full.Name} {
		c.self.remember(strings.ToLower(name), selfRead{full, typed, c.now()}, c.now().Add(selfKept))
	}
	return nil
}

// isBound refuses an entry e that is not the entry bound over cn with name: one
// name may mean one person for the bind and another for the search. Active
// Directory lists the SID of the bound user, other servers answer "Who am I?" (RFC
// 4532).
func (c *Client) isBound(ctx context.Context, cn *conn, e entry, name string) error {
	if c.settings.Kind == "active_directory" {
		root, _, err := read(ctx, c.searchOn(cn), "", "tokenGroups")
		if err != nil || e.has("objectSid") && slices.Contains(root.all("tokenGroups"), e.first("objectSid")) {
			return err
		}
	} else {
		dn, err := c.boundAs(ctx, cn)
		switch {
		case err != nil && unwell(err):
			return err
		case err == nil:
			name = dn
		}
		if foldDN(name) == foldDN(e.dn) {
			return nil
		}
	}
	return &directory.Refusal{Why: directory.ErrAmbiguous, Proved: true, Detail: fmt.Sprintf("bind_as binds as %q, but the search finds %q", name, e.dn)}
}
