package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"berth/directory"
)

// A Measure is the type of a limit: an int counts things, an int64 counts bytes and may
// have a unit, and a duration has a unit.
type Measure interface{ int | int64 | time.Duration }

// An Amount is a limit of a rule: a value, or the attribute of the user that holds it.
type Amount[T Measure] struct {
	// Attribute is of the user; empty: there is none.
	Attribute string

	// Value is the limit, or with an attribute that of users whose attribute is missing or
	// wrong; nil: they are refused.
	Value *T
}

// ParseAmount reads what a rule has: 10GiB, %{berthQuota}, or %{berthQuota} or 10GiB.
func ParseAmount[T Measure](s string) (*Amount[T], error) {
	inner, personal := strings.CutPrefix(strings.TrimSpace(s), "%{")
	if !personal {
		v, err := parse[T](s)
		return &Amount[T]{Value: &v}, err
	}
	name, rest, _ := strings.Cut(inner, "}")
	a := &Amount[T]{Attribute: name}
	value, another := strings.CutPrefix(rest, " or ")
	var err error
	if another {
		var v T
		v, err = parse[T](value)
		a.Value = &v
	}
	if err != nil || !another && rest != "" || !attributeName.MatchString(name) || !strings.Contains(inner, "}") {
		kind, example, attribute := likeness[T]()
		return nil, fmt.Errorf(`must be a %s such as %s, an attribute such as "%%{%s}", or both: "%%{%[3]s} or %[2]s"`, kind, example, attribute)
	}
	return a, nil
}

// parse reads a value as it is in a rule.
func parse[T Measure](s string) (T, error) {
	var v T
	var err error
	switch to := any(&v).(type) {
	case *int:
		*to, err = ParseNumber(s)
	case *int64:
		*to, err = ParseSize(s)
	case *time.Duration:
		*to, err = ParseTime(s)
	}
	return v, err
}

// likeness returns for messages what a value is, an example of it, and an example of its
// attribute.
func likeness[T Measure]() (kind, example, attribute string) {
	switch any(T(0)).(type) {
	case int:
		return "number", "5", "berthSessions"
	case time.Duration:
		return "time", "30m", "berthIdle"
	}
	return "number", "10GiB", "berthQuota"
}

// limitOf returns the limit in an attribute. 0 is not accepted there: in a rule it
// means no limit, and an attribute must not give that.
func limitOf[T Measure](u *directory.User, attribute string) (T, error) {
	values := u.Attrs[strings.ToLower(attribute)]
	switch {
	case len(values) == 0:
		return 0, fmt.Errorf("%s has no value", attribute)
	case len(values) > 1: // their order means nothing in a directory
		return 0, fmt.Errorf("%s has %d values: one is needed", attribute, len(values))
	}
	v, err := parse[T](values[0])
	if err != nil || v <= 0 {
		kind, example, _ := likeness[T]()
		return 0, fmt.Errorf("%s is %q: must be a %s above 0, such as %s", attribute, values[0], kind, example)
	}
	return v, nil
}

// plainNumber matches numbers that mean the same in all versions of YAML, unlike 010 and 0x8.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// ParseNumber returns the whole number that a text means, such as 8.
func ParseNumber(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	switch {
	case !strings.ContainsAny(s, "0123456789"):
		return 0, errors.New("must be a number")
	case err != nil || !plainNumber.MatchString(strings.TrimSpace(s)):
		return 0, errors.New("must be a whole number in plain digits, such as 8")
	}
	return n, nil
}

// ErrNoTime is about a value that is not a time.
var ErrNoTime = errors.New("must be a time with its unit, such as 30s, 5m or 4h")

// ParseTime returns the time that a text means, such as 30s.
func ParseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		return 0, ErrNoTime
	}
	return d, nil
}
