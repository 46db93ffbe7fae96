package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/policy"
	"berth/sshd/privatefile"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Make a configuration of that of another server",
		Long: `Import reads the configuration of another server and writes one for Berth, with the
directory of the configuration that --config names: "berth init" makes that. It
prints what it could not carry over, and why. Nobody gets more than the other
server gave them: where that cannot be said in a rule, the rule refuses, or there
is none. Read the result, and look at it with "berth explain --all", before it is
used.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(importSSHDCommand(), importSFTPGoCommand())
	return cmd
}

// An imported is what was read of another server.
type imported struct {
	rules    []policy.Rule
	sections map[string]string // YAML of other top-level keys
	notes    []string          // what could not be carried over
}

func (i *imported) note(place, format string, args ...any) {
	i.notes = append(i.notes, place+": "+fmt.Sprintf(format, args...))
}

// importFlags are those of both commands.
type importFlags struct{ config, out string }

func (f *importFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", defaultConfig, "`file` with the directory and the places to use, as berth init makes it")
	cmd.Flags().StringVar(&f.out, "out", "", "new `file` to write; default: standard output")
}

// base is the configuration to start from.
func (f *importFlags) base() (*config.Config, error) {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return nil, err
	}
	if len(cfg.Directories) > 1 {
		return nil, fmt.Errorf("%s: has several directories, and the other server does not say whose people are meant: use a configuration with one of them", f.config)
	}
	return cfg, nil
}

// write writes the configuration, if it loads, and prints what is not in it.
func (f *importFlags) write(cmd *cobra.Command, i *imported) error {
	defer func() {
		for _, n := range i.notes {
			fmt.Fprintln(cmd.ErrOrStderr(), "not carried over:", n)
		}
	}()
	if !slices.ContainsFunc(i.rules, func(r policy.Rule) bool { return !r.Deny }) {
		return errors.New("nothing is written: no rule came out that lets anybody in")
	}
	base, err := os.ReadFile(f.config)
	if err != nil {
		return err
	}
	var rules strings.Builder
	if err := config.WriteRules(&rules, i.rules); err != nil {
		return err
	}
	i.sections["rules"] = rules.String()
	text := i.over(string(base))

	// Files that it names may be relative to the folder it is in.
	trial, err := os.CreateTemp(filepath.Dir(f.config), ".berth-import-*.yaml")
	if err != nil {
		return err
	}
	defer os.Remove(trial.Name())
	_, err = trial.WriteString(text)
	if err := errors.Join(err, trial.Close()); err != nil {
		return err
	}
	if _, err := config.Load(trial.Name()); err != nil {
		return fmt.Errorf("nothing is written: what came out does not load: %w", err)
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

// topLevel finds where a section of a configuration begins.
var topLevel = regexp.MustCompile(`(?m)^([a-z_]+):`)

// over returns the text of a configuration with the sections of i in the place of
// those it had. What is merged by hand only is noted.
func (i *imported) over(base string) string {
	var b strings.Builder
	at := topLevel.FindAllStringSubmatchIndex(base, -1)
	end := len(base)
	if len(at) > 0 {
		end = at[0][0]
	}
	b.WriteString(base[:end])
	for n, m := range at {
		key, end := base[m[2]:m[3]], len(base)
		if n+1 < len(at) {
			end = at[n+1][0]
		}
		fresh, replaced := i.sections[key]
		delete(i.sections, key)
		switch {
		case !replaced:
			b.WriteString(base[m[0]:end])
		case slices.Contains([]string{"ssh", "admission", "certificates"}, key):
			i.note(key, "the configuration has this section already; merge by hand: %s", strings.Join(strings.Fields(fresh), " "))
			b.WriteString(base[m[0]:end])
		default:
			b.WriteString(fresh + "\n")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(i.sections)) {
		b.WriteString("\n" + i.sections[key])
	}
	return b.String()
}

// alternatives of methods that are all needed.
type alternatives [][]string

// both is what satisfies a and b. Nil asks for nothing.
func (a alternatives) both(b alternatives) alternatives {
	if a == nil {
		return b
	} else if b == nil {
		return a
	}
	all := alternatives{}
	for _, x := range a {
		for _, y := range b {
			methods := slices.Compact(slices.Sorted(slices.Values(slices.Concat(x, y))))
			if !slices.ContainsFunc(all, func(z []string) bool { return slices.Equal(z, methods) }) {
				all = append(all, methods)
			}
		}
	}
	return all
}
