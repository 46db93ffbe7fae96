package main

import (
	"errors"
	"fmt"
	"os"
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
			if cfg.PIDFile == "" {
				return errors.New("pid_file: missing in the configuration: the running server cannot be found; send it a SIGHUP")
			}
			pid, err := runningServer(cfg.PIDFile)
			if err != nil {
				return err
			}
			if pid == 0 {
				return fmt.Errorf("pid_file: %s: no running server has this file", cfg.PIDFile)
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
