package state_test

import (
	"testing"

	"berth/sshd/state"
	"berth/sshd/state/statetest"
)

func TestConformance(t *testing.T) {
	statetest.Run(t, 1, func(_ *testing.T, s state.Settings, _ int) []state.Store {
		return []state.Store{state.NewMemory(s)}
	})
}
