package scp

import (
	"strings"

	"berth/fs"
)

// A view is the files and the options of a transfer.
type view struct {
	files fs.FS
	Options
}

// name returns the absolute name of what the client calls by a path.
func (v view) name(p string) (string, error) { return fs.Clean(v.files, p) }

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

// shown is a path as it appears in error texts.
func shown(p string) string {
	if p == "" {
		return "."
	}
	return p
}
