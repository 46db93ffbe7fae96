//go:build !linux

package main

import "context"

// quietMonitor and followLoad were measured on Linux only, and do nothing
// elsewhere.
func quietMonitor() {}

func followLoad(context.Context) {}
