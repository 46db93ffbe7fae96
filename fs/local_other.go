//go:build !linux

package fs

// openLocal opens a host directory, confined by os.Root.
func openLocal(host string, umask uint32) (layer, error) { return openRoot(host, umask) }
