package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"berth/fs"
	"berth/policy"
)

// existing returns the host directories on this machine that match a pattern.
func existing(pattern string) []string {
	found, _ := filepath.Glob(pattern) // the policy makes no bad pattern
	return found
}

// owners says why this process cannot act as the owners of folders; it is empty if it
// can. It tries this as the user nobody.
func owners(set *policy.Set) []string {
	if !set.Acting() {
		return nil
	}
	if err := fs.CheckActing(); err != nil {
		return []string{fmt.Sprintf("folders that belong to people or accounts (owner): %v: logins that get such a folder fail; docs/owner.md has the lines for the unit", err)}
	}
	return nil
}

// places returns warnings about the host directories of folders on this
// machine.
func places(folders []policy.Folder) []string {
	var warnings []string
	warn := func(format string, args ...any) {
		if w := fmt.Sprintf(format, args...); !slices.Contains(warnings, w) {
			warnings = append(warnings, w)
		}
	}
	for _, f := range folders {
		if f.Host == "" || f.Create {
			continue
		}
		if fi, err := os.Stat(f.Host); errors.Is(err, iofs.ErrNotExist) {
			warn("folder %s: %s is missing: people do not get this folder (rule %q)", f.Path, f.Host, f.Rule)
		} else if err == nil && !fi.IsDir() {
			warn("folder %s: %s is not a directory: people do not get this folder (rule %q)", f.Path, f.Host, f.Rule)
		}
	}
	shadowed := fs.Shadowed(folders)
	for _, path := range slices.Sorted(maps.Keys(shadowed)) {
		more := ""
		if n := len(shadowed[path]) - 1; n > 0 {
			more = fmt.Sprintf(" (and %d more like it)", n)
		}
		warn("folder %s: is shown in the place of %s%s, which nobody sees", path, shadowed[path][0], more)
	}
	return warnings
}
