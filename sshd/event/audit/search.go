package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/sshd/event"
)

// A Record is an event as a line of an events file has it.
type Record struct {
	Time         time.Time         `json:"time"`
	Type         string            `json:"type"`
	Session      string            `json:"session"`
	User         string            `json:"user"`
	UserID       string            `json:"user_id"`
	Directory    string            `json:"user_directory"`
	Remote       string            `json:"remote"` // address and port
	Method       string            `json:"method"`
	Service      string            `json:"service"`
	Path         string            `json:"path"`
	HostPath     string            `json:"host_path"`
	Target       string            `json:"target"`
	HostTarget   string            `json:"host_target"`
	Mode         string            `json:"mode"`
	BytesRead    int64             `json:"bytes_read"`
	BytesWritten int64             `json:"bytes_written"`
	Outcome      event.Outcome     `json:"outcome"`
	Reason       string            `json:"reason"`
	Error        string            `json:"error"`
	Detail       string            `json:"detail"`
	Fields       map[string]string `json:"fields"`
	Node         string            `json:"node"`
}

// A Query says which events are searched for. An empty field matches every event. In
// patterns an asterisk stands for any text; case matters only in paths.
type Query struct {
	User         string    // pattern of the name or the stable id
	Path         string    // pattern of a file or folder, in the user's view or on the server, and all below it
	Types        []string  // names, or patterns such as login_*
	Since, Until time.Time // Until is not included
	Remote       netip.Prefix
	Reason       string // pattern
	Outcome      event.Outcome
	Session      string
	Fields       map[string]string // patterns of members of "fields", of the event or of the login of its session
}

// A Match is an event that a search has found.
type Match struct {
	Record
	Login  *Record // the login of its session, nil if there is none before it
	Line   []byte  // JSON, as it is in the file
	File   string
	Number int    // of the line in File
	Doubt  string // why Line is not proved: where the chain is broken near it; empty if it is intact
}

// A Search finds events in events files. Make it with NewSearch. It is not safe for
// concurrent use.
type Search struct {
	query        Query
	user, path   *regexp.Regexp
	reason       *regexp.Regexp
	types        map[string]bool // nil: all
	fields       map[string]*regexp.Regexp
	since, until string // as times are written; empty: none
	logins       map[string]*Record
	files        map[string]bool // that were searched
}

// NewSearch returns a search for q. An error says which part of q can match nothing.
func NewSearch(q Query) (*Search, error) {
	types, err := matching(q.Types)
	if err != nil {
		return nil, err
	}
	switch q.Outcome {
	case "", event.Success, event.Failure, event.Refused:
	default:
		return nil, fmt.Errorf("outcome %q: must be %s, %s or %s", q.Outcome, event.Success, event.Failure, event.Refused)
	}
	s := &Search{
		query: q, types: types,
		user: pattern("(?is)", q.User, ""), path: pattern("(?s)", cutSlash(q.Path), "(/.*)?"), reason: pattern("(?is)", q.Reason, ""),
		fields: map[string]*regexp.Regexp{}, logins: map[string]*Record{}, files: map[string]bool{},
	}
	for name, value := range q.Fields {
		s.fields[name] = pattern("(?is)", value, "")
	}
	if !q.Since.IsZero() {
		s.since = q.Since.UTC().Format(event.TimeLayout)
	}
	if !q.Until.IsZero() {
		s.until = q.Until.UTC().Format(event.TimeLayout)
	}
	return s, nil
}

// cutSlash returns a path without the slashes at its end, so that "/" means all paths.
func cutSlash(path string) string {
	if trimmed := strings.TrimRight(path, "/"); trimmed != "" || path == "" {
		return trimmed
	}
	return "*"
}

// pattern compiles a text in which an asterisk stands for any text; nil: everything.
func pattern(flags, text, rest string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	quoted := strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, ".*")
	return regexp.MustCompile(flags + "^" + quoted + rest + "$")
}

// File searches the events file at path and the full files beside it, the oldest first,
// and checks their chain with v, whose fields say afterwards what was found. Files that
// this search has read already are left out. File calls found for each match in the order
// of the lines, as soon as it is known whether the chain is intact there.
func (s *Search) File(v *Verifier, path string, found func(Match)) error {
	path = filepath.Clean(path) // as the names of full files are
	if s.files[path] {
		return nil
	}
	var waiting []Match // since the last signature
	doubt, broken, read := "", v.Broken, 0
	flush := func() {
		for _, m := range waiting {
			m.Doubt = doubt
			found(m)
		}
		waiting, doubt, read = nil, "", 0
	}
	v.Broken = func(file string, line int, what string) {
		if doubt == "" {
			doubt = fmt.Sprintf("%s:%d: %s", file, line, what)
		}
		if broken != nil {
			broken(file, line, what)
		}
	}
	s.files[path] = true
	v.skip = func(file string) bool {
		seen := s.files[file]
		s.files[file] = true
		return seen
	}
	v.each = func(at place, line []byte) {
		if m, ok := s.line(line); ok {
			m.File, m.Number = at.file, at.line
			waiting = append(waiting, m)
		}
		// If no signature comes in time, nothing more will be known about older
		// lines.
		if read++; read >= 10*signEvery || v.Unsigned == 0 && member(line, "type") == event.EventsCheckpoint.String() {
			flush()
		}
	}
	err := v.Verify(path)
	flush()
	return err
}

// plain matches a text that JSON does not escape.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./@ -]+$`)

// line returns the event of a line, if the query matches it.
func (s *Search) line(line []byte) (m Match, ok bool) {
	name := member(line, "type")
	isLogin, isEnd := name == event.LoginAccepted.String(), name == event.ConnectionClosed.String()
	wanted := s.wanted(name, member(line, "time"))
	if !wanted && !isLogin && !isEnd || json.Unmarshal(line, &m.Record) != nil {
		return m, false
	}
	if isLogin {
		s.logins[m.Session] = &m.Record
	}
	m.Login = s.logins[m.Session]
	if isEnd {
		delete(s.logins, m.Session)
	}
	m.Line = bytes.Clone(line)
	return m, wanted && s.matches(&m)
}

func (s *Search) wanted(name, at string) bool {
	return (s.types == nil || s.types[name]) && (s.since == "" || at >= s.since) && (s.until == "" || at < s.until)
}

func (s *Search) matches(m *Match) bool {
	any := func(want *regexp.Regexp, texts ...string) bool {
		return want == nil || slices.ContainsFunc(texts, func(text string) bool { return text != "" && want.MatchString(text) })
	}
	q := &s.query
	if !any(s.user, m.User, m.UserID) || !any(s.reason, m.Reason) || !any(s.path, m.Path, m.HostPath, m.Target, m.HostTarget) ||
		q.Session != "" && m.Session != q.Session || q.Outcome != "" && m.Outcome != q.Outcome {
		return false
	}
	if q.Remote.IsValid() {
		from, err := netip.ParseAddrPort(m.Remote)
		if err != nil || !q.Remote.Contains(from.Addr().Unmap().WithZone("")) {
			return false
		}
	}
	for name, want := range s.fields {
		login := ""
		if m.Login != nil {
			login = m.Login.Fields[name]
		}
		if !any(want, m.Fields[name], login) {
			return false
		}
	}
	return true
}
