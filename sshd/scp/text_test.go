package scp

import (
	"fmt"
	"testing"

	"berth/fs"
)

func TestEncodeName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"plain", "plain"},
		{"ü \\ \x1b", "ü \\ \x1b"}, // as it is without a newline
		{"a\nb", `a\^Jb`},
		{"\n\\ \t", "\\^J\\\\ \t"},
		{"\nü", `\^J\M-C\M-<`},
		{"\n\x7f\x80\xff\xa0", `\^J\^?\M^@\M^?\240`},
	}
	for _, tt := range tests {
		if got := encodeName(tt.name); got != tt.want {
			t.Errorf("encodeName(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestReason(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{fmt.Errorf("open /srv/x: %w", fs.ErrQuota), "Disk quota exceeded"},
		{fmt.Errorf("open /srv/x: secret"), "Input/output error"},
	}
	for _, tt := range tests {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("reason(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}
