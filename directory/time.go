package directory

import (
	"fmt"
	"time"
)

// ParseTime reads a GeneralizedTime such as "20261122101500Z", and the other forms
// of RFC 4517, section 3.3.13: minutes, seconds and a fraction of a second may be
// missing, and there may be an offset instead of Z.
func ParseTime(s string) (time.Time, error) {
	if s != "" { // as in most entries; the layouts take a microsecond
		for _, digits := range []string{"20060102150405", "200601021504", "2006010215"} {
			for _, zone := range []string{"Z0700", "Z07"} {
				if t, err := time.Parse(digits+zone, s); err == nil { // which takes a fraction, too
					return t.UTC(), nil
				}
			}
		}
	}
	return time.Time{}, fmt.Errorf("time %.40q: want YYYYMMDDHHMMSSZ, such as 20260131120000Z", s)
}

// IsLockedForGood reports whether t is pwdAccountLockedTime of an account that only an
// administrator unlocks: "000001010000Z", with or without seconds
// (draft-behera-ldap-password-policy-10, section 5.3.3).
func IsLockedForGood(t time.Time) bool {
	return t.Equal(time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC))
}

// Earlier returns the earlier of two times, of which zero means none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
