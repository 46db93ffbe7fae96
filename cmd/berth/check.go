package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory/ldap"
	"berth/policy"
)

func checkCommand() *cobra.Command {
	var file string
	var offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with the configuration, and what the directory says",
		Long: `Check reads the configuration and reports every mistake with its line and what
would be right. Then it asks each directory: connection, TLS, bind, base, one
search, what can be read. The exit status is 1 when something is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			set, err := policy.Compile(cfg.Rules)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "ok       %s: %d directories, %d rules\n", file, len(cfg.Directories), len(cfg.Rules))
			for _, c := range set.Clashes() {
				fmt.Fprintf(out, "warning  %s: %s\n", file, c)
			}
			if offline {
				return nil
			}
			for _, warning := range places(set.Folders()) {
				fmt.Fprintf(out, "warning  %s: %s\n", file, warning)
			}
			if _, err := openAuthorities(cfg.Certificates); err != nil {
				return err
			}
			if _, err := openKeytab(cfg.Kerberos); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			people, err := openDirectories(cfg.Directories, set.Attributes(), hclog.NewNullLogger())
			if err != nil {
				return err
			}
			defer people.Close()
			wrong := false
			for i, c := range people.clients {
				for _, f := range c.Report(ctx, set.Groups()) {
					fmt.Fprintf(out, "%-8s %s: %s: %s\n", f.Level, cfg.Directories[i].Name, f.What, f.Detail)
					wrong = wrong || f.Level == ldap.Bad
				}
			}
			if wrong {
				return errSaid
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&offline, "offline", false, "look at the file only")
	return cmd
}
