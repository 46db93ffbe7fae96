//go:build unix

package privatefile

import (
	"os"
	"syscall"
)

// owner returns the user id of a file's owner.
func owner(info os.FileInfo) (uid uint32, known bool) {
	return info.Sys().(*syscall.Stat_t).Uid, true
}
