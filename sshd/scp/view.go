package scp

import (
	"path"
	"strings"

	"berth/fs"
)

// A view is the files with the place that relative paths start at.
type view struct {
	files   fs.FS
	home    string
	inPlace bool // see Options
	ahead   bool // see Options
}

// name is the absolute name of what the client calls by a path.
func (v view) name(p string) string {
	if strings.HasPrefix(p, "/") {
		return path.Clean(p)
	}
	return path.Join(v.home, p)
}

// tilde makes a pattern that starts at home ("~", "~/…") relative to it.
func tilde(pattern string) string {
	if pattern == "~" {
		return ""
	}
	if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
		return strings.TrimLeft(rest, "/")
	}
	return pattern
}

// shown is a path as error texts have it.
func shown(p string) string {
	if p == "" {
		return "."
	}
	return p
}
