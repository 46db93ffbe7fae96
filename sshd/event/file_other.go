//go:build !unix

package event

import "os"

// removed is false: the system removes no file that is open.
func removed(os.FileInfo) bool { return false }
