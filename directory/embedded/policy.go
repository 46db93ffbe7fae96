package embedded

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/directory"
)

// A Policy is what the passwords of users must obey. The zero value of a field
// means that the rule does not exist.
type Policy struct {
	MaxFailure      int           // wrong passwords in a row that lock the account
	LockoutDuration time.Duration // how long; zero: until an administrator removes pwdAccountLockedTime
	FailureWindow   time.Duration // a wrong password is forgotten after this; zero: at the next right one

	MinLength  int // in characters
	MinClasses int // of lower-case letters, upper-case letters, digits and all else: how many must be there
	History    int // how many former passwords cannot be used again

	MinAge        time.Duration // a password cannot be changed again before
	MaxAge        time.Duration // a password expires after; one without pwdChangedTime does not
	ExpireWarning time.Duration // how long before that the server says so
}

// DefaultPolicy is a policy that suits a small site: no expiry, and a pause of
// a quarter of an hour after ten wrong passwords.
func DefaultPolicy() Policy {
	return Policy{
		MaxFailure:      10,
		LockoutDuration: 15 * time.Minute,
		FailureWindow:   15 * time.Minute,
		MinLength:       8,
		ExpireWarning:   7 * 24 * time.Hour,
	}
}

// check finds settings that cannot be meant.
func (p Policy) check() error {
	for _, n := range []int{p.MaxFailure, p.MinLength, p.MinClasses, p.History} {
		if n < 0 {
			return fmt.Errorf("a number is negative: %d; 0 means no such rule", n)
		}
	}
	for _, d := range []time.Duration{p.LockoutDuration, p.FailureWindow, p.MinAge, p.MaxAge, p.ExpireWarning} {
		if d < 0 {
			return fmt.Errorf("a time is negative: %v; 0 means no such rule", d)
		}
	}
	if p.MinClasses > 4 {
		return fmt.Errorf("MinClasses: %d: there are four classes of characters", p.MinClasses)
	}
	if p.MaxAge > 0 && p.MinAge >= p.MaxAge {
		return fmt.Errorf("MinAge: %v: must be less than MaxAge, %v", p.MinAge, p.MaxAge)
	}
	return nil
}

// policyError is an error of the password policy control
// (draft-behera-ldap-password-policy-10, section 6.2).
type policyError int

const (
	passwordExpired policyError = iota
	accountLocked
	changeAfterReset
	passwordModNotAllowed
	mustSupplyOldPassword
	insufficientPasswordQuality
	passwordTooShort
	passwordTooYoung
	passwordInHistory

	noPolicyError policyError = -1
)

// lockedForGood is the value of pwdAccountLockedTime that an administrator
// sets.
const lockedForGood = "000001010000Z"

// disabled reports whether an administrator switched the account off, as in
// 389-ds.
func (e *entry) disabled() bool { return isTrue(e.first("nsAccountLock")) }

// mustChange reports whether an administrator set the password.
func (e *entry) mustChange() bool { return isTrue(e.first("pwdReset")) }

// locked reports whether e can bind with no password at all now.
func (p Policy) locked(e *entry, now time.Time) bool {
	if start, err := parseTime(e.first("pwdStartTime")); err == nil && now.Before(start) {
		return true
	}
	if end, err := parseTime(e.first("pwdEndTime")); err == nil && !now.Before(end) {
		return true
	}
	since := e.first("pwdAccountLockedTime")
	if since == "" {
		return false
	}
	t, err := parseTime(since)
	return since == lockedForGood || err != nil || p.LockoutDuration == 0 || now.Before(t.Add(p.LockoutDuration))
}

// failureTime is the form of pwdFailureTime, with microseconds as in OpenLDAP.
const failureTime = "20060102150405.000000Z"

// countFailure records a wrong password in a clone, and reports whether it
// locked the account.
func (p Policy) countFailure(e *entry, now time.Time) bool {
	if e.has("pwdAccountLockedTime") { // a lock that has run out
		clearFailures(e)
	}
	if p.MaxFailure == 0 {
		return false
	}
	recent := slices.DeleteFunc(e.values("pwdFailureTime"), func(v string) bool {
		t, err := parseTime(v)
		return err != nil || p.FailureWindow > 0 && now.Sub(t) > p.FailureWindow
	})
	stamp := now.UTC()
	for slices.Contains(recent, stamp.Format(failureTime)) { // values of one attribute differ
		stamp = stamp.Add(time.Microsecond)
	}
	recent = append(recent, stamp.Format(failureTime))
	e.set("pwdFailureTime", recent...)
	if len(recent) < p.MaxFailure {
		return false
	}
	e.set("pwdAccountLockedTime", formatTime(now))
	return true
}

// clearFailures forgets wrong passwords, and a lock they led to.
func clearFailures(e *entry) {
	e.set("pwdFailureTime")
	e.set("pwdAccountLockedTime")
}

// expires is when the password of e does; zero: never.
func (p Policy) expires(e *entry) time.Time {
	t, err := parseTime(e.first("pwdChangedTime"))
	if p.MaxAge == 0 || err != nil {
		return time.Time{}
	}
	return t.Add(p.MaxAge)
}

// A weakness is why a password cannot be chosen.
type weakness struct {
	err  policyError
	text string // the words OpenLDAP uses, so that clients know them
}

// judge returns what stands against password as the next one of e, or nil.
func (p Policy) judge(e *entry, password string, now time.Time) *weakness {
	changed, err := parseTime(e.first("pwdChangedTime"))
	switch {
	case err == nil && !e.mustChange() && now.Before(changed.Add(p.MinAge)):
		return &weakness{passwordTooYoung, "Password is too young to change"}
	case utf8.RuneCountInString(password) < p.MinLength:
		return &weakness{passwordTooShort, fmt.Sprintf("Password is too short: want at least %d characters", p.MinLength)}
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return &weakness{insufficientPasswordQuality, "Password holds characters that cannot be typed"}
	case strings.TrimSpace(password) != password:
		return &weakness{insufficientPasswordQuality, "Password begins or ends with a space"}
	case directory.FoldValue(password) == directory.FoldValue(e.first("uid")):
		return &weakness{insufficientPasswordQuality, "Password is the user's name"}
	case classes(password) < p.MinClasses:
		return &weakness{insufficientPasswordQuality, fmt.Sprintf("Password needs %d of: lower-case letters, upper-case letters, digits, other characters", p.MinClasses)}
	}
	return nil
}

// classes counts the kinds of characters in a password.
func classes(password string) int {
	var seen [4]int
	for _, c := range password {
		switch {
		case unicode.IsLower(c):
			seen[0] = 1
		case unicode.IsUpper(c):
			seen[1] = 1
		case unicode.IsDigit(c):
			seen[2] = 1
		default:
			seen[3] = 1
		}
	}
	return seen[0] + seen[1] + seen[2] + seen[3]
}

// setPassword puts a new stored password into a clone, and what follows from it.
func (p Policy) setPassword(e *entry, stored string, now time.Time) {
	if old := e.first("userPassword"); p.History > 0 && old != "" {
		past := append(e.values("pwdHistory"), historyValue(old, now))
		e.set("pwdHistory", past[max(0, len(past)-p.History):]...)
	}
	e.set("userPassword", stored)
	e.set("pwdChangedTime", formatTime(now))
	e.set("pwdReset")
	clearFailures(e)
}

// historyValue is "time#syntax#length#data", as the draft has it in section 5.3.6;
// the syntax is octet string.
func historyValue(stored string, now time.Time) string {
	return fmt.Sprintf("%s#1.3.6.1.4.1.1466.115.121.1.40#%d#%s", formatTime(now), len(stored), stored)
}

// fromHistory returns the stored password in a value of pwdHistory.
func fromHistory(value string) string {
	parts := strings.SplitN(value, "#", 4)
	return parts[len(parts)-1]
}

// policyName is the RDN of the entry that shows the policy to clients.
const policyName = "cn=password policy"

// entry is the policy as an entry below base, with the attributes of OpenLDAP's,
// so that a client learns from it how long a lock or a password lasts. It is not
// in the file.
func (p Policy) entry(base string) *entry {
	name := policyName + "," + base
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
	fields := []field{
		{name: "objectClass", value: "device"},
		{name: "objectClass", value: "pwdPolicy"},
		{name: "cn", value: "password policy"},
		{name: "pwdAttribute", value: "userPassword"},
		{name: "pwdAllowUserChange", value: "TRUE"},
		{name: "pwdSafeModify", value: "TRUE"},
		{name: "pwdMustChange", value: "TRUE"},
		{name: "pwdCheckQuality", value: "2"},
		{name: "pwdLockout", value: strings.ToUpper(strconv.FormatBool(p.MaxFailure > 0))},
		{name: "pwdMaxFailure", value: strconv.Itoa(p.MaxFailure)},
		{name: "pwdLockoutDuration", value: seconds(p.LockoutDuration)},
		{name: "pwdFailureCountInterval", value: seconds(p.FailureWindow)},
		{name: "pwdMinLength", value: strconv.Itoa(p.MinLength)},
		{name: "pwdInHistory", value: strconv.Itoa(p.History)},
		{name: "pwdMinAge", value: seconds(p.MinAge)},
		{name: "pwdMaxAge", value: seconds(p.MaxAge)},
		{name: "pwdExpireWarning", value: seconds(p.ExpireWarning)},
	}
	return &entry{name: directory.DNOf(name), fields: fields, virtual: true, guard: new(sync.Mutex)}
}
