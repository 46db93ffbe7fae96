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

// TestLinksOfDocuments follows every link to another file of the project.
func TestLinksOfDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	found := 0
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			found++
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("%d links found, want more", found)
	}
}

// TestContributing sees that the files and tests that a contributor is sent to
// exist.
func TestContributing(t *testing.T) {
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
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
	quoted := regexp.MustCompile("`([^`\n]+)`")
	file, testName := regexp.MustCompile(`^(cmd|config|directory|dist|docs|fs|policy|privatefile|sshd|test)/[\w/.-]+$`), regexp.MustCompile(`^Test[A-Z]\w*$`)
	for _, name := range []string{"CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "docs/security.md"} {
		for _, m := range quoted.FindAllStringSubmatch(documents(t)[name], -1) {
			switch _, err := os.Stat(filepath.Join("..", m[1])); {
			case testName.MatchString(m[1]) && !tests[m[1]]:
				t.Errorf("%s: there is no %s", name, m[1])
			case file.MatchString(m[1]) && err != nil:
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

// TestMessagesOfDocuments looks for each message of docs/troubleshooting.md in the
// source. "…" is text that differs.
func TestMessagesOfDocuments(t *testing.T) {
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
	found := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(documents(t)["docs/troubleshooting.md"], -1) {
		for piece := range strings.SplitSeq(m[1], "…") {
			if found++; !strings.Contains(source.String(), strings.TrimSpace(piece)) {
				t.Errorf("no program text has %q of the message %q", piece, m[1])
			}
		}
	}
	if found < 40 {
		t.Errorf("%d messages found, want more", found)
	}
}
