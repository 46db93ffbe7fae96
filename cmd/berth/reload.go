package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
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
server runs as, or as root. A server without admin.socket reloads at SIGHUP, and
the outcome is only an event.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := askServer(file)
			if err != nil {
				return err
			}
			waits, err := server.Reload(cmd.Context())
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
