package policy

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"berth/directory"
)

// WriteText writes e for people to read.
func (e Explanation) WriteText(w io.Writer) error {
	t := newText(w)
	e.User.write(t)
	t.title("login", 3)
	t.line("  from", e.Remote)
	t.line("  method", e.Method)
	t.line("  at", e.Time.Format(time.RFC3339))
	e.writeRules(t)
	e.writeResult(t)
	if len(e.Warnings) > 0 {
		t.title("warnings", len(e.Warnings))
	}
	for _, warning := range e.Warnings {
		t.line("  " + warning)
	}
	return t.w.Flush()
}

// text is lines of columns. Cells are quoted where they are not plain text.
type text struct{ w *tabwriter.Writer }

func newText(w io.Writer) *text { return &text{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// line writes one line, unless all cells after the first one are empty.
func (t *text) line(cells ...string) {
	if len(cells) > 1 && strings.Join(cells[1:], "") == "" {
		return
	}
	for i, c := range cells {
		if c != "" {
			cells[i] = Quote(c)
		}
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

// title begins a part of n lines, which aligns its own columns.
func (t *text) title(s string, n int) {
	t.w.Flush()
	fmt.Fprintf(t.w, "\n%s\n", s)
	if n == 0 {
		t.line("  none")
	}
	t.w.Flush()
}

func (u ExplainedUser) write(t *text) {
	t.line("user", u.Name)
	t.line("id", u.ID)
	t.line("dn", u.DN)
	t.line("directory", u.Directory)
	t.line("state", u.state())
	if u.UID != 0 {
		t.line("uid", fmt.Sprintf("%d, gid %d", u.UID, u.GID))
		if u.GroupsCut > 0 {
			t.line("  but", fmt.Sprintf("%d groups do not count on a disk, since Linux permits %d", u.GroupsCut, directory.MaxGroups))
		}
	}
	if u.TOTP != nil {
		t.line("one-time codes", map[bool]string{true: "has a secret", false: "has no secret that can be used"}[*u.TOTP])
	}
	t.title("groups", len(u.Groups))
	for _, g := range u.Groups {
		gid := ""
		if g.GID != 0 {
			gid = fmt.Sprintf("gid %d", g.GID)
		}
		t.line("  "+g.Via, g.Name, g.DN, g.SID, gid)
	}
	t.title("keys", len(u.Keys))
	for _, k := range u.Keys {
		t.line("  "+cmp.Or(k.Fingerprint, "-"), k.Type, fmt.Sprintf("%s[%d]", k.Attribute, k.Index), k.remarks())
	}
}

func (u ExplainedUser) state() string {
	s := u.State
	if u.Until != nil {
		s += " until " + u.Until.Format(time.RFC3339)
	}
	if u.Because != "" {
		s += " (" + u.Because + ")"
	}
	if u.Cached {
		s += ", from the cache: no server answers"
	}
	return s
}

func (k ExplainedKey) remarks() string {
	var all []string
	if k.Skipped != "" {
		all = append(all, "not used: "+k.Skipped)
	}
	if k.Comment != "" {
		all = append(all, k.Comment)
	}
	if len(k.From) > 0 {
		all = append(all, "from "+strings.Join(k.From, ", "))
	}
	if k.Expires != nil {
		all = append(all, "expires "+k.Expires.Format(time.RFC3339))
	}
	return strings.Join(all, "; ")
}

func (e Explanation) writeRules(t *text) {
	t.title("rules", len(e.Rules))
	for _, r := range e.Rules {
		t.line("  " + r.Name + ": " + verdict(r))
		for _, c := range r.Conditions {
			t.line("    "+c.Key, map[bool]string{true: "yes", false: "no"}[c.Held], c.Why)
		}
	}
}

func verdict(r ExplainedRule) string {
	switch {
	case r.Matched && r.Deny:
		return "matches, and denies"
	case r.Matched && len(r.Conditions) == 0:
		return "matches everybody"
	case r.Matched:
		return "matches"
	}
	return "does not match"
}

func (e Explanation) writeResult(t *text) {
	t.title("result", 1)
	if !e.Allowed {
		t.line("  denied", e.Detail, "("+string(e.Reason)+")")
		return
	}
	t.line("  allowed", "by the rules")
	if e.User.State != directory.StatusActive.String() {
		t.line("  but", "the account is not active: "+e.User.state())
	}
	if e.ValidUntil != nil {
		t.line("  until", e.ValidUntil.Format(time.RFC3339), "when the hours of a rule change")
	}
	t.title("folders", len(e.Folders))
	for _, f := range e.Folders {
		owner := ""
		if f.Owner != Service {
			owner = "files belong to " + f.Owner.words()
		}
		t.line("  "+f.Path, f.Host, source(f.Rule, f.Shadowed), owner)
	}
	e.writeDisk(t)
	t.title("rights", 1)
	for _, r := range e.Rights {
		why := source(r.Rule, r.Shadowed)
		if r.Rule == "" {
			why = "leads to a folder"
		}
		t.line("  "+r.Path, ops(r.Permissions).String(), r.names(), why)
	}
	t.title("values", 1)
	for _, v := range e.Values {
		from := source(v.Rule, v.Shadowed)
		if v.Note != "" {
			from += ": " + v.Note
		}
		t.line("  "+v.Key, v.Value, from)
	}
}

// writeDisk writes what is known of the disk, if that was asked for.
func (e Explanation) writeDisk(t *text) {
	if !slices.ContainsFunc(e.Folders, func(f ExplainedFolder) bool { return f.Disk != nil }) {
		return
	}
	t.title("disk", 1)
	for _, f := range e.Folders {
		d := f.Disk
		switch {
		case d == nil:
			continue
		case d.Error != "":
			t.line("  "+f.Path, d.Error)
			continue
		}
		may := "the service works here"
		if f.Owner != Service {
			may = f.Owner.words() + " may " + cmp.Or(strings.Join(d.May, ", "), "nothing")
		}
		t.line("  "+f.Path, fmt.Sprintf("%d:%d %s", d.UID, d.GID, d.Mode), may, strings.Join(d.ACL, " "))
		t.line("    but", d.Differs)
	}
}

func ops(names []string) Op {
	ops, _ := ParseOps(names) // they come from Names
	return ops
}

func (r ExplainedAccess) names() string {
	var all []string
	if len(r.Allow) > 0 {
		all = append(all, "only "+strings.Join(r.Allow, " "))
	}
	if len(r.Deny) > 0 {
		all = append(all, "not "+strings.Join(r.Deny, " "))
	}
	if r.Hide {
		all = append(all, "others hidden")
	}
	return strings.Join(all, ", ")
}

// source names the rule that gave something, and the later rules that would
// have given it too.
func source(rule string, shadowed []string) string {
	s := "default"
	if rule != "" {
		s = "rule " + rule
	}
	if len(shadowed) > 0 {
		s += ", before " + strings.Join(shadowed, ", ")
	}
	return s
}

// Quote returns s as it is when it is plain text, else in quotes with escapes:
// a text from a directory or a client must not control the reader's terminal.
func Quote(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}
