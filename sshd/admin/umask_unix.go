//go:build unix

package admin

import "syscall"

// privately lets do make files that are nobody else's from the first moment.
func privately(do func()) {
	defer syscall.Umask(syscall.Umask(0o177))
	do()
}
