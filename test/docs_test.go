package test

import (
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are all Markdown files, by their paths from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimPrefix(file, "../")] = string(text)
		}
	}
	return all
}

// TestLinksOfDocuments follows every link to another file of the project and to a
// heading. Every document needs a link to it, or to its folder.
func TestLinksOfDocuments(t *testing.T) {
	all := documents(t)
	headings := map[string][]string{}
	heading, notInAnchor := regexp.MustCompile(`(?m)^#+ (.*)$`), regexp.MustCompile(`[^\w -]`)
	for name, text := range all {
		for _, m := range heading.FindAllStringSubmatch(text, -1) {
			anchor := notInAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
			headings[name] = append(headings[name], strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	found := 0
	linked := map[string]bool{"README.md": true}
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			found++
			to := name
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(name), m[1])
				linked[to] = true
			}
			if _, err := os.Stat(filepath.Join("..", to)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
			}
			if m[2] != "" && !slices.Contains(headings[to], m[2]) {
				t.Errorf("%s: %s has no heading #%s", name, to, m[2])
			}
		}
	}
	for name := range all {
		if !linked[name] && !linked[filepath.Dir(name)] {
			t.Errorf("no document has a link to %s", name)
		}
	}
	if found < 10 {
		t.Errorf("%d links found, want more", found)
	}
}

// TestNamesOfDocuments checks that the files, tests and benchmarks that a
// document names exist. The changelog may name what was removed since.
func TestNamesOfDocuments(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, _ iofs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile("`((?:cmd|config|directory|dist|docs|fs|patches|policy|sshd|test)/[\\w/.-]+)`")
	testName := regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w*`)
	for name, text := range documents(t) {
		if name == "CHANGELOG.md" {
			continue
		}
		for _, m := range testName.FindAllString(text, -1) {
			if !tests[m] {
				t.Errorf("%s: there is no %s", name, m)
			}
		}
		for _, m := range file.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil && m[1] != "dist/out/" { // made by `make package`
				t.Errorf("%s: there is no file %s", name, m[1])
			}
		}
	}
}

// TestCommandsOfDocuments sees that every make target exists, and that what a
// reader is to copy has no gap to fill.
func TestCommandsOfDocuments(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z -]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, strings.Fields(m[1])...)
	}
	target := regexp.MustCompile(`\bmake ([a-z][a-z-]*)`)
	found := 0
	for name, text := range documents(t) {
		for line := range strings.Lines(text) {
			command, ok := strings.CutPrefix(line, "    ")
			if !ok {
				continue
			}
			command, _, _ = strings.Cut(command, "  #")
			for _, m := range target.FindAllStringSubmatch(command, -1) {
				if found++; !slices.Contains(targets, m[1]) {
					t.Errorf("%s: make %s: there is no such target", name, m[1])
				}
			}
			if name == "README.md" && strings.Contains(command, "…") {
				t.Errorf("%s: cannot be copied: %s", name, command)
			}
		}
	}
	if found < 4 {
		t.Errorf("%d make targets found, want more", found)
	}
}

// production returns the source of the program without its tests.
func production(t *testing.T) string {
	t.Helper()
	var source strings.Builder
	err := filepath.WalkDir("..", func(path string, _ iofs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return source.String()
}

// TestWordsOfDocuments looks for each word_like_this of a document in the source:
// keys, events, reasons and metrics that a reader may search for.
func TestWordsOfDocuments(t *testing.T) {
	source := production(t)
	word := regexp.MustCompile("`([a-z]+(?:_[a-z0-9]+)+)`")
	found := 0
	for name, text := range documents(t) {
		if slices.Contains([]string{"CHANGELOG.md", "docs/ha.md", "docs/migrate.md", "docs/owner.md", "docs/performance.md"}, name) {
			continue // these name what was removed, and settings of other programs
		}
		for _, m := range word.FindAllStringSubmatch(text, -1) {
			if found++; !strings.Contains(source, strings.TrimPrefix(m[1], "berth_")) { // how names of metrics begin
				t.Errorf("%s: the program knows no %s", name, m[1])
			}
		}
	}
	if found < 500 {
		t.Errorf("%d words found, want more", found)
	}
}

// TestMessagesOfDocuments looks for each message of docs/troubleshooting.md in the
// source. "…" is text that differs.
func TestMessagesOfDocuments(t *testing.T) {
	source := production(t)
	found := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(documents(t)["docs/troubleshooting.md"], -1) {
		for piece := range strings.SplitSeq(m[1], "…") {
			if found++; !strings.Contains(source, strings.TrimSpace(piece)) {
				t.Errorf("no program text has %q of the message %q", piece, m[1])
			}
		}
	}
	if found < 40 {
		t.Errorf("%d messages found, want more", found)
	}
}
