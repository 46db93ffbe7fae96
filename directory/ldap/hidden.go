package ldap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// How long it is remembered whether the service account may read account state.
const (
	readableFor = 10 * time.Minute
	hiddenFor   = 10 * time.Second // an administrator may be changing that
)

// hiddenState returns the attributes of account state that the service account may
// not read. They seem to be missing, so that a locked account would seem to be
// active. Only the entry dn is tried: access rules that differ from user to user
// are rare.
func (c *Client) hiddenState(ctx context.Context, dn string) ([]string, error) {
	if !c.mayHide() {
		return nil, nil
	}
	if hidden, known := c.hidden.recall("", c.now()); known {
		return hidden, nil
	}
	hidden, err := c.hiddenNow(ctx, dn)
	if err != nil {
		return nil, fmt.Errorf("asking which account state can be read: %w", err)
	}
	if foldDN(dn) == foldDN(c.settings.BindDN) {
		return hidden, nil // it may read more of its own entry than of others
	}
	until := c.now().Add(readableFor)
	if len(hidden) > 0 {
		until = c.now().Add(hiddenFor)
	}
	c.hidden.remember("", hidden, until)
	return hidden, nil
}

// hiddenNow asks 389 DS for the rights of the service account. If it reports none,
// or the server cannot be asked for rights, hiddenNow sends a compare request:
// servers apply their access rules first, whether the attribute is set or not.
func (c *Client) hiddenNow(ctx context.Context, dn string) ([]string, error) {
	attributes := c.stateAttributes()
	list := ""
	if c.settings.Kind != "openldap" {
		var err error
		list, err = rightsOn(ctx, c.search, c.settings.BindDN, dn, attributes...)
		if err != nil && (!answered(err) || unwell(err)) {
			return nil, err
		}
	}
	var hidden []string
	for _, a := range attributes {
		rights, _ := attributeRights(list, a)
		readable := strings.Contains(rights, "r")
		if rights == "" { // none, also where the entry has no class for it
			var err error
			if readable, err = c.comparable(ctx, dn, a); err != nil {
				return nil, err
			}
		}
		if !readable {
			hidden = append(hidden, a)
		}
	}
	return hidden, nil
}

// stateAttributes are those that every entry may have.
func (c *Client) stateAttributes() []string {
	var attributes []string
	for _, r := range c.kind.state {
		if !r.rare {
			attributes = append(attributes, r.attributes...)
		}
	}
	return attributes
}

// hiddenMembers returns the attributes with the members of a group that the
// service account may not compare. A search by them finds no group.
func (c *Client) hiddenMembers(ctx context.Context, dn string) (hidden []string, err error) {
	if !c.mayHide() || c.settings.GroupWalk != walkMembers {
		return nil, nil
	}
	for _, a := range append([]string{c.settings.MemberUIDAttribute}, c.settings.MemberAttributes...) {
		may := true
		if a != none {
			may, err = c.comparable(ctx, dn, a)
		}
		if !may {
			hidden = append(hidden, a)
		}
	}
	return hidden, err
}

// mayHide reports whether attributes may be hidden on a server that can be asked
// about it. For Active Directory see StateRequired and hiddenHours.
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
		return false, err
	}
	return true, nil // the server has checked the value, so it allows to compare
}

// compare compares over the pool. The error is nil for both answers, true and
// false.
func (c *Client) compare(ctx context.Context, dn, attribute, value string) (answer error) {
	err := c.overPool(ctx, func(cn *conn) error {
		answer = c.run(ctx, cn, func() error {
			_, err := cn.Compare(dn, attribute, value)
			return err
		})
		if answered(answer) && !unwell(answer) {
			return nil // the connection is good
		}
		return answer
	})
	return cmp.Or(err, answer)
}
