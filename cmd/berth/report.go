package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/policy"
	"berth/policy/review"
	"berth/sshd/event/audit"
	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

func reportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "report", Short: "Write reports for auditors"}
	cmd.AddCommand(reportAccessCommand())
	return cmd
}

// reportFlags say what a report is about, and how it is written.
type reportFlags struct {
	format, owner, since, out, sign, passphrase string
	events                                      []string
	all, disk                                   bool
}

// everyOwner is --owner without a DN.
const everyOwner = "*"

func reportAccessCommand() *cobra.Command {
	var f reportFlags
	cmd := configCommand("access PATH | --all", "Say who can reach a folder, why, and who has used it",
		`Access looks at every person of the directories and prints who has rights at PATH
and below it: which ones, by which rule, through which chain of groups, the state of
the account, the last login, and when each right was last used, according to the events.
PATH is a folder as people see it, or a folder of the server. --all is about all paths.
Where files belong to people on the disk, root asks the disk as well, and the rights
show what the disk does not permit.

Rules that depend on the address, the method or the hour are checked under all
circumstances. The report says when such a rule matches.

Report exits with 0 if the report is complete, and with 2 if people or rights are
missing in it, because a directory could not be read to its end, say; the report
itself says so too.`, f.args, f.run)
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "all paths")
	flags.BoolVar(&f.disk, "disk", false, "ask the disk in all folders; without it only root does, and where files belong to people")
	flags.StringVar(&f.format, "format", "table", "`format`: "+strings.Join(review.Formats, ", "))
	flags.StringVar(&f.owner, "owner", "", "put the rows of each owner of a group together; with a `DN`: only this owner's")
	flags.Lookup("owner").NoOptDefVal = everyOwner
	flags.StringVar(&f.since, "since", "", "earlier report, a JSON `file`: show what is new and gone since")
	flags.StringArrayVar(&f.events, "events", nil, "events `file` to read last logins and uses from, and the full files beside it; may be repeated (default events.file)")
	flags.StringVar(&f.out, "out", "", "`file` to write to, which must not exist")
	flags.StringVar(&f.sign, "sign", "", "private `key` to sign the report with, into a second file that ends in .sig; host is the first host key")
	flags.StringVar(&f.passphrase, "passphrase-file", "", "`file` with the passphrase of the key")
	return cmd
}

func (f *reportFlags) args(_ *cobra.Command, args []string) error {
	if f.all == (len(args) == 1) || len(args) > 1 {
		return errors.New("name one PATH, or use --all")
	}
	return nil
}

func (f *reportFlags) run(cmd *cobra.Command, cfg *config.Config, args []string) error {
	path := strings.Join(args, "") // empty: all
	if !slices.Contains(review.Formats, f.format) {
		return fmt.Errorf("--format: %q: must be one of %s", f.format, strings.Join(review.Formats, ", "))
	}
	if f.sign != "" && f.out == "" {
		return errors.New("--sign: needs --out: a signature is of a file")
	}
	set, err := cfg.Compile()
	if err != nil {
		return err
	}
	for _, file := range []string{f.out, f.out + ".sig"} {
		if _, err := os.Lstat(file); err == nil && (file == f.out || f.sign != "") {
			return existsAlready(file) // before the long work
		}
	}
	old, err := readReport(f.since)
	if err != nil {
		return err
	}
	if _, err := review.New(set, path, cfg.Review, nil, nil, time.Now()); err != nil {
		return err // before the long work
	}
	report, err := f.review(cmd, cfg, set, path)
	if err != nil {
		return err
	}
	owner := strings.TrimSuffix(f.owner, everyOwner) // whose rows are printed; empty: all
	if old != nil {
		if err := report.Compare(old, owner); err != nil {
			return fmt.Errorf("--since: %s: %w", f.since, err)
		}
	}
	if owner != "" {
		report.Of(owner)
	} else if f.owner != "" {
		report.ByOwner()
	}
	if err := f.write(cmd.OutOrStdout(), cfg, report); err != nil {
		return err
	}
	if !report.Complete {
		fmt.Fprintln(cmd.ErrOrStderr(), strings.Join(report.Warnings(), "\n"))
		return exitCode{2, errReported}
	}
	return nil
}

// review checks all people.
func (f *reportFlags) review(cmd *cobra.Command, cfg *config.Config, set *policy.Set, path string) (*review.Report, error) {
	people, err := openDirectories(cfg.Directories, set.Attributes(), hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	defer people.Close()
	uses, record, err := f.uses(cmd.ErrOrStderr(), cfg, set, path)
	if err != nil {
		return nil, err
	}
	nested, nestingErr := people.Nesting(cmd.Context())
	r, err := review.New(set, path, cfg.Review, nested, uses, time.Now())
	if err != nil {
		return nil, err
	}
	if f.disk {
		r.Disk = explainDisk
	} else if r.Disk, err = diskOf(set); err != nil {
		r.Problem(true, err.Error())
	}
	if nestingErr != nil {
		r.Problem(true, fmt.Sprintf("how groups contain each other, and their owners, could not be read: %v", nestingErr))
	}
	if record.unread > 0 {
		r.Problem(true, "last logins and uses may be missing: "+strings.Join(record.problems, "; "))
	} else if record.broken > 0 {
		r.Problem(true, "last logins and uses are not proved, the chain of the events is broken: "+strings.Join(record.problems, "; "))
	}
	for u, err := range counted(cmd, false, people.Users(cmd.Context())) {
		if err != nil {
			r.Problem(false, err.Error())
			break
		}
		r.Add(u)
	}
	return r.Report(), nil
}

// uses reads from events when people logged in and used their rights; nil if no file keeps
// events.
func (f *reportFlags) uses(progress io.Writer, cfg *config.Config, set *policy.Set, path string) (*review.Uses, *recordReader, error) {
	record := &recordReader{err: progress}
	files := audit.Heads(f.events)
	if file := cfg.Events.OnDisk(); len(files) == 0 && file != "" {
		files = []string{file}
	}
	if len(files) == 0 {
		return nil, record, nil
	}
	uses := review.NewUses(set, path)
	search, err := audit.NewSearch(audit.Query{Types: uses.Types()})
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		record.read(search, file, func(m audit.Match) { uses.Add(&m.Record) })
	}
	return uses, record, nil
}

// readReport reads an earlier report; nil if no file is named.
func readReport(file string) (*review.Report, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	var r review.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("--since: %s: must be a report in JSON, as --format json writes it: %w", file, err)
	}
	return &r, nil
}

// signedAs is the namespace of signatures of reports.
const signedAs = "berth-report"

// write writes the report, and a signature if one is asked for.
func (f *reportFlags) write(out io.Writer, cfg *config.Config, r *review.Report) error {
	if f.out == "" {
		return r.Write(out, f.format)
	}
	var text bytes.Buffer
	if err := r.Write(&text, f.format); err != nil {
		return err
	}
	var signature []byte
	if f.sign != "" {
		var err error
		if signature, err = f.signature(cfg, text.Bytes()); err != nil {
			return fmt.Errorf("--sign: %w", err)
		}
	}
	if err := createNew(f.out, text.Bytes()); err != nil || f.sign == "" {
		return err
	}
	return createNew(f.out+".sig", signature)
}

func createNew(file string, text []byte) error {
	err := privatefile.Create(file, text, 0o600)
	if errors.Is(err, iofs.ErrExist) {
		return existsAlready(file)
	}
	return err
}

func existsAlready(file string) error {
	return fmt.Errorf("%s: exists already: name a new file", file)
}

func (f *reportFlags) signature(cfg *config.Config, text []byte) ([]byte, error) {
	file, ask := f.sign, passphraseOf(f.sign, f.passphrase)
	if file == "host" {
		file, ask = cfg.HostKeys[0], passphraseFrom(cfg.HostKeyPassphraseFile)
	}
	if _, err := os.Stat(file); err != nil { // Load would make a host key
		return nil, err
	}
	keys, err := hostkey.Load([]string{file}, ask, hostkey.Agent(cfg.HostKeyAgent))
	if err != nil {
		return nil, err
	}
	blob, err := audit.Seal(keys[0], signedAs, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob}), nil
}
