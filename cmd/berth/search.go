package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/event/audit"
)

func searchCommand() *cobra.Command {
	var f searchFlags
	cmd := &cobra.Command{
		Use:   "search [FILE...]",
		Short: "Find events by person, file, time, address or reason",
		Long: `Search reads the events file of the configuration, or the files named, each with the
full files beside it, compressed or not. It prints the events that match all flags,
the oldest first, each with how the person of its session logged in: the key, the
certificate, or the factors. Times are UTC.

In the text of a flag an asterisk stands for any text. --path finds a file or folder by
its path in the user's view or on the server, and everything below it.

The chain of the files is checked on the way. Events near a place where the chain is
broken are printed with a mark. Search exits with 0 if everything could be read and
no chain is broken, with 1 if one is broken, and with 2 if a file could not be read to
its end: then the result is not complete.`,
		RunE: f.run,
	}
	configFlag(cmd, &f.config)
	flags := cmd.Flags()
	flags.StringVar(&f.query.User, "user", "", "`name` or stable id of the person")
	flags.StringVar(&f.query.Path, "path", "", "`path` of a file or folder")
	flags.StringSliceVar(&f.query.Types, "type", nil, "`types` of events, such as login_*,removed")
	flags.StringVar(&f.since, "since", "", "`time` of the first event: 2026-11-24, 2026-11-24T09:30:00+01:00, or 36h ago as 36h")
	flags.StringVar(&f.until, "until", "", "`time` of the last event; a day is included as a whole")
	flags.StringVar(&f.remote, "remote", "", "`address` or network of the client")
	flags.StringVar(&f.query.Reason, "reason", "", "`code` of a refusal or failure, such as bad_password")
	flags.StringVar((*string)(&f.query.Outcome), "outcome", "", "`outcome`: success, failure or refused")
	flags.StringVar(&f.query.Session, "session", "", "`id` of the session")
	flags.StringToStringVar(&f.query.Fields, "field", nil, "`name=text` of a member of fields, of the event or of its session's login: fingerprint=SHA256:…, operator=*")
	flags.StringArrayVar(&f.keys, "key", nil, "public host `key` that must have signed, as for berth events verify; may be repeated")
	flags.BoolVar(&f.json, "json", false, "print a JSON object for each event, a line each")
	return cmd
}

// searchFlags say what to search for, and where.
type searchFlags struct {
	config, since, until, remote string
	keys                         []string
	query                        audit.Query
	json                         bool
}

func (f *searchFlags) run(cmd *cobra.Command, files []string) error {
	search, err := f.search(time.Now())
	if err != nil {
		return exitCode{2, err}
	}
	if files, err = eventsFiles(f.config, files); err != nil {
		return exitCode{2, err}
	}
	keys, err := fingerprintsOf(f.keys)
	if err != nil {
		return exitCode{2, err}
	}
	out := newList(cmd.OutOrStdout(), f.json, "", match.row)
	record := recordReader{err: cmd.ErrOrStderr(), keys: keys}
	found := 0
	for _, file := range files {
		record.read(search, file, func(m audit.Match) {
			found++
			err = cmp.Or(err, out.add(newMatch(m)))
		})
	}
	if err := errors.Join(err, out.table.Flush()); err != nil {
		return exitCode{2, err}
	}
	fmt.Fprintf(record.err, "%s found\n", plural(found, "event", "events"))
	return record.verdict()
}

// search is the search that the flags ask for.
func (f *searchFlags) search(now time.Time) (*audit.Search, error) {
	var err error
	if f.query.Since, err = parseTime(f.since, now, 0); err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	if f.query.Until, err = parseTime(f.until, now, 1); err != nil {
		return nil, fmt.Errorf("--until: %w", err)
	}
	if !f.query.Until.IsZero() && !f.query.Since.Before(f.query.Until) {
		return nil, fmt.Errorf("--until: %s is not after --since", f.until)
	}
	if f.remote != "" {
		if f.query.Remote, err = policy.ParseNetwork(f.remote); err != nil {
			return nil, fmt.Errorf("--remote: %q: %w", f.remote, err)
		}
	}
	return audit.NewSearch(f.query)
}

// parseTime reads a time, a day in UTC, or how long ago. A day is its beginning, or
// that of a day later. Empty is the zero time.
func parseTime(s string, now time.Time, later int) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, later), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q: must be a day such as 2026-11-24, a time such as 2026-11-24T09:30:00+01:00, or a duration before now such as 36h", s)
}

// eventsFiles returns the files named, without full files of another one of them, or else
// the one of the configuration.
func eventsFiles(configuration string, named []string) ([]string, error) {
	if len(named) > 0 {
		return audit.Heads(named), nil
	}
	cfg, err := loadConfig(configuration)
	if err != nil {
		return nil, err
	}
	if cfg.Events.OnDisk() == "" {
		return nil, fmt.Errorf("%s: events.file: %q: events are not kept in a file: name a file that holds them", configuration, cfg.Events.File)
	}
	return []string{cfg.Events.File}, nil
}

// A recordReader reads events files and keeps what is wrong with them.
type recordReader struct {
	err      io.Writer // gets the progress and what is wrong
	keys     []string  // fingerprints of keys that may have signed; none: any
	broken   int       // places where a chain is broken
	unread   int       // files that could not be read to their end
	unsigned bool      // some file has no signature at all
	problems []string
}

func (r *recordReader) read(s *audit.Search, file string, found func(audit.Match)) {
	progress := progressLine{out: r.err}
	failed := func(file string, err error) {
		r.unread++
		r.problem(file, "not read to its end: "+strings.TrimPrefix(err.Error(), file+": "))
	}
	v := &audit.Verifier{
		Keys:   r.keys,
		Failed: failed,
		Broken: func(file string, line int, what string) {
			r.broken++
			r.problem(fmt.Sprintf("%s:%d", file, line), what)
		},
		Progress: progress.ofFile,
	}
	err := s.File(v, file, found)
	progress.clear()
	if err != nil {
		failed(file, err)
	}
	r.unsigned = r.unsigned || len(v.Signatures) == 0
}

func (r *recordReader) problem(where, what string) {
	if len(r.problems) < mostBreaks {
		r.problems = append(r.problems, where+": "+what)
	}
}

// verdict prints what is wrong, and returns it as the code of the process.
func (r *recordReader) verdict() error {
	for _, p := range r.problems {
		fmt.Fprintln(r.err, p)
	}
	if r.unsigned && r.broken == 0 {
		fmt.Fprintln(r.err, "note: no checkpoint has a signature: somebody with write access could have changed the events")
	}
	if r.broken > 0 {
		fmt.Fprintf(r.err, "CHAIN BROKEN in %s: events were changed, removed or inserted there\n", plural(r.broken, "place", "places"))
	}
	switch {
	case r.unread > 0:
		fmt.Fprintf(r.err, "NOT COMPLETE: %s could not be read to the end\n", plural(r.unread, "file", "files"))
		return exitCode{2, errReported}
	case r.broken > 0:
		return errReported
	}
	return nil
}

// A match is what a search finds, with the members that its JSON has.
type match struct {
	File  string          `json:"file"`
	Line  int             `json:"line"`
	Doubt string          `json:"doubt,omitempty"`
	Event json.RawMessage `json:"event"`
	Login *matchLogin     `json:"login,omitempty"`

	found audit.Match
}

// A matchLogin is the login of the session of a match.
type matchLogin struct {
	Time   time.Time         `json:"time"`
	Method string            `json:"method"`
	Fields map[string]string `json:"fields"`
}

func newMatch(m audit.Match) match {
	var login *matchLogin
	if m.Login != nil {
		login = &matchLogin{m.Login.Time, m.Login.Method, m.Login.Fields}
	}
	return match{m.File, m.Number, m.Doubt, m.Line, login, m}
}

// row is the row of a table.
func (m match) row() string {
	r, login := &m.found.Record, "-"
	if m.found.Login != nil {
		login = proofOf(m.found.Login)
	}
	outcome := string(r.Outcome)
	if r.Reason != "" {
		outcome += " (" + r.Reason + ")"
	}
	cells := []string{
		r.Time.UTC().Format(time.RFC3339), r.Type, cmp.Or(r.User, "-"), cmp.Or(r.Remote, "-"), login,
		cmp.Or(aboutMatch(r), "-"), outcome, cmp.Or(r.Session, "-"),
	}
	if m.Doubt != "" {
		cells = append(cells, "NOT PROVED: "+m.Doubt)
	}
	for i, c := range cells {
		cells[i] = policy.Quote(c)
	}
	return strings.Join(cells, "\t")
}

// proofOf says how a person logged in: the method, and the key, certificate or factors.
func proofOf(login *audit.Record) string {
	f := login.Fields
	proof := cmp.Or(f["factors"], login.Method)
	if f["certificate_serial"] != "" {
		proof += fmt.Sprintf(" certificate %q serial %s", f["certificate"], f["certificate_serial"])
	}
	for _, name := range []string{"fingerprint", "principal"} {
		if f[name] != "" {
			proof += " " + f[name]
		}
	}
	return proof
}

// aboutMatch says what an event is about: the file, or what else its type has.
func aboutMatch(r *audit.Record) string {
	var all []string
	add := func(format, value string) {
		if value != "" {
			all = append(all, fmt.Sprintf(format, value))
		}
	}
	add("%s", r.Path)
	add("-> %s", r.Target)
	for _, n := range []struct {
		format string
		bytes  int64
	}{{"read %s bytes", r.BytesRead}, {"wrote %s bytes", r.BytesWritten}} {
		if n.bytes > 0 {
			add(n.format, strconv.FormatInt(n.bytes, 10))
		}
	}
	if r.Path == "" {
		add("%s", r.Service)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		shown := r.Type == event.LoginAccepted.String() && name != "rules" && name != "directory" // by proofOf
		if !shown && name != "signature" && name != "previous" && name != "rules_hash" {
			add(name+" %s", r.Fields[name])
		}
	}
	add("%s", cmp.Or(r.Detail, r.Error))
	return strings.Join(all, ", ")
}
