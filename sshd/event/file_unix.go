//go:build unix

package event

import (
	"os"
	"syscall"
)

// removed reports whether a file that is open has no name any more.
func removed(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
