package fs_test

import (
	"testing"

	"berth/fs"
	"berth/sshd/state/statetest"
)

// TestCounter: the counter of one process is one that several sessions ask.
func TestCounter(t *testing.T) {
	statetest.RunCounters(t, 3, func(_ *testing.T, n int) (all []fs.Counter) {
		c := fs.NewMemoryCounter()
		for range n {
			all = append(all, c)
		}
		return all
	})
}
