package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/directory/ldap"
	"berth/policy"
)

func checkCommand() *cobra.Command {
	var c check
	cmd := configCommand("check", "Say what is wrong with the configuration, and what the directory says",
		`Check reads the configuration and reports every mistake with its line and what
would be right. Then it tries what "berth serve" does at its start: host keys,
other files, ports. A port of the running server is no mistake. Then it asks each
directory: connection, certificate, bind, base, clock, users, groups, what of them
can be read. The exit status is 1 when something is wrong. Call it as the user
that the server runs as, or as root.

With --as it logs in to the directory as one of its people and also reports
whether people may write what decides about them: attributes that rules use, the
members of groups. Nothing is changed.`, cobra.NoArgs, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
			c.out = cmd.OutOrStdout()
			return c.run(cmd.Context(), cfg)
		})
	cmd.Flags().BoolVar(&c.offline, "offline", false, "check the file only")
	cmd.Flags().StringVar(&c.as, "as", "", "also find out what `user` may write; asks for the password")
	cmd.Flags().StringVar(&c.secret, "password-file", "", "read the password of --as from the first line of `file`")
	return cmd
}

// A check is one run of the command.
type check struct {
	offline    bool
	as, secret string // user, and the file with the password
	out        io.Writer
	wrong      bool // something is
}

func (c *check) run(ctx context.Context, cfg *config.Config) error {
	set, err := cfg.Compile()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "ok       %s: %s, %s\n", cfg.Path, plural(len(cfg.Directories), "directory", "directories"), plural(len(cfg.Rules), "rule", "rules"))
	if err := writeClashes(c.out, cfg.Path, set.Clashes()); err != nil {
		return err
	}
	for _, warning := range append(keyChangeWarnings(cfg), cfg.SSH.Warnings()...) {
		fmt.Fprintf(c.out, "warning  %s: %s\n", cfg.Path, warning)
	}
	if c.offline {
		return nil
	}
	for _, warning := range places(set.Folders(existing)) {
		fmt.Fprintf(c.out, "warning  %s: %s\n", cfg.Path, warning)
	}
	if err := rehearse(cfg); err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, set.Attributes(), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	if err := c.directories(ctx, people, cfg.Rules); err != nil {
		return err
	}
	if c.wrong {
		return errReported
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// directoryWithin bounds how long a directory may take to answer everything.
const directoryWithin = time.Minute

// directories prints what each directory says.
func (c *check) directories(ctx context.Context, people *directories, rules []policy.Rule) error {
	for _, e := range people.embedded {
		if err := e.Writable(); err != nil {
			fmt.Fprintf(c.out, "warning  ldif: nobody can change a password or keys, and wrong passwords are counted until the server stops: %v: put the file into a folder that the server may write, such as /var/lib/berth\n", err)
		}
	}
	for _, client := range people.clients {
		groups, strict := groupsOf(rules, people, client)
		c.print(ctx, client, func(ctx context.Context) []ldap.Finding { return client.Report(ctx, groups, strict...) })
	}
	if joined, ok := people.Directory.(*directory.Joined); ok {
		c.clashes(ctx, people, joined)
	}
	if c.as == "" {
		fmt.Fprintln(c.out, "note     rights of users: not checked: --as USER finds out whether people may write what decides about them")
		return nil
	}
	u, err := people.Lookup(ctx, c.as)
	if err != nil {
		return fmt.Errorf("--as: %w", err)
	}
	password, err := readPassword("Password of "+c.as+" in the directory: ", "--password-file", c.secret)
	if err != nil {
		return err
	}
	for _, client := range people.clients {
		if client.Settings().Name == u.Source { // no other directory gets the password
			groups, _ := groupsOf(rules, people, client)
			c.print(ctx, client, func(ctx context.Context) []ldap.Finding { return client.Rights(ctx, u, password, groups) })
		}
	}
	return nil
}

// groupsOf returns the groups that rules name and that one directory may have,
// and those of them by which rules refuse or ask for more.
func groupsOf(rules []policy.Rule, people *directories, of *ldap.Client) (groups, strict []string) {
	s := of.Settings()
	mine := func(name string) bool { return strings.EqualFold(name, s.Name) }
	for _, r := range rules {
		if len(r.When.Directory) > 0 && !slices.ContainsFunc(r.When.Directory, mine) {
			continue
		}
		for _, g := range r.When.Groups {
			if dn, err := directory.ParseDN(g); err == nil && strings.Contains(g, "=") {
				holds := func(c *ldap.Client) bool { return dn.Within(directory.DNOf(c.Settings().GroupBase)) }
				if !holds(of) && slices.ContainsFunc(people.clients, holds) {
					continue // another directory has it
				}
			} else if source, name, found := strings.Cut(g, `\`); found {
				if g = name; !mine(source) {
					continue
				}
			}
			groups = append(groups, g)
			if r.Deny || r.Require != nil {
				strict = append(strict, g)
			}
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), strict
}

// clashes prints the users who are refused because another directory has their
// name or id.
func (c *check) clashes(ctx context.Context, people *directories, joined *directory.Joined) {
	ctx, cancel := context.WithTimeout(ctx, directoryWithin)
	defer cancel()
	var users []*directory.User
	for _, client := range people.clients {
		some, err := client.Names(ctx)
		if err != nil {
			fmt.Fprintf(c.out, "note     names of several directories: not compared: %v\n", err)
			return
		}
		users = append(users, some...)
	}
	clashes := joined.Clashes(users)
	for i, clash := range clashes {
		if i == 20 {
			fmt.Fprintf(c.out, "bad      names of several directories: and %d more\n", len(clashes)-i)
			break
		}
		fmt.Fprintf(c.out, "bad      names of several directories: %s\n", clash)
	}
	c.wrong = c.wrong || len(clashes) > 0
}

func (c *check) print(ctx context.Context, client *ldap.Client, ask func(context.Context) []ldap.Finding) {
	ctx, cancel := context.WithTimeout(ctx, directoryWithin)
	defer cancel()
	for _, f := range ask(ctx) {
		fmt.Fprintf(c.out, "%-8s %s: %s: %s\n", f.Level, client.Settings().Name, f.What, f.Detail)
		c.wrong = c.wrong || f.Level == ldap.Bad
	}
}

// writeClashes says which rules of file say different things about one place.
func writeClashes(w io.Writer, file string, clashes []policy.Clash) error {
	place, err := config.Places(file)
	if err != nil {
		return err
	}
	for _, c := range clashes {
		fmt.Fprintf(w, "warning  %s: %s (%s)\n", place(c.Second.Key), c, place(c.First.Key))
	}
	return nil
}
