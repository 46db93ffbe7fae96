package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
)

// explainFlags are the circumstances of the login to explain.
type explainFlags struct {
	config, from, method, at string
	json, all, diff, disk    bool
}

func explainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain USER | --all | --diff OLD.yaml NEW.yaml [USER...]",
		Short: "Show what a user may do, and why",
		Long: `Explain looks up a user and prints the DN, groups, account state and keys, every
rule with the conditions that hold or fail, and the resulting folders and rights.

With --all it prints a table with the rules and folders of every user of the
directory. With --diff it prints whose access changes, and how, if the rules of the
second file replace those of the first. The directories are those of the second
file. --from, --method and --at describe the login.`,
		Args: f.args,
		RunE: f.run,
	}
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&f.from, "from", "127.0.0.1", "`address` the login comes from")
	cmd.Flags().StringVar(&f.method, "method", "password", "`method` of the login: "+strings.Join(policy.Methods(), ", "))
	cmd.Flags().StringVar(&f.at, "at", "", "`time` of the login, such as 2026-11-22T09:30:00+01:00 (default now)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON; with --all and --diff a line for each user")
	cmd.Flags().BoolVar(&f.all, "all", false, "all users of the directory")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "what changes from one file to another")
	cmd.Flags().BoolVar(&f.disk, "disk", false, "also show what the disk permits in each folder; call it as root")
	cmd.MarkFlagsMutuallyExclusive("config", "diff")
	cmd.MarkFlagsMutuallyExclusive("disk", "all", "diff")
	return cmd
}

// args checks the number of arguments, which depends on the flags.
func (f *explainFlags) args(cmd *cobra.Command, args []string) error {
	switch {
	case f.all && f.diff:
		return errors.New("--all and --diff: use one")
	case f.all && len(args) > 0:
		return errors.New("--all: name no user")
	case f.diff && len(args) < 2:
		return errors.New("--diff: name the old and the new file")
	case !f.all && !f.diff && len(args) != 1:
		return errors.New("name one user, or use --all")
	}
	return nil
}

func (f *explainFlags) run(cmd *cobra.Command, args []string) error {
	req, err := f.request()
	if err != nil {
		return err
	}
	file, old := f.config, &policy.Set{}
	if f.diff {
		if _, old, err = readRules(args[0]); err != nil {
			return err
		}
		file, args = args[1], args[2:]
	}
	cfg, set, err := readRules(file)
	if err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, append(old.Attributes(), set.Attributes()...), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	switch {
	case f.all:
		return f.explainAll(cmd, people, set, req)
	case f.diff:
		return f.explainChanges(cmd, people, old, set, req, args)
	}
	if req.User, err = lookup(cmd.Context(), people, args[0]); err != nil {
		return err
	}
	return f.explain(cmd.OutOrStdout(), cfg, set, req)
}

func (f *explainFlags) explain(out io.Writer, cfg *config.Config, set *policy.Set, req policy.Request) error {
	codes, err := openCodes(cfg)
	if err != nil {
		return err
	}
	why := set.Explain(req)
	if why.User.TOTP, err = enrolled(codes, req.User); err != nil {
		return err
	}
	if p, err := set.Resolve(req); err == nil {
		why.Warnings = append(places(p.Folders), keyChangeOf(cfg, p)...)
		for i, folder := range p.Folders {
			if f.disk {
				why.Folders[i].Disk = explainDisk(folder, p.Rights(folder.Path).Ops)
			}
		}
	}
	if f.json {
		return printJSON(out, why)
	}
	return why.WriteText(out)
}

// changes are the operations that change what is in a directory.
const changes = policy.Create | policy.Mkdir | policy.Rename | policy.Delete | policy.Rmdir | policy.Symlink

// diskOf returns the function that asks the disk in a review; nil if all files belong to
// the service. The error says why this process cannot act as the owners of files.
func diskOf(set *policy.Set) (func(policy.Folder, policy.Op) *policy.ExplainedDisk, error) {
	if !set.Acting() {
		return nil, nil
	}
	if err := fs.CheckActing(); err != nil {
		return nil, fmt.Errorf("what the disk permits was not asked, although files belong to people there: %w", err)
	}
	return explainDisk, nil
}

// explainDisk says what the disk permits in a folder, beside what the rules permit.
func explainDisk(folder policy.Folder, rules policy.Op) *policy.ExplainedDisk {
	d, err := fs.Inspect(folder)
	if err != nil {
		return &policy.ExplainedDisk{Error: err.Error()}
	}
	out := &policy.ExplainedDisk{UID: d.UID, GID: d.GID, Mode: d.Mode.String(), ACL: d.ACL}
	if !d.Acted {
		return out
	}
	var differs policy.Op
	for _, p := range []struct {
		may   bool
		name  string
		needs policy.Op
	}{{d.Read, "list", policy.List}, {d.Search, "enter", policy.Full}, {d.Write, "change", changes}} {
		if p.may {
			out.May = append(out.May, p.name)
		} else {
			differs |= rules & p.needs
		}
	}
	if differs != 0 {
		out.Differs = fmt.Sprintf("the disk does not permit %s, which the rules do", differs)
	}
	return out
}

// explainAll prints a line for each user.
func (f *explainFlags) explainAll(cmd *cobra.Command, people *directories, set *policy.Set, req policy.Request) (err error) {
	lines := event.NewEncoder(cmd.OutOrStdout())
	table := policy.NewSummaryTable(cmd.OutOrStdout())
	if !f.json {
		defer func() { err = errors.Join(err, table.Flush()) }()
	}
	for u, err := range counted(cmd, f.json, people.Users(cmd.Context())) {
		if err != nil {
			return err
		}
		req.User = u
		if sum := set.Summary(req); !f.json {
			table.Add(sum)
		} else if err := lines.Encode(sum); err != nil {
			return err
		}
	}
	return nil
}

// explainChanges prints what changes for the users of those names, or for all.
func (f *explainFlags) explainChanges(cmd *cobra.Command, people *directories, old, next *policy.Set, req policy.Request, names []string) error {
	out := cmd.OutOrStdout()
	users, changed := 0, 0
	for u, err := range counted(cmd, true, people.users(cmd.Context(), names)) {
		if err != nil {
			return err
		}
		users++
		req.User = u
		changes := old.Compare(next, req)
		if len(changes) == 0 {
			continue
		}
		changed++
		if f.json {
			err = event.NewEncoder(out).Encode(struct {
				User    string          `json:"user"`
				Changes []policy.Change `json:"changes"`
			}{u.Name, changes})
		} else {
			err = policy.WriteChanges(out, u.Name, changes)
		}
		if err != nil {
			return err
		}
	}
	if !f.json {
		fmt.Fprintf(out, "%d of %d users: access changes\n", changed, users)
	}
	return nil
}

// counted yields users, and counts them on the terminal unless something else is
// printed there meanwhile.
func counted(cmd *cobra.Command, printing bool, users iter.Seq2[*directory.User, error]) iter.Seq2[*directory.User, error] {
	if printing && isTerminal(cmd.OutOrStdout()) {
		return users
	}
	return func(yield func(*directory.User, error) bool) {
		p := progressLine{out: cmd.ErrOrStderr()}
		defer p.clear()
		n := 0
		for u, err := range users {
			n++
			p.show("%s so far", plural(n, "user", "users"))
			if !yield(u, err) {
				return
			}
		}
	}
}

// users yields the users of those names, or all that the directories list.
func (d *directories) users(ctx context.Context, names []string) iter.Seq2[*directory.User, error] {
	if len(names) == 0 {
		return d.Users(ctx)
	}
	return func(yield func(*directory.User, error) bool) {
		for _, name := range names {
			if u, err := lookup(ctx, d, name); !yield(u, err) {
				return
			}
		}
	}
}

func lookup(ctx context.Context, people *directories, name string) (*directory.User, error) {
	u, err := people.Lookup(ctx, name)
	if errors.Is(err, directory.ErrNoUser) {
		return nil, fmt.Errorf("%q: the directory has no such user", name)
	} else if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	return u, nil
}

func readRules(file string) (*config.Config, *policy.Set, error) {
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, nil, err
	}
	set, err := cfg.Compile()
	return cfg, set, err
}

// request is the login in question, without the user.
func (f *explainFlags) request() (policy.Request, error) {
	req := policy.Request{Method: f.method, Time: time.Now()}
	if !slices.Contains(policy.Methods(), f.method) {
		return req, fmt.Errorf("--method: %q: must be one of %s", f.method, strings.Join(policy.Methods(), ", "))
	}
	var err error
	if req.Remote, err = netip.ParseAddr(f.from); err != nil {
		return req, fmt.Errorf("--from: %q: must be an IP address, such as 192.0.2.7", f.from)
	}
	if f.at != "" {
		if req.Time, err = time.Parse(time.RFC3339, f.at); err != nil {
			return req, fmt.Errorf("--at: %q: must be a time such as 2026-11-22T09:30:00+01:00", f.at)
		}
	}
	return req, nil
}
