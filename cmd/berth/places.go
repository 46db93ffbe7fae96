package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"

	"berth/fs"
	"berth/policy"
)

// places says what is wrong with the places of folders on this machine. It
// cannot tell of those without Host.
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
			warn("folder %s: %s is missing: logins that get it fail", f.Path, f.Host)
		} else if err == nil && !fi.IsDir() {
			warn("folder %s: %s is not a directory: logins that get it fail", f.Path, f.Host)
		}
	}
	for _, path := range fs.Shadowed(folders) {
		warn("folder %s: the folder around it has something of its own there, which nobody sees", path)
	}
	return warnings
}
