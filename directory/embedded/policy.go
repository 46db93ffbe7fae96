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

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// A Policy has the rules for passwords of users. The zero value of a field
// means that there is no such rule. Passwords do not expire.
type Policy struct {
	MaxFailure      int           // wrong passwords in a row that lock the account
	LockoutDuration time.Duration // how long; zero: until an administrator removes pwdAccountLockedTime
	FailureWindow   time.Duration // a wrong password is forgotten after this; zero: at the next right one
	MinLength       int           // in characters
}

// DefaultPolicy is a policy that suits a small site: a pause of a quarter of an
// hour after ten wrong passwords.
func DefaultPolicy() Policy {
	return Policy{MaxFailure: 10, LockoutDuration: 15 * time.Minute, FailureWindow: 15 * time.Minute, MinLength: 8}
}

// disabled reports whether an administrator switched the account off, as in
// 389-ds.
func (e *entry) disabled() bool { return isTrue(e.first("nsAccountLock")) }

// mustChange reports whether an administrator set the password.
func (e *entry) mustChange() bool { return isTrue(e.first("pwdReset")) }

// locked reports whether e can bind with no password at all now.
func (p Policy) locked(e *entry, now time.Time) bool {
	if start, err := directory.ParseTime(e.first("pwdStartTime")); err == nil && now.Before(start) {
		return true
	}
	if end, err := directory.ParseTime(e.first("pwdEndTime")); err == nil && !now.Before(end) {
		return true
	}
	since := e.first("pwdAccountLockedTime")
	if since == "" {
		return false
	}
	t, err := directory.ParseTime(since)
	return directory.IsLockedForGood(t) || err != nil || p.LockoutDuration == 0 || now.Before(t.Add(p.LockoutDuration))
}

// failureTime is the form of pwdFailureTime, with microseconds as in OpenLDAP.
const failureTime = "20060102150405.000000Z"

// countFailure records a wrong password in a copy of an entry, and reports whether it
// locked the account.
func (p Policy) countFailure(e *entry, now time.Time) bool {
	if e.has("pwdAccountLockedTime") { // a lock that has run out
		clearFailures(e)
	}
	if p.MaxFailure == 0 {
		return false
	}
	recent := slices.DeleteFunc(e.values("pwdFailureTime"), func(v string) bool {
		t, err := directory.ParseTime(v)
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

// judge says whether password can be the next one of e. Its texts are those of
// OpenLDAP, which clients know.
func (p Policy) judge(e *entry, password string) result {
	weak := func(text string) result {
		return answer(ldap.LDAPResultConstraintViolation, text).because(ldap.BeheraInsufficientPasswordQuality)
	}
	switch {
	case utf8.RuneCountInString(password) < p.MinLength:
		return weak(fmt.Sprintf("Password is too short: want at least %d characters", p.MinLength)).because(ldap.BeheraPasswordTooShort)
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return weak("Password holds characters that cannot be typed")
	case strings.TrimSpace(password) != password:
		return weak("Password begins or ends with a space")
	case directory.FoldValue(password) == directory.FoldValue(e.first("uid")):
		return weak("Password is the user's name")
	}
	return done(ldap.LDAPResultSuccess)
}

// entry is the policy as an entry below base, with the attributes of OpenLDAP's,
// so that a client learns from it how long a lock or a password lasts. It is not
// in the file.
func (p Policy) entry(base string) *entry {
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
	fields := []field{
		{name: "objectClass", value: "device"},
		{name: "objectClass", value: "pwdPolicy"},
		{name: "cn", value: "password policy"},
		{name: "pwdAttribute", value: "userPassword"},
		{name: "pwdMustChange", value: "TRUE"},
		{name: "pwdLockout", value: strings.ToUpper(strconv.FormatBool(p.MaxFailure > 0))},
		{name: "pwdMaxFailure", value: strconv.Itoa(p.MaxFailure)},
		{name: "pwdLockoutDuration", value: seconds(p.LockoutDuration)},
		{name: "pwdFailureCountInterval", value: seconds(p.FailureWindow)},
		{name: "pwdCheckQuality", value: "2"},
		{name: "pwdMinLength", value: strconv.Itoa(p.MinLength)},
	}
	return &entry{name: directory.DNOf("cn=password policy," + base), fields: fields, virtual: true, guard: new(sync.Mutex)}
}
