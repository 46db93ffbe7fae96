package main

import (
	"io"
	"strings"
	"testing"
)

// TestWrongUse wants an error to say how the command is used.
func TestWrongUse(t *testing.T) {
	for args, want := range map[string]string{
		"kick":               "usage: berth kick SESSION|USER",
		"serve extra":        "usage: berth serve",
		"penalties lift a b": "usage: berth penalties lift ADDRESS|NETWORK|all",
		"serve --prot 22":    "unknown flag: --prot: berth serve --help lists the flags",
		"init --ldif a.ldif --url corp.example --config none": "--ldif and --url",
	} {
		cmd := root()
		cmd.SetArgs(strings.Fields(args))
		cmd.SetOut(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("berth %s: %v, want %q", args, err, want)
		}
	}
}
