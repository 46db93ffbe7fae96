package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/mail"
	"berth/sshd/state/redis"
)

func mailCommand() *cobra.Command {
	var dryRun, asJSON bool
	var days int
	cmd := configCommand("mail", "Show who would get a mail before their password expires",
		`Mail prints who gets the next mail before their password expires, and when. It looks
at everybody whom a rule lets in. The directory computes the expiry, and mail.days says
how many days before that mails are sent. This command sends nothing: the server does.
A person without an address that can be used is printed with the reason, and mail then
exits with 2.`,
		cobra.NoArgs, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
			if !dryRun {
				return errors.New("the server sends mails by itself: --dry-run shows who would get which")
			}
			return planMails(cmd, cfg, time.Now().AddDate(0, 0, days), asJSON)
		})
	flags := cmd.Flags()
	flags.BoolVar(&dryRun, "dry-run", false, "send nothing")
	flags.BoolVar(&asJSON, "json", false, "print a JSON object for each mail, a line each")
	flags.IntVar(&days, "within", 14, "look so many `days` ahead")
	return cmd
}

// planMails prints the mails that are sent before a time.
func planMails(cmd *cobra.Command, cfg *config.Config, until time.Time, asJSON bool) error {
	post, err := openMailer(cfg, event.Sinks{}, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	if post == nil {
		return errors.New("mail.server: there is none, so nobody gets mails")
	}
	defer post.close()
	set, err := cfg.Compile()
	if err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, append(set.Attributes(), cfg.Mail.Attributes()...), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	post.of(people, func() *policy.Set { return set })
	out := newList(cmd.OutOrStdout(), asJSON, "USER\tADDRESS\tLANGUAGE\tMAIL\tWHEN\tPASSWORD EXPIRES\tCHANGE WITH", planLine)
	problems := 0
	for p, err := range post.Plans(cmd.Context(), until) {
		if err != nil {
			return errors.Join(out.table.Flush(), err)
		}
		if p.Problem != "" {
			problems++
		}
		if err := out.add(p); err != nil {
			return err
		}
	}
	if err := out.table.Flush(); err != nil {
		return err
	}
	if problems > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s cannot get a mail\n", plural(problems, "person", "people"))
		return exitCode{2, errReported}
	}
	return nil
}

// planLine is a line of the table.
func planLine(p *mail.Plan) string {
	address, way := p.Address, "-"
	if p.Problem != "" {
		address = "(" + p.Problem + ")"
	}
	if p.Passwd {
		way = "passwd"
	}
	const layout = "2006-01-02 15:04"
	return fmt.Sprintf("%s\t%s\t%s\t%s, %s\t%s\t%s\t%s", policy.Quote(p.User), address, p.Language, p.Kind, plural(p.Days, "day", "days"),
		p.At.Local().Format(layout), p.Expires.Local().Format(layout), way)
}

// A mailer is a mail.Mailer, and what to close.
type mailer struct {
	*mail.Mailer
	close func() error
}

// openMailer returns a mailer that knows no people yet; nil if there is no mail server.
func openMailer(cfg *config.Config, sink event.Sink, log hclog.Logger) (*mailer, error) {
	if !cfg.Mail.Enabled() {
		return nil, nil
	}
	m, err := mail.New(cfg.Mail)
	if err != nil {
		return nil, fmt.Errorf("mail.%w", err)
	}
	m.Events, m.Log = sink, log
	if len(cfg.State.Redis.URLs) == 0 {
		m.Ledger = &mail.File{Path: cfg.Mail.StateFile}
		return &mailer{m, io.NopCloser(nil).Close}, nil
	}
	shared, err := redis.OpenMails(cfg.State.Redis)
	if err != nil {
		return nil, fmt.Errorf("state.redis: %w", err)
	}
	m.Ledger = shared
	return &mailer{m, shared.Close}, nil
}

// of gives the mailer its people and the rules of the moment.
func (m *mailer) of(people directory.Directory, rules func() *policy.Set) {
	m.People = people
	m.Rules = func(u *directory.User) (admitted, passwd bool) {
		set := rules()
		for _, req := range set.Circumstances(time.Now()).Of(u) {
			if p, err := set.Resolve(req); err == nil {
				admitted, passwd = true, passwd || p.Allows("passwd")
			}
		}
		return admitted, passwd
	}
}
