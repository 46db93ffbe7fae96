//go:build unix

package main

import "syscall"

// clearUmask leaves modes to the folders: each has an umask of its own.
func clearUmask() { syscall.Umask(0) }
