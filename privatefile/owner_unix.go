//go:build unix

package privatefile

import (
	"os"
	"syscall"
)

// owner returns the user id of a file's owner.
func owner(info os.FileInfo) (uid uint32, known bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Uid, true
}
