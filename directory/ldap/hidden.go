package ldap

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// How long it is remembered whether the service account may read account state.
const (
	readableFor = 10 * time.Minute
	hiddenFor   = 10 * time.Second // an administrator may be at it
)

// hiddenState returns the attributes of account state that the service account
// may not read. They look as if they were not set, and a locked account as if it
// was open. A comparison tells the two apart: servers look at their access rules
// first, whether the attribute is there or not. The entry dn stands for all,
// since rules that differ from user to user are rare.
func (c *Client) hiddenState(ctx context.Context, dn string) ([]string, error) {
	if !c.mayHide() {
		return nil, nil
	}
	const key = "state"
	if hidden, known := c.hidden.recall(key, c.now()); known {
		return hidden, nil
	}
	var hidden []string
	for _, r := range c.kind.state {
		if r.rare {
			continue
		}
		for _, a := range r.attributes {
			readable, err := c.comparable(ctx, dn, a)
			if err != nil {
				return nil, err
			}
			if !readable {
				hidden = append(hidden, a)
			}
		}
	}
	until := c.now().Add(readableFor)
	if len(hidden) > 0 {
		until = c.now().Add(hiddenFor)
	}
	c.hidden.remember(key, hidden, until)
	return hidden, nil
}

// mayHide reports whether state may be hidden, and the server is known to tell
// by a comparison. Active Directory always sets it: see StateRequired.
func (c *Client) mayHide() bool {
	return c.settings.BindDN != "" && slices.Contains([]string{"openldap", "389ds", "freeipa"}, c.settings.Kind)
}

// comparable reports whether the service account may compare an attribute.
func (c *Client) comparable(ctx context.Context, dn, attribute string) (bool, error) {
	for _, value := range []string{"20000101000000Z", "TRUE", dn} { // one is of its syntax
		err := c.compare(ctx, dn, attribute, value)
		switch {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidAttributeSyntax):
			continue
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultInsufficientAccessRights):
			return false, nil
		case err == nil || answered(err) && !unwell(err):
			return true, nil
		}
		return false, fmt.Errorf("may %s be read: %w", attribute, err)
	}
	return true, nil // so the server does look at the value
}

// compare asks over the pool, once more if the connection turns out dead.
func (c *Client) compare(ctx context.Context, dn, attribute, value string) error {
	err := c.compareOnce(ctx, dn, attribute, value)
	if err != nil && unwell(err) && ctx.Err() == nil {
		err = c.compareOnce(ctx, dn, attribute, value)
	}
	return err
}

func (c *Client) compareOnce(ctx context.Context, dn, attribute, value string) error {
	cn, err := c.pool.take(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	err = cn.do(ctx, c.settings.RequestTimeout, func() error {
		_, err := cn.Compare(dn, attribute, value)
		return err
	})
	if answered(err) && !unwell(err) { // says nothing bad of the connection
		c.pool.put(cn, nil)
		return err
	}
	c.pool.put(cn, err)
	if err != nil {
		c.blame(ctx, cn, err, time.Since(start))
	}
	return err
}
