package policy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Summary is the result of a login in one line. Its JSON is what berth
// explain --all --json prints; keys never change meaning.
type Summary struct {
	User      string          `json:"user"`
	Directory string          `json:"directory,omitempty"`
	State     string          `json:"state"`
	Denied    string          `json:"denied,omitempty"` // why, if the rules refuse the login
	Rules     []string        `json:"rules"`            // that matched
	Folders   []SummaryFolder `json:"folders"`
	Services  []string        `json:"services"`
}

// SummaryFolder is a folder of the view and what may be done there.
type SummaryFolder struct {
	Path        string   `json:"path"`
	Host        string   `json:"host"`
	Permissions []string `json:"permissions"`
}

// Summary makes the decision of Resolve and returns the outcome.
func (s *Set) Summary(req Request) Summary {
	out := Summary{
		User: req.User.Name, Directory: req.User.Source, State: req.User.State.Status.String(),
		Rules: []string{}, Folders: []SummaryFolder{}, Services: []string{},
	}
	p, err := s.Resolve(req)
	if err != nil {
		out.Denied = denial(err)
		return out
	}
	out.Rules, out.Services = p.Rules, p.Services
	for _, f := range p.Folders {
		out.Folders = append(out.Folders, SummaryFolder{f.Path, f.Host, p.Rights(f.Path).Ops.Names()})
	}
	return out
}

// denial is the error of Resolve in words.
func denial(err error) string {
	if d, denied := errors.AsType[*Denied](err); denied {
		return d.Detail
	}
	return err.Error()
}

// A SummaryTable writes summaries, a user a line, for people to read.
type SummaryTable struct{ t *text }

// NewSummaryTable begins a table. Its columns are aligned when it is flushed.
func NewSummaryTable(w io.Writer) *SummaryTable {
	t := newText(w)
	t.line("user", "state", "rules", "folders")
	return &SummaryTable{t}
}

// Add adds a line.
func (s *SummaryTable) Add(u Summary) {
	if u.Denied != "" {
		s.t.line(u.User, u.State, "-", "denied: "+u.Denied)
		return
	}
	var folders []string
	for _, f := range u.Folders {
		folders = append(folders, fmt.Sprintf("%s (%s)", f.Path, ops(f.Permissions)))
	}
	s.t.line(u.User, u.State, cmp.Or(strings.Join(u.Rules, ", "), "-"), cmp.Or(strings.Join(folders, ", "), "-"))
}

// Flush writes what was added.
func (s *SummaryTable) Flush() error { return s.t.w.Flush() }
