package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/sshd/admin"
)

func reloadCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		Long: `Reload looks at the configuration first: with a mistake in it nothing happens.
Then it asks the running server, by admin.socket, to take up the rules, admission
and people of embedded directories, and waits for the outcome. It fails if
something else has changed, which only a restart takes up. Call it as the user the
server runs as, or as root. Without admin.socket it sends SIGHUP to the process
that has pid_file locked, and the outcome is only an event.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			if cfg.Admin.Socket == "" {
				return hangUp(cmd.OutOrStdout(), cfg.PIDFile)
			}
			waits, err := admin.Dial(cfg.Admin.Socket).Reload(cmd.Context())
			if err != nil {
				return fmt.Errorf("reload: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the rules, admission and people of embedded directories are in force as they are in the file now")
			if waits != "" {
				return errors.New(waits)
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// hangUp sends SIGHUP to the server that has pidFile.
func hangUp(out io.Writer, pidFile string) error {
	if pidFile == "" {
		return errors.New("admin.socket: missing in the configuration, and pid_file too: the running server cannot be found; send it a SIGHUP")
	}
	pid, err := runningServer(pidFile)
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("pid_file: %s: no running server has this file", pidFile)
	}
	server, err := os.FindProcess(pid)
	if err == nil {
		err = server.Signal(syscall.SIGHUP)
	}
	if err != nil {
		return fmt.Errorf("process %d of %s: %w", pid, pidFile, err)
	}
	_, err = fmt.Fprintf(out, "sent SIGHUP to process %d; the outcome is an event: server_reloaded or reload_failed\n", pid)
	return err
}
