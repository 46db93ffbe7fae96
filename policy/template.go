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
	below string // the only part is an attribute that holds a path below this directory; empty: it is not
}

type part struct {
	literal string
	name    string // "%u", "%{department}"; empty for literal text
	attr    string // in lower case, of %{attr}
}

var errBelow = errors.New("must be a directory of this machine other than /, such as /home, and host one attribute, such as %{homeDirectory}")

// parseTemplate reads a host path with %u, %i, %d, %{attr} and %%. If below is not
// empty, it is one attribute, which holds the whole path.
func parseTemplate(text, below string) (template, error) {
	t := template{text: text, below: below}
	if below != "" {
		m := placeholders.FindStringSubmatch(text)
		if m == nil || m[0] != text || m[1] == "" || !path.IsAbs(below) || path.Clean(below) != below || below == "/" || strings.ContainsRune(below, 0) {
			return t, errBelow
		}
		t.parts = []part{{name: text, attr: strings.ToLower(m[1])}}
		return t, nil
	}
	if strings.HasPrefix(text, "%{") {
		return t, errors.New("must be an absolute path of this machine, such as /srv/berth/home/%u; an attribute that holds a whole path needs below: /home")
	}
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

// attributeName matches the names of LDAP attributes.
var attributeName = regexp.MustCompile(`^[A-Za-z0-9._;-]+$`)

// placeholders finds percent signs and what belongs to them. The name of an LDAP
// attribute may have options such as ";binary".
var placeholders = regexp.MustCompile(`%(?:[uid%]|\{([A-Za-z0-9._;-]+)\})?`)

// fill returns the path for u. A value that could lead elsewhere, or to a place
// that people share by accident, is an error.
func (t template) fill(u *directory.User) (string, error) {
	if t.fixed() {
		return t.parts[0].literal, nil
	}
	if t.below != "" {
		host, err := t.parts[0].path(u, t.below)
		if err != nil {
			return "", fmt.Errorf("%s: %w", t.text, err)
		}
		return host, nil
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

// special are the characters that must be escaped in a pattern of
// path/filepath.
var special = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`)

// pattern is a pattern of path/filepath that all paths of the template match.
func (t template) pattern() string {
	var b strings.Builder
	if t.below != "" {
		b.WriteString(special.Replace(t.below) + "/")
	}
	for _, p := range t.parts {
		if p.name != "" {
			b.WriteByte('*')
		}
		b.WriteString(special.Replace(p.literal))
	}
	return b.String()
}

// path returns the path in an attribute, which must be below a directory. Links are
// not followed here: who may make them below that directory may choose where the home is.
func (p part) path(u *directory.User, below string) (string, error) {
	value, err := p.raw(u)
	switch {
	case err != nil:
		return "", err
	case !path.IsAbs(value) || path.Clean(value) != value || strings.ContainsRune(value, 0):
		return "", fmt.Errorf("%q is not an absolute path in its shortest form", value)
	case !strings.HasPrefix(value, below+"/"):
		return "", fmt.Errorf("%q is not below %s", value, below)
	}
	return value, nil
}

// raw is the value of p in the directory.
func (p part) raw(u *directory.User) (value string, err error) {
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
	if value == "" {
		return "", errors.New("it has no value")
	}
	return value, nil
}

// value is what p is replaced by. A value that could lead elsewhere is an error.
func (p part) value(u *directory.User) (string, error) {
	value, err := p.raw(u)
	switch {
	case err != nil:
		return "", err
	case value == "." || value == "..":
		return "", fmt.Errorf("%q is not the name of a folder", value)
	case strings.ContainsAny(value, "/\x00"):
		return "", fmt.Errorf("%q holds a slash or a NUL", value)
	}
	return value, nil
}
