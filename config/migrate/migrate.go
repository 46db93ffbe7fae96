// Package migrate makes configurations of those of other servers. Nobody gets more access
// than on the other server: what a rule cannot express is refused, or left out with a note.
// Start at SSHD and SFTPGo.
package migrate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"berth/config"
	"berth/policy"
)

// A Result is what was read of another server.
type Result struct {
	Rules []policy.Rule
	Notes []string // what could not be carried over, and why

	sections map[string]string // YAML of other top-level keys
}

func (r *Result) note(place, format string, args ...any) {
	r.Notes = append(r.Notes, place+": "+fmt.Sprintf(format, args...))
}

// topLevel finds where a section of a configuration begins.
var topLevel = regexp.MustCompile(`(?m)^([a-z_]+):`)

// Over returns the text of the configuration base, with its rules and other sections
// replaced by those of r. It notes what can be merged only by hand. It is called once.
func (r *Result) Over(base string) (string, error) {
	var b strings.Builder
	if err := config.WriteRules(&b, r.Rules); err != nil {
		return "", err
	}
	sections := map[string]string{"rules": b.String()}
	maps.Copy(sections, r.sections)
	b.Reset()
	at := topLevel.FindAllStringSubmatchIndex(base, -1)
	end := len(base)
	if len(at) > 0 {
		end = at[0][0]
	}
	b.WriteString(base[:end])
	for n, m := range at {
		key, end := base[m[2]:m[3]], len(base)
		if n+1 < len(at) {
			end = at[n+1][0]
		}
		fresh, replaced := sections[key]
		delete(sections, key)
		switch {
		case !replaced:
			b.WriteString(base[m[0]:end])
		case slices.Contains([]string{"ssh", "admission", "certificates"}, key):
			r.note(key, "the configuration has this section already; merge by hand: %s", strings.Join(strings.Fields(fresh), " "))
			b.WriteString(base[m[0]:end])
		default:
			b.WriteString(fresh + "\n")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sections)) {
		b.WriteString("\n" + sections[key])
	}
	return b.String(), nil
}

// alternatives of methods that are all needed.
type alternatives [][]string

// both is what satisfies a and b. Nil asks for nothing.
func (a alternatives) both(b alternatives) alternatives {
	if a == nil {
		return b
	} else if b == nil {
		return a
	}
	all := alternatives{}
	for _, x := range a {
		for _, y := range b {
			methods := slices.Compact(slices.Sorted(slices.Values(slices.Concat(x, y))))
			if !slices.ContainsFunc(all, func(z []string) bool { return slices.Equal(z, methods) }) {
				all = append(all, methods)
			}
		}
	}
	return all
}
