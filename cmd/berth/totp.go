package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/policy"
	"berth/sshd/admin"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/totp"
)

func totpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "totp",
		Short: "Make, list and remove secrets of one-time codes",
		Long: `Totp stores secrets of one-time codes in totp.file of the configuration, encrypted
with totp.key_file. Run it as the user that the server runs as. A running server
uses a change from the next login on. Each change is an event.`,
		Args: cobra.NoArgs,
	}
	// command is a sub-command that works on the secrets.
	command := func(use, short, long string, args cobra.PositionalArgs, run func(*cobra.Command, *config.Config, *totp.File, []string) error) {
		cmd.AddCommand(configCommand(use, short, long, args, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
			if !cfg.TOTP.Enabled() {
				return fmt.Errorf("%s: totp.file: missing: must be the file to keep secrets in, such as /var/lib/berth/totp", cfg.Path)
			}
			secrets, err := totp.Open(cfg.TOTP, cfg.DirectoryNames()...)
			if err != nil {
				return err
			}
			return run(cmd, cfg, secrets, args)
		}))
	}
	command("add USER", "Make a secret for a user, and print it",
		`Add looks up USER in the directory, makes a secret, and prints it once as an
otpauth:// URI. To show it as a picture that an app can read, run:
berth totp add USER | qrencode -t ansiutf8`, cobra.ExactArgs(1), addSecret)
	command("remove USER|ID|ID@DIRECTORY", "Remove the secret of a user",
		`Remove removes the secret of USER, with a name or id from "berth totp list". The
person need not be in the directory any more.`, cobra.ExactArgs(1), removeSecret)
	command("list", "Show who has a secret", "", cobra.NoArgs, listSecrets)
	return cmd
}

func addSecret(cmd *cobra.Command, cfg *config.Config, secrets *totp.File, args []string) error {
	people, err := openDirectories(cfg.Directories, nil, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	u, err := lookup(cmd.Context(), people, args[0])
	if err != nil {
		return err
	}
	if u.ID == "" {
		return fmt.Errorf("%q: the service account cannot read the id_attribute, and a secret is stored under it", u.Name)
	}
	p := totp.Person{ID: u.ID, Directory: u.Source, Name: u.Name, Added: time.Now()}
	var stored string
	err = recorded(cfg, secretEvent(event.CodeSecretAdded, p), func() error {
		uri, err := secrets.Add(p)
		if errors.Is(err, totp.ErrExists) {
			return fmt.Errorf("%w: remove it first, with berth totp remove", err)
		}
		if err == nil {
			stored = uri
		}
		return err
	})
	if stored != "" { // even if its event could not be written
		_, lost := fmt.Fprintln(cmd.OutOrStdout(), stored)
		err = errors.Join(err, lost)
	}
	return err
}

func removeSecret(_ *cobra.Command, cfg *config.Config, secrets *totp.File, args []string) error {
	people, err := secrets.People()
	if err != nil {
		return err
	}
	people = slices.DeleteFunc(people, func(p totp.Person) bool {
		return !slices.Contains([]string{p.Name, p.ID, p.ID + "@" + p.Directory}, args[0])
	})
	switch len(people) {
	case 0:
		return fmt.Errorf("%q: has no secret here: see berth totp list", args[0])
	case 1:
		return recorded(cfg, secretEvent(event.CodeSecretRemoved, people[0]), func() error { return secrets.Remove(people[0]) })
	}
	return fmt.Errorf("%q: %d people here have that name: give ID@DIRECTORY, as in berth totp list", args[0], len(people))
}

func listSecrets(cmd *cobra.Command, _ *config.Config, secrets *totp.File, _ []string) error {
	people, err := secrets.People()
	if err != nil {
		return err
	}
	w := newTable(cmd.OutOrStdout())
	for _, p := range people {
		directory := cmp.Or(p.Directory, "(unknown: remove it, and add it again)")
		fmt.Fprintf(w, "%s\t%s\t%s@%s\n", policy.Quote(p.Name), p.Added.Format(time.DateOnly), p.ID, directory)
	}
	return w.Flush()
}

func secretEvent(t event.Type, p totp.Person) event.Event {
	return event.Event{Type: t, User: p.Name, UserID: p.ID, Directory: p.Directory, Fields: map[string]string{"directory": p.Directory}}
}

// recorded changes something, and emits e, with the operator, where the server does.
// Nothing is changed if the events file cannot be opened. The
// server's own output belongs to another process: where events go there, the
// event is on standard error.
func recorded(cfg *config.Config, e event.Event, change func() error) error {
	if err := nameNode(cfg); err != nil {
		return err
	}
	s, log := cfg.Events, hclog.New(&hclog.LoggerOptions{Output: os.Stderr})
	if s.File == "-" || s.File == "stdout" {
		s.File = "stderr"
	}
	s.Version = release
	s.MaxSize, s.MaxAge = 0, 0 // the server begins new files
	file, err := audit.Open(s, log)
	if err != nil {
		return err
	}
	sinks, closers := event.Sinks{file}, []io.Closer{file}
	if s.Syslog.Enabled() && !s.SyslogFromFile() { // else the server sends what is in the file
		syslog, err := audit.OpenSyslog(s, log)
		if err != nil {
			return errors.Join(fmt.Errorf("events.%w", err), file.Close())
		}
		sinks, closers = append(sinks, syslog), append(closers, syslog)
	}
	if err = change(); err == nil {
		maps.Copy(e.Fields, admin.Self().Fields())
		sinks.Emit(e)
	}
	for _, c := range closers {
		err = errors.Join(err, c.Close())
	}
	return err
}

// openCodes returns nil where nobody can have a secret.
func openCodes(cfg *config.Config) (*totp.Codes, error) {
	if !cfg.OneTimeCodes() {
		return nil, nil
	}
	codes := &totp.Codes{}
	if !cfg.TOTP.Enabled() {
		return codes, nil
	}
	var err error
	codes.File, err = totp.Open(cfg.TOTP, cfg.DirectoryNames()...)
	return codes, err
}

// enrolled reports whether u has a secret: nil where nobody can have one.
func enrolled(codes *totp.Codes, u *directory.User) (*bool, error) {
	if codes == nil {
		return nil, nil
	}
	yes, err := codes.Enrolled(u.Identity.String(), directory.Reveal(u.TOTP))
	return &yes, err
}
