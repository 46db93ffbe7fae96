package fs

import (
	iofs "io/fs"
	"testing"
)

func TestModes(t *testing.T) {
	tests := []struct {
		mode  iofs.FileMode
		posix uint32
	}{
		{0o644, 0o100644},
		{iofs.ModeDir | iofs.ModeSticky | 0o777, 0o041777},
		{iofs.ModeSymlink | 0o777, 0o120777},
		{iofs.ModeNamedPipe, 0o010000},
		{iofs.ModeSocket, 0o140000},
		{iofs.ModeDevice | iofs.ModeCharDevice, 0o020000},
		{iofs.ModeDevice, 0o060000},
		{iofs.ModeSetuid | iofs.ModeSetgid | 0o755, 0o106755},
	}
	for _, tt := range tests {
		if got := PosixMode(tt.mode); got != tt.posix {
			t.Errorf("PosixMode(%v) = %o, want %o", tt.mode, got, tt.posix)
		}
		if got, want := FileMode(tt.posix), tt.mode; got != want {
			t.Errorf("FileMode(%o) = %v, want %v", tt.posix, got, want)
		}
	}
}
