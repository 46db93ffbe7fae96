package event

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

const reasonsPage = "../../docs/reasons.md"

// TestReasonsPage makes docs/reasons.md of reason.go.
func TestReasonsPage(t *testing.T) {
	want := renderReasons(t)
	if *update {
		if err := os.WriteFile(reasonsPage, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reasonsPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/reasons.md is stale: run make docs")
	}
}

func renderReasons(t *testing.T) []byte {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("# Reasons\n\n<!-- Made by \"make docs\" from sshd/event/reason.go. -->\n\n" +
		"The field `reason` of an event is one of these codes. They never change their meaning.\n")
	seen := map[string]bool{}
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.VAR {
			continue
		}
		heading := strings.TrimSpace(block.Doc.Text())
		if heading == "" {
			t.Error("a block of reasons has no heading")
		}
		fmt.Fprintf(&b, "\n## %s\n\n| reason | meaning |\n|---|---|\n", heading)
		for _, s := range block.Specs {
			v := s.(*ast.ValueSpec)
			lit := v.Values[0].(*ast.CompositeLit).Elts[0].(*ast.BasicLit)
			code, err := strconv.Unquote(lit.Value)
			meaning := strings.TrimSpace(v.Comment.Text())
			if err != nil || meaning == "" || seen[code] || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
				t.Errorf("%s: %q (%v): want a code of its own in small letters, and a comment with its meaning", v.Names[0].Name, code, err)
			}
			seen[code] = true
			fmt.Fprintf(&b, "| `%s` | %s |\n", code, meaning)
		}
	}
	return b.Bytes()
}

func TestCauses(t *testing.T) {
	seen := map[Reason]bool{}
	for _, c := range causes {
		if got := ReasonOf(fmt.Errorf("write /a: %w", c.err)); got != c.reason {
			t.Errorf("%v: got %v, want %v", c.err, got, c.reason)
		}
		seen[c.reason] = true
	}
	for _, r := range []Reason{DiskFull, QuotaExceeded, ReadOnly, PermissionDenied, NoSuchFile, FileExists, NotEmpty, NotSupported} {
		if !seen[r] {
			t.Errorf("%v has no error", r)
		}
	}
	if got := ReasonOf(errors.New("x")); got != (Reason{}) {
		t.Errorf("got %v of an unknown error", got)
	}
}
