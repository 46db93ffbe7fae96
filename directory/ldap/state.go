package ldap

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/directory"
)

// A stateReader reads the account state from one family of attributes. Status is
// StatusActive if none of them refuses a login.
type stateReader struct {
	attributes []string
	rare       bool // few entries have the class for the attributes
	read       func(e entry, in stateInput) directory.State
}

// stateInput is what a state depends on besides the entry.
type stateInput struct {
	now    time.Time
	policy policy // that applies to the entry
	bound  bool   // the server, which applies its policies, has just accepted a bind
}

// rank is the order of several states of one account: the lowest number takes
// precedence. Unknown comes after the states that refuse a person; otherwise
// unreadable_state could let in a disabled account. It comes before the states that a
// new password ends.
var rank = map[directory.Status]int{
	directory.StatusDisabled:        0,
	directory.StatusLocked:          1,
	directory.StatusExpired:         2,
	directory.StatusOutsideHours:    3,
	directory.StatusUnknown:         4,
	directory.StatusMustChange:      5,
	directory.StatusPasswordExpired: 6,
	directory.StatusActive:          7,
}

// state reads the account's state from its entry. bound says that the server has
// just accepted a bind of the user. Then the server has applied its policies
// itself, and those that can be read here are ignored.
func (c *Client) state(ctx context.Context, search searchFunc, e entry, bound bool) (directory.State, error) {
	missing, err := c.unread(ctx, search, e)
	if err != nil {
		return directory.State{}, err
	}
	in := stateInput{now: c.now(), bound: bound && c.kind.bindsByPolicy}
	if in.policy, err = c.policyOf(ctx, search, e); err != nil {
		return directory.State{}, err
	}
	if p := in.policy.missing; missing == "" && p != "" && p != nsGlobalPolicy && !in.bound {
		missing = "the service account may not read the policy " + p
	}
	if missing != "" && c.settings.UnreadableState != "allow" {
		return c.unreadable(missing), nil
	}
	sum := active
	for _, r := range c.kind.state {
		sum = join(sum, r.read(e, in))
	}
	if sum.Status == directory.StatusUnknown {
		return c.unreadable(sum.Reason), nil
	}
	sum.PasswordChanged = passwordChanged(e)
	warn := time.Duration(c.settings.WarnDays) * 24 * time.Hour
	sum.ExpiresSoon = !sum.PasswordExpires.IsZero() && sum.PasswordExpires.Sub(in.now) < warn
	return sum, nil
}

// passwordChanged returns when the password of an entry was last changed, from
// the first of the attributes that is there.
func passwordChanged(e entry) time.Time {
	if t, never, err := fileTime(e.first("pwdLastSet")); err == nil && !never {
		return t
	}
	for _, name := range []string{"pwdChangedTime", "pwdUpdateTime", "krbLastPwdChange"} {
		if t, err := directory.ParseTime(e.first(name)); err == nil {
			return t
		}
	}
	if days, ok := epochDays(e.first("shadowLastChange")); ok && days > 0 {
		return dayStart(days)
	}
	return time.Time{}
}

// unread says which part of the state could not be read; "" if nothing is missing.
func (c *Client) unread(ctx context.Context, search searchFunc, e entry) (string, error) {
	for _, name := range c.settings.StateRequired {
		if !e.has(name) {
			return "no attribute " + name, nil
		}
	}
	var hidden []string
	var err error
	if c.settings.Kind == "active_directory" {
		hidden, err = c.hiddenHours(ctx, search, e)
	} else {
		hidden, err = c.hiddenState(ctx, e.dn)
	}
	if err != nil || len(hidden) == 0 {
		return "", err
	}
	return "the service account may not read " + strings.Join(hidden, ", "), nil
}

// unreadable is the state of an account whose state cannot be read.
func (c *Client) unreadable(reason string) directory.State {
	if c.settings.UnreadableState == "allow" {
		return directory.State{Status: directory.StatusActive, Reason: reason + "; allowed by unreadable_state"}
	}
	c.log.Warn("account state cannot be read", "reason", reason)
	return directory.State{Reason: reason}
}

// join returns two states as one: with the worse status and the earlier times.
func join(a, b directory.State) directory.State {
	if rank[b.Status] < rank[a.Status] {
		a, b = b, a
	}
	a.PasswordExpires = directory.Earlier(a.PasswordExpires, b.PasswordExpires)
	if a.Status == b.Status {
		a.Until = directory.Earlier(a.Until, b.Until)
	}
	return a
}

// active is the state of an account that may log in.
var active = directory.State{Status: directory.StatusActive}

// because returns a state with the attribute that decided about it.
func because(status directory.Status, attribute string, e entry) directory.State {
	return directory.State{Status: status, Reason: fmt.Sprintf("%s=%.64s", attribute, e.first(attribute))}
}

// at returns what the time in an attribute means, if the entry has it. If the
// value is no time, the state is unknown.
func at(e entry, attribute string, meaning func(time.Time) directory.State) directory.State {
	if !e.has(attribute) {
		return active
	}
	t, err := directory.ParseTime(e.first(attribute))
	if err != nil {
		return because(directory.StatusUnknown, attribute, e)
	}
	return meaning(t)
}

// expires is the state of an account that ends at end.
func expires(end time.Time, attribute string, e entry, in stateInput) directory.State {
	s := active
	if !in.now.Before(end) {
		return because(directory.StatusExpired, attribute, e)
	}
	s.Until = end
	return s
}

// passwordUntil is the state of an account whose password is valid until end.
func passwordUntil(end time.Time, attribute string, e entry, in stateInput) directory.State {
	s := active
	if !in.now.Before(end) {
		if in.bound {
			return s
		}
		s = because(directory.StatusPasswordExpired, attribute, e)
	}
	s.PasswordExpires = end
	return s
}

// idle locks an account whose last login, the time in attribute, is too long ago.
// If the account was never used, the time in the attribute otherwise is used.
func idle(e entry, in stateInput, attribute, otherwise string) directory.State {
	if !e.has(attribute) {
		attribute = otherwise
	}
	if in.policy.maxIdle == 0 || in.bound {
		return active
	}
	return at(e, attribute, func(last time.Time) directory.State {
		if in.now.After(last.Add(in.policy.maxIdle)) {
			return because(directory.StatusLocked, attribute, e)
		}
		return active
	})
}

// Bits of userAccountControl and of its computed companion ([MS-ADTS] 2.2.16).
const (
	adDisabled        = 0x2
	adLocked          = 0x10
	adNeverExpires    = 0x10000
	adSmartcard       = 0x40000
	adPasswordExpired = 0x800000
)

var adState = stateReader{
	attributes: []string{
		"userAccountControl", "msDS-User-Account-Control-Computed", "msDS-UserPasswordExpiryTimeComputed",
		"accountExpires", "pwdLastSet", "lockoutTime", "logonHours", descriptorAttribute,
	},
	read: readAD,
}

func readAD(e entry, in stateInput) directory.State {
	control, err := strconv.ParseInt(e.first("userAccountControl"), 10, 64)
	switch {
	case err != nil:
		return because(directory.StatusUnknown, "userAccountControl", e)
	case control&adDisabled != 0:
		return because(directory.StatusDisabled, "userAccountControl", e)
	}
	computed, err := strconv.ParseInt(e.first("msDS-User-Account-Control-Computed"), 10, 64)
	hasComputed := err == nil
	s := active
	// lockoutTime alone is no proof: it keeps its value when the lock has ended.
	if hasComputed && computed&adLocked != 0 {
		s = join(s, because(directory.StatusLocked, "msDS-User-Account-Control-Computed", e))
	} else if _, never, err := fileTime(e.first("lockoutTime")); !hasComputed && err == nil && !never {
		s = join(s, because(directory.StatusLocked, "lockoutTime", e))
	}
	if end, never, err := fileTime(e.first("accountExpires")); err != nil && e.has("accountExpires") {
		s = join(s, because(directory.StatusUnknown, "accountExpires", e))
	} else if err == nil && !never {
		s = join(s, expires(end, "accountExpires", e, in))
	}
	s = join(s, adHours(e, in))
	if control&(adNeverExpires|adSmartcard) != 0 {
		return s
	}
	switch _, never, err := fileTime(e.first("pwdLastSet")); {
	case err == nil && never:
		s = join(s, because(directory.StatusMustChange, "pwdLastSet", e))
	case hasComputed && computed&adPasswordExpired != 0:
		s = join(s, because(directory.StatusPasswordExpired, "msDS-User-Account-Control-Computed", e))
	}
	if end, never, err := fileTime(e.first("msDS-UserPasswordExpiryTimeComputed")); err == nil && !never {
		s.PasswordExpires = end
	}
	return s
}

// adHours reads logonHours, which Active Directory itself applies to binds only.
func adHours(e entry, in stateInput) directory.State {
	hours := e.first("logonHours")
	switch {
	case hours == "":
		return active
	case len(hours) != weekHours/8:
		return directory.State{Reason: fmt.Sprintf("logonHours has %d bytes", len(hours))}
	}
	s := active
	s.Until = hoursChange(hours, in.now)
	if !hourAllowed(hours, in.now) {
		s.Status, s.Reason = directory.StatusOutsideHours, "logonHours"
	}
	return s
}

// ppolicyState is the state that the password policy of OpenLDAP keeps in an entry
// (draft-behera-ldap-password-policy-10, section 5.3).
var ppolicyState = stateReader{
	attributes: []string{
		"pwdAccountLockedTime", "pwdReset", "pwdChangedTime", "pwdPolicySubentry", "pwdStartTime", "pwdEndTime", "pwdLastSuccess",
	},
	read: readPpolicy,
}

func readPpolicy(e entry, in stateInput) directory.State {
	s := active
	if value := e.first("pwdAccountLockedTime"); value != "" {
		lock := because(directory.StatusLocked, "pwdAccountLockedTime", e)
		since, err := directory.ParseTime(value)
		if err == nil && !directory.IsLockedForGood(since) && in.policy.lockFor > 0 {
			lock.Until = since.Add(in.policy.lockFor)
		}
		if lock.Until.IsZero() || in.now.Before(lock.Until) {
			s = lock
		}
	}
	s = join(s, at(e, "pwdStartTime", func(start time.Time) directory.State {
		if !in.now.Before(start) {
			return active
		}
		early := because(directory.StatusExpired, "pwdStartTime", e)
		early.Until = start
		return early
	}))
	s = join(s, at(e, "pwdEndTime", func(end time.Time) directory.State { return expires(end, "pwdEndTime", e, in) }))
	if isTrue(e.first("pwdReset")) && in.policy.mustChange {
		s = join(s, because(directory.StatusMustChange, "pwdReset", e))
	}
	s = join(s, idle(e, in, "pwdLastSuccess", "pwdChangedTime"))
	if in.policy.maxAge == 0 {
		return s
	}
	return join(s, at(e, "pwdChangedTime", func(changed time.Time) directory.State {
		return passwordUntil(changed.Add(in.policy.maxAge), "pwdChangedTime", e, in)
	}))
}

func isTrue(value string) bool { return strings.EqualFold(value, "true") }

// nsState is the state that 389 DS and its relatives keep in an entry.
var nsState = stateReader{
	// pwdUpdateTime is there with passwordTrackUpdateTime: on.
	attributes: []string{
		"nsAccountLock", "passwordExpirationTime", "accountUnlockTime", "pwdUpdateTime", "pwdPolicySubentry",
		"acctPolicySubentry", "lastLoginTime", "createTimestamp",
	},
	read: readNS,
}

// nsLockState is the part of it that FreeIPA uses.
var nsLockState = stateReader{attributes: []string{"nsAccountLock"}, read: readNS}

// resetTime is the expiration time that 389 DS gives a password which the user
// must change.
const resetTime = "19700101000000Z"

func readNS(e entry, in stateInput) directory.State {
	s := active
	if isTrue(e.first("nsAccountLock")) {
		s = because(directory.StatusDisabled, "nsAccountLock", e)
	}
	s = join(s, at(e, "accountUnlockTime", func(end time.Time) directory.State {
		lock := because(directory.StatusLocked, "accountUnlockTime", e)
		switch {
		case e.first("accountUnlockTime") == resetTime: // until an administrator unlocks it
			return lock
		case in.now.Before(end):
			lock.Until = end
			return lock
		}
		return active
	}))
	s = join(s, idle(e, in, "lastLoginTime", "createTimestamp"))
	switch {
	case e.first("passwordExpirationTime") == resetTime:
		return join(s, because(directory.StatusMustChange, "passwordExpirationTime", e))
	case in.policy.noExpiry:
		return s
	}
	return join(s, at(e, "passwordExpirationTime", func(end time.Time) directory.State {
		return passwordUntil(end, "passwordExpirationTime", e, in)
	}))
}

// ipaState is the state that the KDC of FreeIPA keeps in an entry. LDAP binds
// ignore it.
var ipaState = stateReader{
	attributes: []string{"krbPasswordExpiration", "krbPrincipalExpiration", "krbLastPwdChange"},
	read: func(e entry, in stateInput) directory.State {
		in.bound = false
		s := at(e, "krbPasswordExpiration", func(end time.Time) directory.State { return passwordUntil(end, "krbPasswordExpiration", e, in) })
		return join(s, at(e, "krbPrincipalExpiration", func(end time.Time) directory.State { return expires(end, "krbPrincipalExpiration", e, in) }))
	},
}

// shadowState is RFC 2307's form of shadow(5), in days since 1970. LDAP binds
// ignore it.
var shadowState = stateReader{
	attributes: []string{"shadowExpire", "shadowLastChange", "shadowMax"},
	rare:       true,
	read:       readShadow,
}

func readShadow(e entry, in stateInput) directory.State {
	s := active
	in.bound = false
	if end, ok := epochDays(e.first("shadowExpire")); ok { // -1 is never
		s = expires(dayStart(end), "shadowExpire", e, in)
	}
	if e.has("pwdChangedTime") || e.has("passwordExpirationTime") {
		return s // a password policy keeps the date; this one may be out of date
	}
	changed, ok := epochDays(e.first("shadowLastChange"))
	if ok && changed == 0 {
		return join(s, because(directory.StatusMustChange, "shadowLastChange", e))
	}
	longest, limited := epochDays(e.first("shadowMax"))
	if ok && limited && longest < 99999 {
		// The password is still valid on the last day.
		s = join(s, passwordUntil(dayStart(changed+longest+1), "shadowLastChange", e, in))
	}
	return s
}
