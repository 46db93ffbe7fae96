package console

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"unicode"

	"golang.org/x/net/html"
)

// A use is a call of say or sayHTML.
type use struct {
	place, key string
	values     int
}

// TestTextsAreUsed: each key that templates and code use is in the table, with as many
// values as its text has, and each key of the table is used. Code and templates have
// no text for people outside of the table.
func TestTextsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, u := range append(usesOfTemplates(t), usesOfCode(t)...) {
		used[u.key] = true
		text, known := texts[u.key]
		if !known {
			t.Errorf("%s: no text has the key %q", u.place, u.key)
			continue
		}
		values := slices.Repeat([]any{"x"}, u.values)
		if shown := fmt.Sprintf(text, values...); strings.Contains(shown, "%!") {
			t.Errorf("%s: %s with %d values is %q", u.place, u.key, u.values, shown)
		}
	}
	for key, text := range texts {
		if !used[key] {
			t.Errorf("%s: nobody uses this text", key)
		}
		if text == "" || strings.Contains(text, "{{") {
			t.Errorf("%s: %q is empty, or a template", key, text)
		}
	}
}

// usesOfTemplates are those of the pages.
func usesOfTemplates(t *testing.T) (all []use) {
	t.Helper()
	for name, source := range sources(t) {
		trees := map[string]*parse.Tree{}
		tree := parse.New(name)
		tree.Mode = parse.SkipFuncCheck
		if _, err := tree.Parse(source, "", "", trees); err != nil {
			t.Fatal(err)
		}
		trees[name] = tree
		for _, tree := range trees {
			eachCommand(tree.Root, func(c *parse.CommandNode) {
				f, ok := c.Args[0].(*parse.IdentifierNode)
				if !ok || f.Ident != "say" && f.Ident != "sayHTML" {
					return
				}
				key := ""
				if len(c.Args) > 1 {
					if s, ok := c.Args[1].(*parse.StringNode); ok {
						key = s.Text
					}
				}
				all = append(all, use{name + ": " + c.String(), key, len(c.Args) - 2})
			})
		}
	}
	return all
}

// sources are the templates, by the names of their files.
func sources(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(files, "page/*.html")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		source, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(source)
	}
	return all
}

// eachCommand calls visit for all commands beneath n, those in parentheses included.
func eachCommand(n parse.Node, visit func(*parse.CommandNode)) {
	branch := func(b *parse.BranchNode) {
		eachCommand(b.Pipe, visit)
		eachCommand(b.List, visit)
		if b.ElseList != nil {
			eachCommand(b.ElseList, visit)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			eachCommand(child, visit)
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.ActionNode:
		eachCommand(n.Pipe, visit)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			eachCommand(n.Pipe, visit)
		}
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			visit(c)
			for _, argument := range c.Args {
				eachCommand(argument, visit)
			}
		}
	}
}

// usesOfCode are those of the Go files.
func usesOfCode(t *testing.T) (all []use) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			place := set.Position(call.Pos()).String()
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "say" {
				key, _ := literal(call.Args[0])
				all = append(all, use{place, key, len(call.Args) - 1})
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || !shows(f, name) {
				return true
			}
			for _, argument := range call.Args {
				if text, ok := literal(argument); ok {
					t.Errorf("%s: %q is not in the table", place, text)
				}
			}
			return true
		})
	}
	return all
}

// shows reports whether a person reads what is given to f. The errors of console.go are about
// settings: berth check shows them.
func shows(f *ast.SelectorExpr, file string) bool {
	pkg, _ := f.X.(*ast.Ident)
	switch f.Sel.Name {
	case "fail", "view", "Problem":
		return true
	case "New":
		return pkg != nil && pkg.Name == "errors"
	case "Errorf":
		return file != "console.go"
	}
	return false
}

// literal returns what a string in the source says.
func literal(e ast.Expr) (text string, ok bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// TestPagesHaveNoTexts: a template has no words of its own, but for the name of the product.
func TestPagesHaveNoTexts(t *testing.T) {
	for name, source := range sources(t) {
		for _, text := range wordsOf(t, source) {
			t.Errorf("%s: %q is not in the table", name, text)
		}
	}
	for source, want := range map[string]int{
		`<p>{{say "now.title"}} – {{.A}}, (1) → Berth</p>`:                         0,
		`<p class="a">{{if .A}}yes{{end}}</p>`:                                     1,
		`<a href="/" aria-label="x{{.A}}">{{.A}} <b>more</b></a>`:                  2,
		`<input placeholder="{{say "a"}}" title="b" name="c" value="{{.D}}">`:      1,
		`<option{{if eq .A "b"}} selected{{end}}>c</option>`:                       1,
		`{{define "a"}}<td data-name="{{say "column.from"}}">{{.Why}}</td>{{end}}`: 0,
	} {
		if got := wordsOf(t, source); len(got) != want {
			t.Errorf("%s: %q", source, got)
		}
	}
}

var (
	action = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	// shown are the attributes that a browser shows or reads out.
	shown = []string{"alt", "aria-description", "aria-label", "data-name", "data-text", "label", "placeholder", "title"}
)

// wordsOf returns what a template says to people by itself.
func wordsOf(t *testing.T, source string) (all []string) {
	t.Helper()
	add := func(text string) {
		if strings.ContainsFunc(strings.ReplaceAll(text, "Berth", ""), unicode.IsLetter) {
			all = append(all, text)
		}
	}
	tokens := html.NewTokenizer(strings.NewReader(action.ReplaceAllString(source, "")))
	for {
		kind := tokens.Next()
		switch tok := tokens.Token(); {
		case kind == html.ErrorToken:
			if tokens.Err() != io.EOF {
				t.Fatal(tokens.Err())
			}
			return all
		case kind == html.TextToken:
			add(tok.Data)
		default:
			for _, a := range tok.Attr {
				if slices.Contains(shown, a.Key) || a.Key == "value" && tok.Data != "input" {
					add(a.Val)
				}
			}
		}
	}
}

// TestSayHTML: only what a text has in backquotes, and values that are HTML, are elements.
func TestSayHTML(t *testing.T) {
	for got, want := range map[template.HTML]string{
		sayHTML("result.asked", "<b>`x`", template.HTML("<time>1</time>")): "Asked by &lt;b&gt;`x` at <time>1</time> (UTC).",
		sayHTML("rules.section"): "The section <code>rules</code> as it may become; other sections are ignored",
	} {
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
