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

// Earlier returns the earlier of two times, of which zero means none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
