//go:build !unix

package main

import "os"

// clearUmask has nothing to do where there is no umask.
func clearUmask() {}

// descriptorLimit is not known there.
func descriptorLimit() uint64 { return 0 }

// lock does nothing where files have no locks of this kind.
func lock(*os.File) error { return nil }

// locker knows no process there.
func locker(*os.File) int { return 0 }
