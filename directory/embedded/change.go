package embedded

import (
	"context"
	"strings"

	"berth/directory"
)

// passwordModify is RFC 3062. Unlike OpenLDAP it counts a wrong old password,
// and does not unlock anybody.
func (c *conn) passwordModify(ctx context.Context, value string) result {
	by := c.who()
	if by.kind == anonymous {
		return answer(strongerAuthRequired, "only authenticated users may change passwords")
	}
	target, old, fresh, err := parsePasswordModify(value)
	if err != nil {
		return answer(protocolError, "bad password modify request")
	}
	dn, err := directory.ParseDN(strings.TrimPrefix(target, "dn:"))
	key := dn.Key()
	switch {
	case err != nil:
		return answer(invalidAttributeSyntax, "Invalid DN")
	case key == "" && by.kind == user:
		key = by.entry.name.Key()
	case key == "" || key == serviceDN:
		return answer(unwillingToPerform, "the service account's password is made at each start")
	case by.kind == user && key != by.entry.name.Key():
		return answer(insufficientAccessRights, "one can only change one's own password").because(passwordModNotAllowed)
	}
	if fresh == "" {
		return answer(unwillingToPerform, "no new password given: this server makes none up").because(insufficientPasswordQuality)
	}
	return c.changePassword(ctx, key, old, fresh)
}

// parsePasswordModify reads PasswdModifyRequestValue; every part is optional.
func parsePasswordModify(value string) (target, old, fresh string, err error) {
	if value == "" {
		return "", "", "", nil
	}
	p, err := decodeBER([]byte(value))
	if err != nil {
		return "", "", "", err
	}
	f := partsOf(p)
	for f.more() {
		switch part := f.any(); part.Tag {
		case 0:
			target = content(part)
		case 1:
			old = content(part)
		case 2:
			fresh = content(part)
		}
	}
	return target, old, fresh, f.err
}

// changePassword replaces a password by a new one. The old one is verified, and
// counted when it is wrong, whoever asks. Locked and disabled accounts stay as
// they are; expired passwords and those that must be changed can be.
func (c *conn) changePassword(ctx context.Context, key, old, fresh string) result {
	if old == "" {
		return answer(insufficientAccessRights, "Must supply old password to be changed as well as new one").because(mustSupplyOldPassword)
	}
	e := c.store.tree().find(key)
	if e == nil || !e.has("userPassword") {
		c.store.hasher.waste(ctx, old)
		return answer(unwillingToPerform, "unwilling to verify old password")
	}
	e.guard.Lock()
	defer e.guard.Unlock()
	e, r := c.verify(ctx, key, old)
	if r.code != success {
		r.code, r.text = unwillingToPerform, "unwilling to verify old password"
		return r
	}
	if e.disabled() {
		return answer(unwillingToPerform, "account disabled: ask an administrator").because(accountLocked)
	}
	if r := c.policy.judge(e, fresh); r.code != success {
		return r
	}
	if old == fresh {
		return answer(constraintViolation, "Password is not being changed from existing value").because(passwordInHistory)
	}
	stored, err := c.store.hasher.hash(ctx, fresh)
	if err != nil {
		return answer(other, "the server is closing")
	}
	return c.stored(c.store.change(key, func(e *entry) error {
		setPassword(e, stored, c.now())
		return nil
	}))
}
