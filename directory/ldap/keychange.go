package ldap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/crypto/ssh"

	"berth/directory"
)

// AddKey adds a value to the key attribute, as the service account. See
// directory.Directory.
func (c *Client) AddKey(ctx context.Context, u *directory.User, line string) error {
	key, err := directory.OneKey(line)
	if err != nil {
		return err
	}
	if c, err = c.home(ctx, u); err != nil {
		return err
	}
	fingerprint := ssh.FingerprintSHA256(key)
	return c.changeKeys(ctx, u, func(e entry, values []string, req *ldap.ModifyRequest) error {
		state, err := c.state(ctx, c.search, e, false)
		if err != nil {
			return fmt.Errorf("account state of %q: %w", u.Name, err)
		}
		if err := state.Err(); err != nil {
			return err
		}
		keys, notes := directory.ParseKeys(c.settings.KeyAttribute, c.settings.KeyPrefix, values)
		switch {
		case slices.ContainsFunc(values, func(v string) bool { return directory.Bears(v[len(c.settings.KeyPrefix):], fingerprint) }):
			return &directory.Refusal{Why: directory.ErrKeyExists, Detail: fingerprint}
		case len(keys)+len(notes) >= c.settings.MaxKeys:
			return &directory.Refusal{Why: directory.ErrTooManyKeys, Detail: fmt.Sprintf("max_keys: %d", c.settings.MaxKeys)}
		}
		if class := c.settings.KeyClass; class != none && !contains(e.all("objectClass"), class) {
			req.Add("objectClass", []string{class})
		}
		req.Add(c.settings.KeyAttribute, []string{c.settings.KeyPrefix + line})
		return nil
	})
}

// RemoveKey deletes values of the key attribute, as the service account. See
// directory.Directory. A value that contains other keys too is replaced by one
// without the key.
func (c *Client) RemoveKey(ctx context.Context, u *directory.User, fingerprint string) error {
	c, err := c.home(ctx, u)
	if err != nil {
		return err
	}
	return c.changeKeys(ctx, u, func(_ entry, values []string, req *ldap.ModifyRequest) error {
		var gone, instead []string
		for _, v := range values {
			prefix, text := v[:len(c.settings.KeyPrefix)], v[len(c.settings.KeyPrefix):]
			if !directory.Bears(text, fingerprint) {
				continue
			}
			gone = append(gone, v)
			if rest := directory.WithoutKey(text, fingerprint); rest != "" {
				instead = append(instead, prefix+rest)
			}
		}
		if len(gone) == 0 {
			return &directory.Refusal{Why: directory.ErrNoKey, Detail: fingerprint}
		}
		req.Delete(c.settings.KeyAttribute, gone)
		if len(instead) > 0 {
			req.Add(c.settings.KeyAttribute, instead)
		}
		return nil
	})
}

// changeKeys reads u's entry, calls plan to fill a request, and sends it. plan gets
// the entry and its values that are keys. The request must name single values and
// not replace all of them: somebody else may be changing others.
func (c *Client) changeKeys(ctx context.Context, u *directory.User, plan func(entry, []string, *ldap.ModifyRequest) error) error {
	if c.settings.KeyChange != keyChangeService {
		return &directory.Refusal{Why: directory.ErrKeyForbidden, Detail: "key_change: " + c.settings.KeyChange}
	}
	select {
	case c.changing <- struct{}{}:
		defer func() { <-c.changing }()
	case <-ctx.Done():
		return fmt.Errorf("change the keys of %q: waiting for other changes: %w", u.Name, context.Cause(ctx))
	}
	// A new connection: if a pooled one proves dead, nobody knows whether the change
	// was made.
	cn, err := c.pool.connect(ctx, c.asService())
	if err != nil {
		return fmt.Errorf("change the keys of %q: %w", u.Name, err)
	}
	defer cn.close()
	e, found, err := read(ctx, c.searchOn(cn), u.DN, append(c.userAttributes(), "objectClass")...)
	switch {
	case err != nil:
		return fmt.Errorf("change the keys of %q: %w", u.Name, err)
	case !found || c.identity(e).ID != u.ID:
		return &directory.Refusal{Why: directory.ErrNoUser, Detail: "the entry has been removed"}
	}
	prefix := c.settings.KeyPrefix
	values := slices.DeleteFunc(slices.Clone(e.all(c.settings.KeyAttribute)), func(v string) bool {
		return len(v) < len(prefix) || !strings.EqualFold(v[:len(prefix)], prefix)
	})
	req := ldap.NewModifyRequest(u.DN, nil)
	if err := plan(e, values, req); err != nil {
		return err
	}
	err = c.runOnce(ctx, cn, func() error { return cn.Modify(req) })
	return changeError(cn, fmt.Sprintf("change the keys of %q", u.Name), err, func(a answer) *directory.Refusal {
		return &directory.Refusal{Why: keyChangeCodes[a.code]}
	})
}

// keyChangeCodes are the answers to a change of keys that are about the change,
// not about the server.
var keyChangeCodes = map[int]error{
	ldap.LDAPResultInsufficientAccessRights: directory.ErrKeyForbidden,
	ldap.LDAPResultUnwillingToPerform:       directory.ErrKeyForbidden,
	ldap.LDAPResultUndefinedAttributeType:   directory.ErrKeyForbidden,
	ldap.LDAPResultObjectClassViolation:     directory.ErrKeyForbidden,
	ldap.LDAPResultConstraintViolation:      directory.ErrKeyForbidden,
	ldap.LDAPResultInvalidAttributeSyntax:   directory.ErrKeyForbidden,
	ldap.LDAPResultAttributeOrValueExists:   directory.ErrKeyExists,
	ldap.LDAPResultNoSuchAttribute:          directory.ErrNoKey,
	ldap.LDAPResultNoSuchObject:             directory.ErrNoUser,
	ldap.LDAPResultUnavailable:              directory.ErrNotStored,
}
