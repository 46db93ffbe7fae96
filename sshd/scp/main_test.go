package scp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"go.uber.org/goleak"

	"berth/fs"
	"berth/policy"
)

// rootVar makes the test binary a stand-in for ssh, which a client starts with
// the server's command as last argument: it serves the directory rootVar names.
// recordVar names the file for the transcript.
const (
	rootVar   = "SCP_TEST_ROOT"
	recordVar = "SCP_TEST_RECORD"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(rootVar); root != "" {
		os.Exit(serveStdio(root, os.Args[len(os.Args)-1]))
	}
	goleak.VerifyTestMain(m)
}

// serveStdio is the server's end of a client's command line.
func serveStdio(root, command string) int {
	cmd, err := Parse(command)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stdio := struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}
	if record := os.Getenv(recordVar); record != "" {
		stdio.Reader, stdio.Writer = recorded(record, command)
	}
	files, err := fs.Open(&policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: root}},
		Access:  []policy.Access{{Path: "/", Ops: policy.Full}},
	}, fs.Settings{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer files.Close()
	err = cmd.Serve(context.Background(), stdio, os.Stderr, files, Options{})
	if err != nil && !errors.Is(err, io.EOF) {
		return 1
	}
	return 0
}
