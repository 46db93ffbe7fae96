package test

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// updateExamples: docs/events.md has an example of each type, from a run of these
// tests. A run of some tests leaves the examples of other types as they are.
var updateExamples = flag.Bool("examples", false, "write the examples of events in sshd/event/testdata from this run")

const examplesFile = "../sshd/event/testdata/examples.jsonl"

// examples are the richest line of each type that a server has written.
type examples struct {
	mu   sync.Mutex
	line map[string]string
}

// gather reads the events file in dir.
func (x *examples) gather(dir string) {
	if !*updateExamples {
		return
	}
	text, _ := os.ReadFile(filepath.Join(dir, "events.jsonl"))
	for line := range strings.Lines(string(text)) {
		x.add(stable(line, dir))
	}
}

// add keeps line if it is the first of its type, or says more than the one before.
func (x *examples) add(line string) {
	var e struct{ Type string }
	if json.Unmarshal([]byte(line), &e) != nil {
		return // cut off by a kill
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	members := func(line string) int { return strings.Count(line, `":"`) }
	if x.line == nil {
		x.line = map[string]string{}
	}
	if old := x.line[e.Type]; cmp.Or(members(line)-members(old), len(old)-len(line)) > 0 {
		x.line[e.Type] = line
	}
}

// write puts the examples into the file.
func (x *examples) write() error {
	if !*updateExamples {
		return nil
	}
	text, err := os.ReadFile(examplesFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(text)) { // of types that this run did not have
		var e struct{ Type string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return err
		}
		if x.line[e.Type] == "" {
			x.add(stable(line, examplesFile))
		}
	}
	byNumber := slices.SortedFunc(maps.Values(x.line), func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	return os.WriteFile(examplesFile, []byte(strings.Join(byNumber, "")), 0o644)
}

func number(line string) string { return regexp.MustCompile(`"id":\d+`).FindString(line) }

// stable replaces what differs from run to run.
func stable(line, dir string) string {
	line = strings.ReplaceAll(line, dir, "/srv/berth")
	for _, r := range []struct{ pattern, by string }{
		{`"time":"[^"]*"`, `"time":"2026-03-02T09:30:00.125Z"`},
		{`"(session)":"[^"]*"`, `"$1":"5f1c0a7e93b2d846"`},
		{`"remote":"[^"]*"`, `"remote":"192.0.2.10:50022"`},
		{`,"chain":"[^"]*"`, ``},
		{`"(duration_ms|work_ms)":[0-9.]+`, `"$1":12.5`},
		{`"(successor|operator_uid)":"\d+"`, `"$1":"998"`},
		{`"operator":"[^"]*"`, `"operator":"root"`},
		{`"operator_login":"[^"]*"`, `"operator_login":"ada"`},
		{`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`, `2026-03-02T09:45:00Z`},
		{`on 20\d\d-\d\d-\d\d at \d\d:\d\d`, `on 2026-03-04 at 09:30`},
		{`/tmp/[^/" ]+`, `/srv`},
		{`127\.0\.0\.1(:\d+)?`, `192.0.2.1`},
	} {
		line = regexp.MustCompile(r.pattern).ReplaceAllString(line, r.by)
	}
	return line
}
