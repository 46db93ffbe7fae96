package directory

import (
	"fmt"
	"strings"
	"time"
)

// PasswordRules are what a directory asks of a new password. The zero value of a
// field means that there is no such rule, or that it cannot be read.
type PasswordRules struct {
	Length  int           // at least so many characters
	Kinds   int           // of at least so many kinds: small letters, capitals, digits, others
	History int           // none of the last so many passwords
	Age     time.Duration // the last change must be at least so long ago
}

// String explains the rules to the person in one sentence. It is empty if there are none.
func (r PasswordRules) String() string {
	var rules []string
	if r.Length > 0 {
		rules = append(rules, plural(r.Length, "at least 1 character", "at least %d characters"))
	}
	if r.Kinds > 1 {
		rules = append(rules, fmt.Sprintf("%d of small letters, capitals, digits and other characters", r.Kinds))
	}
	if r.History > 0 {
		rules = append(rules, plural(r.History, "not your last password", "none of your last %d passwords"))
	}
	if r.Age > 0 {
		rules = append(rules, inWords(r.Age)+" since the last change")
	}
	if len(rules) == 0 {
		return ""
	}
	return "The directory asks for " + strings.Join(rules, ", ") + "."
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return fmt.Sprintf(many, n)
}

// inWords returns a time in the largest unit that divides it.
func inWords(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / u.unit); n > 0 && d%u.unit == 0 {
			return plural(n, "1 "+u.name, "%d "+u.name+"s")
		}
	}
	return d.String()
}
