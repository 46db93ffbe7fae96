package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestLostOutput: a command whose output cannot be written does not exit with 0.
func TestLostOutput(t *testing.T) {
	if os.Getenv("TEST_LOST_OUTPUT") != "" {
		os.Args = []string{"berth", "keys", "show", os.Getenv("TEST_LOST_OUTPUT")}
		main()
		return
	}
	key := t.TempDir() + "/ssh_host_ed25519_key"
	run(t, "berth keys make "+key)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLostOutput$")
	cmd.Env, cmd.Stdout = append(os.Environ(), "TEST_LOST_OUTPUT="+key), full
	if err := cmd.Run(); err == nil {
		t.Error("the output is lost, and the exit status is 0")
	}
}

// TestWrongUse checks that an error has the usage of the command.
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
