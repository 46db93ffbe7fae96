package policy

import (
	"errors"
	"fmt"
	"strings"

	"berth/directory"
)

// An Amount is a limit of a rule: a number, or the attribute of the user that holds it.
type Amount struct {
	// Attribute is of the user; empty: there is none.
	Attribute string

	// Number is the limit, or with an attribute that of users whose attribute is missing or
	// wrong; nil: they are refused.
	Number *int64
}

// ParseAmount reads what a rule has: 10GiB, %{berthQuota}, or %{berthQuota} or 10GiB.
func ParseAmount(s string) (*Amount, error) {
	inner, personal := strings.CutPrefix(strings.TrimSpace(s), "%{")
	if !personal {
		n, err := ParseSize(s)
		return &Amount{Number: &n}, err
	}
	name, rest, _ := strings.Cut(inner, "}")
	a := &Amount{Attribute: name}
	number, another := strings.CutPrefix(rest, " or ")
	var err error
	if another {
		var n int64
		n, err = ParseSize(number)
		a.Number = &n
	}
	if err != nil || !another && rest != "" || !attributeName.MatchString(name) || !strings.Contains(inner, "}") {
		return nil, errors.New(`must be a number such as 10GiB, an attribute such as "%{berthQuota}", or both: "%{berthQuota} or 10GiB"`)
	}
	return a, nil
}

// limitOf returns the limit in an attribute. 0 is no number there: in a rule it means no
// limit, and nobody shall get that by an attribute.
func limitOf(u *directory.User, attribute string) (int64, error) {
	values := u.Attrs[strings.ToLower(attribute)]
	switch {
	case len(values) == 0:
		return 0, fmt.Errorf("%s has no value", attribute)
	case len(values) > 1: // their order means nothing in a directory
		return 0, fmt.Errorf("%s has %d values: one is needed", attribute, len(values))
	}
	n, err := ParseSize(values[0])
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s is %q: must be a number above 0, such as 10GiB", attribute, values[0])
	}
	return n, nil
}
