//go:build !unix

package main

// clearUmask has nothing to do where there is no umask.
func clearUmask() {}
