package scp

import (
	"path"
	"strings"

	"berth/fs"
)

// A view is the files and the options of a transfer.
type view struct {
	files fs.FS
	Options
}

// name returns the absolute name of what the client calls by a path. The FS resolves
// what comes before a "..": it may be a link, or missing.
func (v view) name(p string) (string, error) {
	p = "/" + p // relative paths start from there, too
	if i := strings.LastIndex(p+"/", "/../"); i >= 0 {
		dir, err := v.files.Realpath(p[:i+3])
		if err != nil {
			return "", err
		}
		p = dir + p[i+3:]
	}
	return path.Clean(p), nil
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

// shown is a path as it appears in error texts.
func shown(p string) string {
	if p == "" {
		return "."
	}
	return p
}
