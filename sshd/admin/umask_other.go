//go:build !unix

package admin

// privately calls do: there is no umask here.
func privately(do func()) { do() }
