package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var manDir = flag.String("man", "", "write the man pages into this `folder`")

// TestManPages makes every man page and has a linter read it. `make man` keeps
// the pages: they are never older than the commands and the reference.
func TestManPages(t *testing.T) {
	keep := *manDir != ""
	if !keep {
		*manDir = t.TempDir()
	}
	pages := manPages(t)
	for name, text := range pages {
		text = between.ReplaceAllString(between.ReplaceAllString(text, "$1$2"), "$1$2")
		if !strings.Contains(text, "\n.SH EXAMPLES\n") {
			t.Errorf("%s has no examples", name)
		}
		if err := os.WriteFile(filepath.Join(*manDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if keep {
			continue // a package can be built where man is not installed
		}
		man := exec.Command("man", "--warnings", "-l", filepath.Join(*manDir, name))
		man.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8", "MANROFFSEQ=")
		var complaints strings.Builder
		man.Stderr = &complaints
		if out, err := man.Output(); err != nil || complaints.Len() > 0 || len(out) < 200 {
			t.Errorf("man %s: %v, %d bytes: %s", name, err, len(out), complaints.String())
		}
	}
	for _, want := range []string{"berth.1", "berth-serve.1", "berth-penalties-lift.1", "berth.yaml.5", "berth-events.5"} {
		if pages[want] == "" {
			t.Errorf("there is no page %s", want)
		}
	}
	for page, text := range map[string]string{"berth.yaml.5": "bind_password_file", "berth-events.5": "login_accepted", "berth-check.1": "\\-\\-password\\-file"} {
		if !strings.Contains(pages[page], text) {
			t.Errorf("%s does not explain %s", page, text)
		}
	}
}

// TestExamples: every command has examples, and they have its flags and as many
// arguments as it takes.
func TestExamples(t *testing.T) {
	walk(root(), func(cmd *cobra.Command) {
		if cmd.Example == "" {
			t.Errorf("%s has no example in examples.txt", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			if called, err := parse(line); called != nil && (err != nil || !strings.HasPrefix(called.CommandPath(), cmd.CommandPath())) {
				t.Errorf("%s: the example %q calls %s: %v", cmd.CommandPath(), line, called.CommandPath(), err)
			}
		}
	})
}

// parse finds the command that a line of a shell calls, and parses its flags and
// arguments. It is nil if the line calls no command of berth.
func parse(line string) (called *cobra.Command, err error) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "sudo -u berth ")
	for _, end := range []string{" #", " |", " >"} {
		line, _, _ = strings.Cut(line, end)
	}
	words := strings.Fields(line)
	for len(words) > 0 && strings.HasPrefix(words[0], "BERTH_") {
		words = words[1:]
	}
	if len(words) == 0 || strings.TrimPrefix(words[0], "./") != "berth" {
		return nil, nil
	}
	called, err = parseFlags(words[1:])
	if err == nil {
		err = called.ValidateArgs(called.Flags().Args())
	}
	return called, err
}

// parseFlags finds the command that the words call, and parses its flags.
func parseFlags(words []string) (*cobra.Command, error) {
	called, args, err := root().Find(words)
	if err == nil {
		err = called.ParseFlags(args)
	}
	return called, err
}

// TestCommandsOfDocuments: every call of berth that a document has in a block
// parses. In a sentence the command and its flags must exist. The arguments and
// the value of the last flag may be left out.
func TestCommandsOfDocuments(t *testing.T) {
	found := 0
	inSentence := regexp.MustCompile("`berth ([a-z][^`]*)`")
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range inSentence.FindAllStringSubmatch(string(text), -1) {
				found++
				noValue := (*pflag.ValueRequiredError)(nil)
				if _, err := parseFlags(strings.Fields(m[1])); err != nil && !errors.As(err, &noValue) {
					t.Errorf("%s: `berth %s`: %v", filepath.Base(file), m[1], err)
				}
			}
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(line, "    ") {
					continue
				}
				called, err := parse(line)
				if called != nil {
					found++
				}
				if err != nil {
					t.Errorf("%s: %q: %v", filepath.Base(file), line, err)
				}
			}
		}
	}
	if found < 200 {
		t.Errorf("%d calls found, want more", found)
	}
}

// walk calls f for cmd and every command below it that a user may call.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" {
			walk(c, f)
		}
	}
}

// manPages returns the text of each page by the name of its file.
func manPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	top := root()
	walk(top, func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		pages[name+".1"] = commandPage(name, cmd)
	})
	for _, p := range []struct{ name, short, file, examples string }{
		{"berth.yaml", "configuration of berth", "../../docs/configuration.md", configurationExample},
		{"berth-events", "what berth writes about everything that happens", "../../docs/events.md", eventsExample},
	} {
		text, err := os.ReadFile(p.file)
		if err != nil {
			t.Fatal(err)
		}
		pages[p.name+".5"] = header(p.name, 5, p.short) + ".SH DESCRIPTION\n" + fromMarkdown(string(text)) +
			".SH EXAMPLES\n" + literal(p.examples) + seeAlso("berth(1)", "berth-check(1)", "berth-events(5)", "berth.yaml(5)")
	}
	return pages
}

const configurationExample = `directories:
  - name: corp
    kind: active_directory
    urls: [ldaps://dc1.corp.example]
    base: OU=People,DC=corp,DC=example
    bind_dn: svc-berth@corp.example
    bind_password_file: /etc/berth/corp-password
rules:
  - name: staff
    when: {groups: [Staff]}
    home: {host: "/srv/berth/home/%u", create: true}`

const eventsExample = `grep '"user":"alice"' /var/log/berth/events.jsonl | tail
grep '"type":"login_rejected"' /var/log/berth/events.jsonl`

func header(name string, section int, short string) string {
	date := time.Now()
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0)
	}
	return fmt.Sprintf(".TH %s %d %s \"berth %s\" Berth\n.ad l\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(roff(name)), section, date.UTC().Format("2006-01-02"), release, roff(name), roff(short))
}

func commandPage(name string, cmd *cobra.Command) string {
	short := strings.ToLower(cmd.Short[:1]) + cmd.Short[1:]
	if strings.HasPrefix(cmd.Short, "SFTP") || strings.HasPrefix(cmd.Short, "SSH") {
		short = cmd.Short
	}
	b := &strings.Builder{}
	b.WriteString(header(name, 1, short))
	use := cmd.UseLine()
	if cmd.HasAvailableSubCommands() && cmd.RunE == nil {
		use = cmd.CommandPath() + " COMMAND [flags]"
	}
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n.SH DESCRIPTION\n", roff(use))
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	for paragraph := range strings.SplitSeq(long, "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			b.WriteString(literal(paragraph))
		} else {
			b.WriteString(".PP\n" + roff(paragraph) + "\n")
		}
	}
	others := []string{"berth.yaml(5)"}
	if cmd.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(b, ".TP\n.B %s\n%s.\n", roff(c.Name()), roff(c.Short))
				if c.Name() != "completion" {
					others = append(others, strings.ReplaceAll(c.CommandPath(), " ", "-")+"(1)")
				}
			}
		}
	}
	if cmd.HasParent() {
		others = append(others, strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-")+"(1)")
	} else {
		others = append(others, "berth-events(5)", "systemd.unit(5)")
	}
	b.WriteString(".SH OPTIONS\n")
	cmd.InitDefaultHelpFlag()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n\\fB\\-\\-%s\\fR", roff(f.Name))
		if f.Shorthand != "" {
			fmt.Fprintf(b, ", \\fB\\-%s\\fR", f.Shorthand)
		}
		if value != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(b, "\n%s", roff(usage))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			fmt.Fprintf(b, " (default %s)", roff(f.DefValue))
		}
		b.WriteString("\n")
	})
	b.WriteString(".SH EXAMPLES\n" + literal(cmd.Example))
	b.WriteString(".SH EXIT STATUS\n0 if it worked, 1 if not; what is wrong is on standard error.\n")
	return b.String() + seeAlso(others...)
}

func seeAlso(pages ...string) string {
	slices.Sort(pages)
	for i, p := range pages {
		name, section, _ := strings.Cut(p, "(")
		pages[i] = ".BR " + roff(name) + " (" + section
	}
	return ".SH SEE ALSO\n" + strings.Join(pages, " ,\n") + "\n"
}

// literal is text whose lines stay as they are.
func literal(text string) string {
	return ".PP\n.nf\n" + roff(text) + "\n.fi\n"
}

var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "→", `\(->`, "≥", `\(>=`, "≤", `\(<=`, "×", `\(mu`)

// roff escapes text. No line of the result is a request of roff, or empty.
func roff(text string) string {
	lines := strings.Split(escapes.Replace(strings.TrimSuffix(text, "\n")), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// between finds paragraph macros that do nothing: beside a heading or a list.
var between = regexp.MustCompile(`(?m)(^\.S[HS] .*\n)(?:\.PP\n)+|(?:^\.PP\n)+(\.(?:SH|SS|IP|TP|PP).*\n)`)

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->\n`)
	link    = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	quoted  = regexp.MustCompile("`([^`]*)`|\\*\\*([^*]*)\\*\\*")
)

// inline escapes a text of Markdown and makes `quoted` and **strong** bold.
func inline(text string) string {
	text = roff(link.ReplaceAllString(strings.ReplaceAll(text, `\|`, "|"), "$1"))
	return quoted.ReplaceAllString(text, `\fB$1$2\fR`)
}

// fromMarkdown turns what the reference and the list of events are made of into
// roff: headings, paragraphs, lists, tables, and blocks of code.
func fromMarkdown(text string) string {
	b := &strings.Builder{}
	var columns []string
	code := false
	for line := range strings.SplitSeq(comment.ReplaceAllString(text, ""), "\n") {
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "| "), `\|`, "\x00"), "|")
		for i := range cells {
			cells[i] = inline(strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", "|"))
		}
		heading := strings.TrimLeft(line, "#")
		switch level := len(line) - len(heading); {
		case strings.HasPrefix(line, "```"):
			if code = !code; code {
				b.WriteString(".PP\n.nf\n")
			} else {
				b.WriteString(".fi\n")
			}
		case code:
			b.WriteString(roff(line) + "\n")
		case level == 1:
		case level == 2:
			b.WriteString(".SH " + strings.ToUpper(strings.ReplaceAll(roff(strings.TrimSpace(heading)), "`", "")) + "\n")
		case level > 2:
			b.WriteString(".SS " + inline(strings.TrimSpace(heading)) + "\n")
		case strings.HasPrefix(line, "|--"):
		case strings.HasPrefix(line, "|") && columns == nil:
			columns = cells
		case strings.HasPrefix(line, "|"):
			var middle []string // all but the first column and the last
			for i, cell := range cells[1 : len(cells)-1] {
				if cell != "" {
					middle = append(middle, columns[i+1]+": "+cell)
				}
			}
			fmt.Fprintf(b, ".TP\n%s\n", cells[0])
			if len(middle) > 0 {
				fmt.Fprintf(b, "(%s)\n", strings.Join(middle, "; "))
			}
			b.WriteString(cells[len(cells)-1] + "\n")
		case strings.TrimSpace(line) == "":
			columns = nil
		case strings.HasPrefix(line, "* "), strings.HasPrefix(line, "- "):
			b.WriteString(".IP \\(bu 2\n" + inline(line[2:]) + "\n")
		case strings.HasPrefix(line, "  "):
			b.WriteString(inline(strings.TrimSpace(line)) + "\n")
		default:
			b.WriteString(inline(line) + "\n")
		}
		if strings.TrimSpace(line) == "" && !code && !strings.HasSuffix(b.String(), ".PP\n") {
			b.WriteString(".PP\n")
		}
	}
	return b.String()
}
