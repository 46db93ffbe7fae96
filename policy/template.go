package policy

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"berth/directory"
)

// template is a host path with placeholders.
type template struct {
	text  string // as written
	parts []part
}

type part struct {
	literal string
	name    string // "%u", "%{department}"; empty for literal text
	attr    string // in lower case, of %{attr}
}

// parseTemplate reads a host path with %u, %i, %d, %{attr} and %%.
func parseTemplate(text string) (template, error) {
	t := template{text: text}
	if !path.IsAbs(text) || strings.ContainsRune(text, 0) {
		return t, errors.New("must be an absolute path of this machine, such as /srv/berth/home/%u")
	}
	if clean := path.Clean(text); clean != text {
		return t, fmt.Errorf("write it as %s", clean)
	}
	at := 0
	add := func(p part) {
		if p != (part{}) {
			t.parts = append(t.parts, p)
		}
	}
	for _, m := range placeholders.FindAllStringSubmatchIndex(text, -1) {
		add(part{literal: text[at:m[0]]})
		at = m[1]
		switch name := text[m[0]:at]; {
		case name == "%":
			return t, errors.New("after a percent sign comes u (name), i (id), d (directory), {attribute} or another percent sign")
		case name == "%%":
			add(part{literal: "%"})
		case m[2] < 0:
			add(part{name: name})
		default:
			add(part{name: name, attr: strings.ToLower(text[m[2]:m[3]])})
		}
	}
	add(part{literal: text[at:]})
	return t, nil
}

// placeholders finds percent signs and what belongs to them. The name of an LDAP
// attribute may have options such as ";binary".
var placeholders = regexp.MustCompile(`%(?:[uid%]|\{([A-Za-z0-9._;-]+)\})?`)

// fill returns the path for u. A value that could lead elsewhere, or to a place
// that people share by accident, is an error.
func (t template) fill(u *directory.User) (string, error) {
	if t.fixed() {
		return t.parts[0].literal, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.literal)
		if p.name == "" {
			continue
		}
		value, err := p.value(u)
		if err != nil {
			return "", fmt.Errorf("%s in %s: %w", p.name, t.text, err)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// fixed reports whether the path is the same for everybody.
func (t template) fixed() bool { return len(t.parts) == 1 && t.parts[0].name == "" }

// special are the letters that a pattern of path/filepath must have escaped.
var special = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// pattern is a pattern of path/filepath that all paths of the template match.
func (t template) pattern() string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name != "" {
			b.WriteByte('*')
		}
		b.WriteString(special.Replace(p.literal))
	}
	return b.String()
}

// value is what p is replaced by. A value that could lead elsewhere is an error.
func (p part) value(u *directory.User) (value string, err error) {
	switch {
	case p.name == "%u":
		value = u.Name
	case p.name == "%i" && u.ID != "":
		value = u.Identity.String()
	case p.name == "%d":
		value = u.Source
	case len(u.Attrs[p.attr]) > 1: // their order means nothing in a directory
		return "", fmt.Errorf("the attribute has %d values: one is needed", len(u.Attrs[p.attr]))
	default:
		value = strings.Join(u.Attrs[p.attr], "")
	}
	switch {
	case value == "":
		return "", errors.New("it has no value")
	case value == "." || value == "..":
		return "", fmt.Errorf("%q is not the name of a folder", value)
	case strings.ContainsAny(value, "/\x00"):
		return "", fmt.Errorf("%q holds a slash or a NUL", value)
	}
	return value, nil
}
