package embedded

import (
	"context"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// sshPublicKey is the one attribute besides the password that clients change.
const sshPublicKey = "sshPublicKey"

// A modification is one step of a modify request.
type modification struct {
	operation int64 // modifyAdd, …
	name      string
	values    []string
}

// The kinds of modification (RFC 4511, section 4.6).
const (
	modifyAdd     = 0
	modifyDelete  = 1
	modifyReplace = 2
)

// parseModify reads a modify request.
func parseModify(p *ber.Packet) (name string, steps []modification, err error) {
	f := partsOf(p)
	name = f.text()
	list := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	for list.more() {
		step := partsOf(list.any())
		m := modification{operation: step.integer(ber.TagEnumerated)}
		attribute := partsOf(step.take(ber.ClassUniversal, ber.TagSequence))
		m.name = attribute.text()
		values := partsOf(attribute.take(ber.ClassUniversal, ber.TagSet))
		for values.more() {
			m.values = append(m.values, values.text())
		}
		if values.err != nil {
			return "", nil, values.err
		}
		steps = append(steps, m)
	}
	if f.err == nil {
		f.err = list.err
	}
	return name, steps, f.err
}

// modify is the Modify operation. Users change their own password and SSH keys,
// the service account SSH keys; nobody anything else.
func (c *conn) modify(ctx context.Context, m *message) result {
	name, steps, err := parseModify(m.op)
	key, ok := dnKey(name)
	if err != nil || len(steps) == 0 {
		return answer(protocolError, "bad modify request")
	}
	if !ok {
		return answer(invalidDNSyntax, "the entry's name is not a DN")
	}
	by := c.who()
	e := c.store.tree().find(key)
	own := by.kind == user && by.entry.key == key
	switch {
	case by.kind == anonymous:
		return answer(insufficientAccessRights, "bind first")
	case own && all(steps, "userPassword"):
		return c.modifyPassword(ctx, key, steps)
	case by.kind == user && by.entry.mustChange():
		return mustChangeFirst()
	case e == nil:
		return done(noSuchObject)
	case !all(steps, sshPublicKey) || !own && by.kind != serviceAccount || e.virtual:
		return answer(insufficientAccessRights, "only one's own userPassword and sshPublicKey can be changed here; the rest in the LDIF file")
	}
	return c.modifyKeys(key, steps)
}

// all reports whether every step is about one attribute.
func all(steps []modification, name string) bool {
	return !slices.ContainsFunc(steps, func(m modification) bool { return !strings.EqualFold(m.name, name) })
}

// refused carries a refusal through the store.
type refused struct{ result }

func (r refused) Error() string { return r.text }

// modifyKeys applies all steps or none.
func (c *conn) modifyKeys(key string, steps []modification) result {
	var refusal *refused
	err := c.store.change(key, func(e *entry) error {
		values := e.values(sshPublicKey)
		for _, m := range steps {
			var r result
			if values, r = m.apply(values); r.code != success {
				refusal = &refused{r}
				return refusal
			}
		}
		e.set(sshPublicKey, values...)
		return nil
	})
	if refusal != nil {
		return refusal.result
	}
	return c.stored(err)
}

// apply returns what a step makes of an attribute's values.
func (m modification) apply(values []string) ([]string, result) {
	if slices.Contains(m.values, "") {
		return nil, answer(invalidAttributeSyntax, "a value is empty")
	}
	switch m.operation {
	case modifyAdd:
		for _, v := range m.values {
			if slices.Contains(values, v) {
				return nil, answer(attributeOrValueExists, "the value is already there")
			}
			values = append(slices.Clip(values), v)
		}
		return values, done(success)
	case modifyDelete:
		return m.remove(values)
	case modifyReplace:
		return m.values, done(success)
	}
	return nil, answer(protocolError, "a modification is add, delete or replace")
}

// remove deletes the values named, or all if none is.
func (m modification) remove(values []string) ([]string, result) {
	if len(values) == 0 {
		return nil, answer(noSuchAttribute, "there is no value to delete")
	}
	left := slices.Clone(values)
	if len(m.values) == 0 {
		left = nil
	}
	for _, v := range m.values {
		i := slices.Index(left, v)
		if i < 0 {
			return nil, answer(noSuchAttribute, "the value to delete is not there")
		}
		left = slices.Delete(left, i, i+1)
	}
	return left, done(success)
}

// stored is the answer to a change that the store made or not.
func (c *conn) stored(err error) result {
	if err != nil {
		c.log.Error("embedded directory refuses a change", "error", err)
	}
	return afterChange(err)
}

// modifyPassword changes a user's own password: the old value is deleted and
// the new one added, both in the clear, in one request.
func (c *conn) modifyPassword(ctx context.Context, key string, steps []modification) result {
	var old, fresh []string
	for _, m := range steps {
		switch m.operation {
		case modifyDelete:
			old = append(old, m.values...)
		default:
			fresh = append(fresh, m.values...)
		}
	}
	if len(fresh) != 1 || len(old) > 1 {
		return answer(constraintViolation, "delete the old password and add one new")
	}
	return c.changePassword(ctx, key, append(old, "")[0], fresh[0])
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
	now := c.now()
	if w := c.policy.judge(e, fresh, now); w != nil {
		return answer(constraintViolation, w.text).because(w.err)
	}
	if old == fresh {
		return answer(constraintViolation, "Password is not being changed from existing value").because(passwordInHistory)
	}
	for _, past := range e.values("pwdHistory") {
		if c.store.hasher.matches(ctx, fromHistory(past), fresh) {
			return answer(constraintViolation, "Password is in history of old passwords").because(passwordInHistory)
		}
	}
	stored, err := c.store.hasher.hash(ctx, fresh)
	if err != nil {
		return answer(other, "the server is closing")
	}
	return c.stored(c.store.change(key, func(e *entry) error {
		c.policy.setPassword(e, stored, now)
		return nil
	}))
}

// compare is the Compare operation (RFC 4511, section 4.10).
func (c *conn) compare(_ context.Context, m *message) result {
	f := partsOf(m.op)
	name := f.text()
	ava := partsOf(f.take(ber.ClassUniversal, ber.TagSequence))
	attribute, value := ava.text(), ava.text()
	if f.err != nil || ava.err != nil {
		return answer(protocolError, "bad compare request")
	}
	by := c.who()
	switch {
	case by.kind == anonymous:
		return answer(insufficientAccessRights, "bind first")
	case by.kind == user && by.entry.mustChange():
		return mustChangeFirst()
	}
	key, ok := dnKey(name)
	if !ok {
		return answer(invalidDNSyntax, "the entry's name is not a DN")
	}
	e := c.store.tree().find(key)
	if e == nil {
		return done(noSuchObject)
	}
	v := view{e, by}
	if !v.readable(attribute) {
		return answer(insufficientAccessRights, "the attribute cannot be read")
	}
	if len(v.values(attribute)) == 0 {
		return done(noSuchAttribute)
	}
	if assertion(attribute, value, assertions[3])(v) == yes {
		return done(compareTrue)
	}
	return done(compareFalse)
}
