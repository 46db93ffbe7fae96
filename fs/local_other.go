//go:build !linux

package fs

import "runtime"

// foldsNames reports whether a host directory compares names as Windows does.
func foldsNames(string) bool { return runtime.GOOS == "windows" }

// openLocal opens a host directory, confined by os.Root.
func openLocal(host string, umask uint32) (layer, error) { return openRoot(host, umask) }
