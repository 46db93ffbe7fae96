//go:build !linux

package admin

import "net"

func callerOf(net.Conn) (Caller, bool) { return Caller{}, false }

func loginOf(int) string { return "" }
