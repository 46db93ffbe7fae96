package review

import (
	"cmp"
	_ "embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

// Formats are how a Report can be written.
var Formats = []string{"table", "csv", "json", "html"}

// Write writes r in one of Formats.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.writeTable(w)
	case "csv":
		return r.writeCSV(w)
	case "json":
		e := event.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(r)
	case "html":
		return page.Execute(w, r)
	}
	return fmt.Errorf("format %q: must be one of %s", format, strings.Join(Formats, ", "))
}

// ByOwner puts the rows of each owner together. A row of several owners is in the rows of
// each. Rows without an owner come first.
func (r *Report) ByOwner() {
	var all []Row
	for _, row := range r.Rows {
		if len(row.Owners) == 0 {
			all = append(all, row)
		}
		for i := range row.Owners {
			of := row
			of.Owners = row.Owners[i : i+1]
			all = append(all, of)
		}
	}
	slices.SortStableFunc(all, func(a, b Row) int { return strings.Compare(a.Owner(), b.Owner()) })
	r.Rows = all
}

// Of keeps only the rows of one owner, and says so in the report.
func (r *Report) Of(owner string) {
	r.OfOwner = owner
	r.ByOwner()
	dn := directory.DNOf(owner).Key()
	r.Rows = slices.DeleteFunc(r.Rows, func(row Row) bool { return directory.DNOf(row.Owner()).Key() != dn })
}

// Owner is the owners in one text.
func (a Row) Owner() string { return strings.Join(a.Owners, "; ") }

// Rights is the permissions in words.
func (a Row) Rights() string {
	rights := strings.Join(a.Permissions, " ")
	if ops, err := policy.ParseOps(a.Permissions); err == nil && ops == policy.Full {
		rights = ops.String()
	}
	if a.Names != "" {
		rights += "; names: " + a.Names
	}
	switch d := a.Disk; {
	case d == nil:
	case d.Error != "":
		rights += "; the disk could not be asked: " + d.Error
	case d.Differs != "":
		rights += "; but " + d.Differs
	}
	return rights
}

// Why says by which rule, and through which groups.
func (a Row) Why() string {
	why := "rule " + a.Rule
	if a.When != "" {
		why += ", only " + a.When
	}
	if a.FolderRule != "" {
		why += "; folder of rule " + a.FolderRule
		if a.FolderWhen != "" {
			why += ", only " + a.FolderWhen
		}
	}
	switch a.Because {
	case "group":
		why += ": in " + chains(a.Chains)
	case "user":
		why += ": named there"
	default:
		why += ": for everybody"
	}
	return why
}

// Through is the chains in one text.
func (c Conflict) Through() string { return chains(c.Chains) }

// Together is the groups in one text.
func (c Conflict) Together() string { return strings.Join(c.Groups, " and ") }

// chains has ">" between a group and the one that contains it.
func chains(all [][]string) string {
	texts := make([]string, len(all))
	for i, chain := range all {
		texts[i] = strings.Join(chain, " > ")
	}
	return strings.Join(texts, "; and in ")
}

// Login is the day of the last login, "" if none is known.
func (a Row) Login() string {
	if a.LastLogin == nil {
		return ""
	}
	return a.LastLogin.UTC().Format(time.DateOnly)
}

// Uses is the last use of each right.
func (a Row) Uses() string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(a.LastUse)) {
		all = append(all, kind+" "+a.LastUse[kind].UTC().Format(time.DateOnly))
	}
	return strings.Join(all, ", ")
}

// Title says what the report is about.
func (r *Report) Title() string {
	return "Who can reach " + cmp.Or(r.Path, "which folder")
}

// Facts are what must be known to read the rows.
func (r *Report) Facts() []string {
	facts := []string{
		"made at " + r.Made.Format(time.RFC3339),
		fmt.Sprintf("people looked at: %d", r.People),
		"hash of the rules: " + r.RulesHash,
	}
	if r.OfOwner != "" {
		facts = append(facts, "only rights through groups of the owner "+r.OfOwner)
	}
	if r.UseSince != nil {
		facts = append(facts, "last logins and uses: from the events since "+r.UseSince.UTC().Format(time.RFC3339))
	} else {
		facts = append(facts, "last logins and uses: not known, no events were read")
	}
	if r.Compared != nil {
		facts = append(facts, "compared with the review of "+r.Compared.Format(time.RFC3339))
	}
	return facts
}

// Warnings are what is wrong with the report itself.
func (r *Report) Warnings() []string {
	var all []string
	if !r.Complete {
		all = append(all, "NOT COMPLETE: people or rights are missing")
	}
	return append(all, r.Problems...)
}

// head has the names of the columns. With ByOwner the first one is the owner, who
// has to answer.
var head = []string{"owner", "path", "user", "directory", "state", "rights", "why", "last login", "last use", "change", "host"}

func (a Row) cells() []string {
	return []string{a.Owner(), a.Path, a.User, a.Directory, a.State, a.Rights(), a.Why(), a.Login(), a.Uses(), a.Change, a.Host}
}

func (r *Report) writeTable(w io.Writer) error {
	for _, line := range slices.Concat([]string{r.Title()}, r.Facts(), r.Warnings()) {
		fmt.Fprintln(w, policy.Quote(line))
	}
	for _, c := range r.Conflicts {
		fmt.Fprintf(w, "FORBIDDEN TOGETHER: %s (%s) is in %s: %s\n", policy.Quote(c.User), c.State, policy.Quote(c.Together()), policy.Quote(c.Through()))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(head, "\t")))
	for _, row := range r.Rows {
		cells := row.cells()
		for i := range cells {
			cells[i] = policy.Quote(cmp.Or(cells[i], "-"))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// writeCSV writes RFC 4180. What is wrong with the report comes after the rows, so that
// the first line is always the names of the columns.
func (r *Report) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	rows := [][]string{head}
	for _, row := range r.Rows {
		rows = append(rows, row.cells())
	}
	for _, conflict := range r.Conflicts {
		rows = append(rows, []string{"", "", conflict.User, conflict.Directory, conflict.State, "FORBIDDEN TOGETHER", conflict.Together() + ": " + conflict.Through()})
	}
	for _, warning := range r.Warnings() {
		rows = append(rows, []string{"", "", "", "", "", "WARNING", warning})
	}
	for _, cells := range rows {
		line := make([]string, len(head))
		copy(line, cells)
		for i := range line {
			line[i] = noFormula(line[i])
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// noFormula prevents that a spreadsheet takes a text for a formula: people choose the
// names of their files, and directories have names of people. In countries where lists
// have semicolons, a cell also begins after a semicolon, a tab or the end of a line. A
// comma then does not end a cell, and quotes after a comma are text.
func noFormula(cell string) string {
	var b strings.Builder
	begins := true
	for len(cell) > 0 {
		_, size := utf8.DecodeRuneInString(cell)
		c := cell[:size]
		cell = cell[size:]
		if begins && strings.Contains("=+-@\t\r\n＝＋－＠", c) { // Japanese ones have the wide characters
			b.WriteByte('\'')
		}
		b.WriteString(c)
		begins = strings.Contains(";\t\r\n", c) || begins && c == `"` // which may end at once
	}
	return b.String()
}

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Funcs(template.FuncMap{"named": named}).Parse(pageText))

// named is a text as a page shows it: in quotes with escapes if it has characters that cannot
// be seen, or that turn the direction of the text after them.
func named(s string) string {
	if s == "" {
		return ""
	}
	return policy.Quote(s)
}
