package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/config/migrate"
	"berth/policy"
	"berth/sshd/privatefile"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Make a configuration from that of another server",
		Long: `Import reads the configuration of another server and writes one for Berth. It takes
the directory from the configuration that --config names, which "berth init" makes.
It prints what it could not carry over, and why. Nobody gets more access than on the
other server. If a rule cannot express something, the rule refuses access, or is
left out. Before you use the result, read it, and check it with
"berth explain --all".`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(importSSHDCommand(), importSFTPGoCommand())
	return cmd
}

func importSSHDCommand() *cobra.Command {
	var from migrate.SSHD
	cmd := importer("sshd [FILE]", "Make a configuration from OpenSSH's sshd_config",
		`Sshd reads the sshd_config of OpenSSH, by default /etc/ssh/sshd_config, and the files
that it includes. A Match block with ChrootDirectory becomes a rule with a home.
AllowUsers and AllowGroups become conditions of these rules. DenyUsers and DenyGroups
become rules that deny. Ports, host keys, banner, limits and login methods are
carried over.

With sshd, the modes of files decide where people may write. With Berth, a rule
decides. Everything is read-only, except the folders that --writable names below
each home.`, cobra.MaximumNArgs(1), func(cfg *config.Config, args []string) (*migrate.Result, error) {
			file := "/etc/ssh/sshd_config"
			if len(args) > 0 {
				file = args[0]
			}
			from.Kerberos = cfg.Kerberos.Enabled()
			return from.Read(file)
		})
	cmd.Flags().StringSliceVar(&from.Writable, "writable", nil, "`folder` below each home in which people may write, such as upload")
	cmd.Flags().StringVar(&from.Home, "home", "", "what %h is in ChrootDirectory, such as `/home/%u`")
	return cmd
}

func importSFTPGoCommand() *cobra.Command {
	return importer("sftpgo FILE", "Make a configuration from SFTPGo's backup",
		`Sftpgo reads the JSON of SFTPGo's backup (dumpdata). Each user becomes a rule for the
person with this name in the directory. The rule includes the settings of the user's
groups: home, virtual folders, permissions, patterns of names, limits, addresses and
login methods. Passwords and keys are not carried over, because people use those of
the directory.`, cobra.ExactArgs(1), func(cfg *config.Config, args []string) (*migrate.Result, error) {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return nil, err
			}
			found, err := migrate.SFTPGo(text, cfg.OneTimeCodes(), cfg.Kerberos.Enabled())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", args[0], err)
			}
			return found, nil
		})
}

// importFlags are those of all importers.
type importFlags struct{ config, out string }

// importer is a command that writes a configuration with what read returns. read gets the
// configuration to start from.
func importer(use, short, long string, args cobra.PositionalArgs, read func(*config.Config, []string) (*migrate.Result, error)) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.base()
			if err != nil {
				return err
			}
			found, err := read(cfg, args)
			if err != nil {
				return err
			}
			return f.write(cmd, found)
		},
	}
	cmd.Flags().StringVar(&f.config, "config", defaultConfig, "`file` with the directory and the places to use, as berth init makes it")
	cmd.Flags().StringVar(&f.out, "out", "", "new `file` to write; default: standard output")
	return cmd
}

// base is the configuration to start from.
func (f *importFlags) base() (*config.Config, error) {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return nil, err
	}
	if len(cfg.Directories) > 1 {
		return nil, fmt.Errorf("%s: has several directories, and the other server does not name the directory of its users: use a configuration with one directory", f.config)
	}
	return cfg, nil
}

// write writes the configuration, if it loads, and prints what is not in it.
func (f *importFlags) write(cmd *cobra.Command, found *migrate.Result) error {
	defer func() {
		for _, n := range found.Notes {
			fmt.Fprintln(cmd.ErrOrStderr(), "not carried over:", n)
		}
	}()
	if !slices.ContainsFunc(found.Rules, func(r policy.Rule) bool { return !r.Deny }) {
		return errors.New("nothing is written: no rule of the result allows a login")
	}
	base, err := os.ReadFile(f.config)
	if err != nil {
		return err
	}
	text, err := found.Over(string(base))
	if err != nil {
		return err
	}
	if _, err := config.Parse("result", []byte(text)); err != nil {
		return fmt.Errorf("nothing is written: the result does not load: %w", err)
	}
	if f.out == "" {
		_, err = io.WriteString(cmd.OutOrStdout(), text)
		return err
	}
	if err := privatefile.Create(f.out, []byte(text), 0o640); err != nil {
		return fmt.Errorf("write %s: %w", f.out, err)
	}
	return nil
}
