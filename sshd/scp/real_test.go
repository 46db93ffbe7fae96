package scp

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The server of OpenSSH answers the same client in the same way.
func TestGoldenAgainstOpenSSH(t *testing.T) {
	scp, err := exec.LookPath("scp")
	if err != nil {
		t.Fatalf("OpenSSH's scp is needed: %v", err)
	}
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := readTranscript(filepath.Join("testdata", tt.name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			goldenTree(t, dir)
			cmd := exec.CommandContext(t.Context(), "bash", "-c", scp+strings.TrimPrefix(tr.command, "scp"))
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(tr.client)
			out, _ := cmd.Output()
			// OpenSSH ends with a warning where we say that this is the end.
			if ours := strings.ReplaceAll(tr.server, "\x02", "\x01"); string(out) != ours {
				t.Errorf("%s: OpenSSH says %q, we say %q", tr.command, out, ours)
			}
		})
	}
}
