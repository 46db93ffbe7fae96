package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
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
	var file string
	cmd := &cobra.Command{
		Use: "check", Args: cobra.NoArgs, Short: "Check the configuration and test the directory",
		Long: `Check reads the configuration and reports every mistake with its line and what
would be right. Then it tests what "berth serve" needs at its start: host keys,
other files, ports. A port that the running server uses is no mistake. Then it
tests each directory: connection, certificate, bind, base, clock, users, groups,
which attributes can be read, and whether servers of one directory are replicas of
each other. The exit status is 1 if something is wrong. Run it as the user that the
server runs as, or as root.

With --as it also logs in to the directory as a user. It reports whether this user
may write what decides about access: attributes that rules use, and the members of
groups. It changes nothing.

With --json it prints one object: "ok" is true when the exit status is 0, and each
of "findings" has a "level" (ok, warning, bad, or note: could not be checked), a
"place" and a "message".`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.out = cmd.OutOrStdout()
			cfg, err := loadConfig(file)
			if err == nil {
				err = c.run(cmd.Context(), cfg)
			}
			if c.json {
				return c.encode(err)
			}
			return err
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&c.offline, "offline", false, "check the file only")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	cmd.Flags().StringVar(&c.as, "as", "", "also test what `user` may write in the directory; asks for the password")
	cmd.Flags().StringVar(&c.secret, "password-file", "", "read the password of --as from the first line of `file`")
	return cmd
}

// A check is one run of the command.
type check struct {
	offline    bool
	as, secret string // user, and the file with the password
	json       bool
	out        io.Writer
	wrong      bool // something is wrong
	findings   []finding
}

// A finding is one line of the command, and what --json prints for it.
type finding struct {
	Level   string `json:"level"`
	Place   string `json:"place"`
	Message string `json:"message"`
}

func (c *check) add(level ldap.Level, place, format string, args ...any) {
	f := finding{level.String(), place, fmt.Sprintf(format, args...)}
	c.wrong = c.wrong || level == ldap.Bad
	c.findings = append(c.findings, f)
	if !c.json {
		fmt.Fprintf(c.out, "%-8s %s: %s\n", f.Level, f.Place, f.Message)
	}
}

// encode prints the findings. The last ones are the errors that have ended
// the check.
func (c *check) encode(err error) error {
	for _, err := range joinedIn(err) {
		var m *config.Mistake
		switch {
		case errors.Is(err, errReported):
		case errors.As(err, &m):
			c.add(ldap.Bad, m.Place(), "%s", m.Message())
		default:
			c.add(ldap.Bad, "berth", "%v", err)
		}
	}
	if err := printJSON(c.out, struct {
		OK       bool      `json:"ok"`
		Findings []finding `json:"findings"`
	}{!c.wrong, c.findings}); err != nil {
		return err
	}
	if c.wrong {
		return errReported
	}
	return nil
}

// joinedType is the type of what errors.Join returns. An error of package fmt with several
// causes is one.
var joinedType = reflect.TypeOf(errors.Join(errReported))

// joinedIn returns the errors that err joins.
func joinedIn(err error) (all []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && reflect.TypeOf(err) == joinedType {
		for _, err := range joined.Unwrap() {
			all = append(all, joinedIn(err)...)
		}
	} else if err != nil {
		all = []error{err}
	}
	return all
}

func (c *check) run(ctx context.Context, cfg *config.Config) error {
	set, err := cfg.Compile()
	if err != nil {
		return err
	}
	c.add(ldap.OK, cfg.Path, "%s, %s", plural(len(cfg.Directories), "directory", "directories"), plural(len(cfg.Rules), "rule", "rules"))
	// Rules with different settings for one place.
	place, err := config.Places(cfg.Path)
	if err != nil {
		return err
	}
	for _, clash := range set.Clashes() {
		c.add(ldap.Warning, place(clash.Second.Key), "%s (%s)", clash, place(clash.First.Key))
	}
	warnings := append(keyChangeWarnings(cfg), cfg.SSH.Warnings()...)
	if !c.offline {
		warnings = append(warnings, places(set.Folders(existing))...)
		warnings = append(warnings, owners(set)...)
	}
	for _, warning := range warnings {
		c.add(ldap.Warning, cfg.Path, "%s", warning)
	}
	if c.offline {
		return nil
	}
	if cfg.Landlock.Enabled {
		if err := confinable(cfg, set); err != nil {
			return err
		}
		c.add(ldap.OK, "landlock", "the kernel will confine the server to the folders of rules and of named files")
	}
	if err := rehearse(cfg); err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, set.Attributes(), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	if err := c.directories(ctx, people, cfg); err != nil {
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

// directories prints the findings about each directory.
func (c *check) directories(ctx context.Context, people *directories, cfg *config.Config) error {
	for _, e := range people.embedded {
		if err := e.Writable(); err != nil {
			c.add(ldap.Warning, "ldif", "nobody can change a password or keys, and wrong passwords are counted until the server stops: %v: put the file into a folder that the server may write, such as /var/lib/berth", err)
		}
	}
	for _, client := range people.clients {
		groups, strict := groupsOf(cfg.Rules, people, client)
		c.print(ctx, client, func(ctx context.Context) []ldap.Finding { return client.Report(ctx, groups, strict...) })
		if cfg.Console.Listen != "" {
			c.print(ctx, client, client.Indexes)
		}
	}
	if joined, ok := people.Directory.(*directory.Joined); ok {
		c.clashes(ctx, people, joined)
	}
	if c.as == "" {
		c.add(ldap.Note, "rights of users", "not checked: --as USER finds out whether people may write what decides about them")
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
			groups, _ := groupsOf(cfg.Rules, people, client)
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
			c.add(ldap.Note, "names of several directories", "not compared: %v", err)
			return
		}
		users = append(users, some...)
	}
	const most = 20
	clashes := joined.Clashes(users)
	for _, clash := range clashes[:min(most, len(clashes))] {
		c.add(ldap.Bad, "names of several directories", "%s", clash)
	}
	if more := len(clashes) - most; more > 0 {
		c.add(ldap.Bad, "names of several directories", "and %d more", more)
	}
}

func (c *check) print(ctx context.Context, client *ldap.Client, ask func(context.Context) []ldap.Finding) {
	ctx, cancel := context.WithTimeout(ctx, directoryWithin)
	defer cancel()
	for _, f := range ask(ctx) {
		c.add(f.Level, client.Settings().Name+": "+f.What, "%s", f.Detail)
	}
}
