package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/sshd/admin"
)

func sessionsCommand() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Show who is logged in to the running server",
		Long: `Sessions asks the running server, by admin.socket of the configuration, who is
logged in, from where, since when, and what they have moved. Call it as the user
the server runs as, or as root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := askServer(file)
			if err != nil {
				return err
			}
			all, err := server.Sessions(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printSessions(cmd.OutOrStdout(), all, time.Now())
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

func kickCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "kick SESSION|USER",
		Short: "End a session of the running server, or all of a user",
		Long: `Kick ends the session with that id, as events and "berth sessions" show it, or
all sessions of the user with that name. What they were uploading is not put
into place. They can log in again at once: to keep somebody out, disable them in
the directory or change the rules.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := askServer(file)
			if err != nil {
				return err
			}
			ended, err := server.Kick(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if len(ended) == 0 {
				return fmt.Errorf("kick %s: no open session has that id, or is of a user with that name", args[0])
			}
			for _, s := range ended {
				fmt.Fprintf(cmd.OutOrStdout(), "ended %s of %s from %s\n", s.ID, s.User, s.Remote)
			}
			return nil
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func drainCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "End the running server when its transfers have ended",
		Long: `Drain does what SIGTERM does: the server is not ready any more, takes no new
sessions, lets running transfers come to the end of their file for ssh.drain at
most, and ends.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := askServer(file)
			if err != nil {
				return err
			}
			if err := server.Drain(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the server is draining")
			return err
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// askServer returns a client of the server that the configuration is of.
func askServer(file string) (*admin.Client, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	if cfg.Admin.Socket == "" {
		return nil, errors.New("admin.socket: missing in the configuration: a running server can be asked only by its socket, such as /run/berth/berth.sock")
	}
	return admin.Dial(cfg.Admin.Socket), nil
}

// printJSON prints one object a line.
func printJSON[T any](out io.Writer, all []T) error {
	e := json.NewEncoder(out)
	for _, v := range all {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// printSessions prints a table, or that there is nothing for one.
func printSessions(out io.Writer, all []admin.Session, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "nobody is logged in")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SESSION\tUSER\tFROM\tLOGIN\tSINCE\tIDLE\tSERVICES\tFILES\tREAD\tWRITTEN\tCLIENT")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", s.ID, s.User, s.Remote.Addr(), s.Method,
			s.Since.Local().Format("01-02 15:04:05"), s.Idle.Round(time.Second), strings.Join(s.Services, ","),
			s.Files, mebibytes(s.Read), mebibytes(s.Written), strings.TrimPrefix(s.Client, "SSH-2.0-"))
	}
	return t.Flush()
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
