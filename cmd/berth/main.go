// Command berth is a file-transfer server for organisations that keep their
// people in a directory. Each sub-command has a file of its own; serve.go is
// where all parts meet.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"berth/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd, out := root(), &output{file: os.Stdout}
	cmd.SetOut(out)
	err := cmd.ExecuteContext(ctx)
	err = cmp.Or(err, out.err)
	if err == nil {
		return
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, "berth:", err)
	}
	tellPredecessor(err)
	stop()
	os.Exit(codeOf(err))
}

// An exitCode is an error with a code of the process that is not 1.
type exitCode struct {
	code int
	error
}

func (e exitCode) Unwrap() error { return e.error }

// codeOf is what the process exits with.
func codeOf(err error) int {
	var e exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.code
	}
	return 1
}

// errReported is the error of a command that has already printed what is wrong.
var errReported = errors.New("reported")

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "berth",
		Short:         "SFTP and SCP for the people in your directory",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(initCommand(), importCommand(), serveCommand(), reloadCommand(), sessionsCommand(), kickCommand(), drainCommand(), upgradeCommand(), penaltiesCommand(), demoCommand(), checkCommand(), explainCommand(), keysCommand(), caCommand(), certifyCommand(), totpCommand(), probeCommand(), versionCommand(), statusCommand(), eventsCommand(), reportCommand(), mailCommand(), logLevelCommand(), supportBundleCommand())
	addExamples(cmd)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: %s --help lists the flags", err, cmd.CommandPath())
	})
	nameArguments(cmd)
	return cmd
}

// nameArguments has cmd, and all commands below it, say which arguments they take if
// they got others.
func nameArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w: usage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		nameArguments(sub)
	}
}

const defaultConfig = "/etc/berth/berth.yaml"

// configFlag adds --config to cmd.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", defaultConfig, "configuration `file`")
}

// configCommand is a command that begins by reading the configuration.
func configCommand(use, short, long string, args cobra.PositionalArgs, run func(*cobra.Command, *config.Config, []string) error) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			return run(cmd, cfg, args)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// loadConfig reads the configuration, and says what to do if there is none.
func loadConfig(file string) (*config.Config, error) {
	if _, err := os.Stat(file); errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration %s: berth init makes one, --config names another, and berth demo needs none", file)
	}
	return config.Load(file)
}
