package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"berth/config"
)

func reloadCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		Long: `Reload looks at the configuration first: with a mistake in it nothing happens.
Then the running server, which pid_file of the configuration names, takes up its
rules. What came of it is an event: server_reloaded or reload_failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			pid, err := readPID(cfg.PIDFile)
			if err != nil {
				return err
			}
			server, err := os.FindProcess(pid)
			if err == nil {
				err = server.Signal(syscall.SIGHUP)
			}
			if err != nil {
				return fmt.Errorf("process %d of %s: %w", pid, cfg.PIDFile, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d has been told\n", pid)
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// readPID returns the process that file names.
func readPID(file string) (int, error) {
	if file == "" {
		return 0, errors.New("pid_file: missing in the configuration: the running server cannot be found; send it a SIGHUP")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("find the running server: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("find the running server: %s: %q is no process", file, strings.TrimSpace(string(text)))
	}
	return pid, nil
}

// writePID writes our own process to file, and returns what removes it.
func writePID(file string) (remove func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
		return nil, fmt.Errorf("pid_file: %w", err)
	}
	return func() { os.Remove(file) }, nil
}
