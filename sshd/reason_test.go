package sshd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/policy"
	"berth/sshd/state"
)

// literals are where codes stand in the sources of this package.
var literals = regexp.MustCompile(`(?:Reason: |reason, (?:why, )?text = |reason := |reason, err = [^,]*, |e\.Reason = [^,]*, |turnDown\([^"]*|return |c\.close\()"([a-z_ ]+)"`)

// reasons are all codes that events of this package may have.
func reasons(t *testing.T) []string {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{
		unavailableReason, string(policy.NoRule), string(policy.DenyRule), string(policy.Placeholder),
		string(state.SourceBlocked), string(state.SourcePenalized), string(state.SourceBusy), string(state.StartupsFull),
		string(state.UserSessions), string(state.TotalSessions), string(state.CodeWrong), string(state.CodeUsed), string(state.CodesShielded),
	}
	for _, a := range answers {
		all = append(all, a.reason)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literals.FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestReasonsAreDocumented holds docs/reasons.md to the code.
func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	row := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|")
	code := regexp.MustCompile("`([^`]+)`")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		for _, c := range code.FindAllStringSubmatch(m[1], -1) {
			listed = append(listed, c[1])
		}
	}
	known := reasons(t)
	for _, r := range known {
		if !slices.Contains(listed, r) {
			t.Errorf("%q is not in docs/reasons.md", r)
		}
	}
	for _, r := range listed {
		if !slices.Contains(known, r) {
			t.Errorf("docs/reasons.md has %q, which no event has", r)
		}
	}
}
