//go:build !race

package scp

import (
	"runtime"
	"testing"
)

// TestTransfersAllocateNoBuffers: they come from a pool, which the race detector makes
// forgetful, so "make test" runs this file once more without it.
func TestTransfersAllocateNoBuffers(t *testing.T) {
	const transfers = 200
	for _, source := range []bool{true, false} {
		transfer(t, source, 1, 1) // fills the pool
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range transfers {
			transfer(t, source, 1, 1)
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / transfers; n > bufferSize/10 {
			t.Errorf("source %t: a transfer of one byte allocates %d bytes, want no buffer of %d", source, n, bufferSize)
		}
	}
}
