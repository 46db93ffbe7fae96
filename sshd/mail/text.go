package mail

import (
	"cmp"
	"embed"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"

	"golang.org/x/text/language"
)

// shipped are the texts of Berth: a file KIND.LANGUAGE.txt for each.
//
//go:embed text
var shipped embed.FS

// facts are what a text can say. Nothing in them has more than one line.
type facts struct {
	Name        string // of the person
	User        string // login name
	Host        string // of this service
	SSH         string // how people call ssh for it: "ssh HOST"
	Days        int    // until the password expires, rounded up
	Date, Time  string // when it expires, or when something happened
	CanChange   bool   // the person may change the password with ssh
	Fingerprint string // of a key
	Remote      string // address of the client
}

// texts are the templates by kind and language.
type texts struct {
	of       map[string]map[language.Tag]*template.Template
	tags     []language.Tag // the one for everybody else first
	choosing language.Matcher
}

// openTexts reads the shipped texts and those of a folder, which take precedence. Each
// is tried, so that a mistake is found before a mail is due.
func openTexts(folder, fallback string) (*texts, error) {
	first, err := language.Parse(fallback)
	if err != nil {
		return nil, fmt.Errorf("language: %q: must be the name of a language, such as en", fallback)
	}
	t := &texts{of: map[string]map[language.Tag]*template.Template{}}
	own, err := iofs.Sub(shipped, "text")
	if err == nil {
		err = t.read(own)
	}
	if err == nil && folder != "" {
		err = t.read(os.DirFS(folder))
	}
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	tags := map[language.Tag]bool{}
	for _, kind := range kinds() {
		if t.of[kind][first] == nil {
			return nil, fmt.Errorf("language: %s: there is no %s.%s.txt in templates", fallback, kind, fallback)
		}
		for tag := range t.of[kind] {
			tags[tag] = true
		}
	}
	delete(tags, first)
	others := slices.SortedFunc(maps.Keys(tags), func(a, b language.Tag) int { return cmp.Compare(a.String(), b.String()) })
	t.tags = slices.Insert(others, 0, first)
	t.choosing = language.NewMatcher(t.tags)
	return t, nil
}

func (t *texts) read(folder iofs.FS) error {
	files, err := iofs.Glob(folder, "*")
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("the folder is missing or empty")
	}
	for _, file := range files {
		kind, rest, _ := strings.Cut(file, ".")
		name, text := strings.CutSuffix(rest, ".txt")
		tag, err := language.Parse(name)
		if !text || err != nil || !slices.Contains(kinds(), kind) {
			return fmt.Errorf("%s: must be called KIND.LANGUAGE.txt, such as password_expiring.fr.txt; the kinds are %s", file, strings.Join(kinds(), ", "))
		}
		content, err := iofs.ReadFile(folder, file)
		if err != nil {
			return err
		}
		parsed, err := template.New(file).Parse(strings.ReplaceAll(string(content), "\r\n", "\n"))
		if err == nil {
			_, _, err = fill(parsed, facts{Name: "Alice", Days: 1})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if t.of[kind] == nil {
			t.of[kind] = map[language.Tag]*template.Template{}
		}
		t.of[kind][tag] = parsed
	}
	return nil
}

// language returns the best of the languages for somebody who reads those in wanted.
func (t *texts) language(wanted string) language.Tag {
	_, i := language.MatchStrings(t.choosing, wanted)
	return t.tags[i]
}

// write returns a mail of a kind. A language that lacks the kind is replaced by that of
// everybody else.
func (t *texts) write(kind string, tag language.Tag, f facts) (subject, body string, err error) {
	return fill(cmp.Or(t.of[kind][tag], t.of[kind][t.tags[0]]), f)
}

// fill makes a mail of a template: a line with the subject, an empty line, the text.
func fill(t *template.Template, f facts) (subject, body string, err error) {
	var b strings.Builder
	if err := t.Execute(&b, f); err != nil {
		return "", "", err
	}
	head, body, _ := strings.Cut(b.String(), "\n\n")
	subject, found := strings.CutPrefix(head, "Subject: ")
	if !found || strings.Contains(subject, "\n") || strings.TrimSpace(subject) == "" || strings.TrimSpace(body) == "" {
		return "", "", fmt.Errorf("must begin with one line %q, and then have an empty line and the text", "Subject: …")
	}
	return clean(subject), body, nil
}

// longest is how much of an attribute a mail has, in characters.
const longest = 200

// clean makes one line of a text: what could end a header, hide something or change the
// direction of the text becomes a blank.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if r := []rune(text); len(r) > longest {
		text = string(r[:longest])
	}
	return strings.TrimSpace(text)
}

// day and clock are how texts write a time. They are the same in all languages.
func day(t time.Time) string   { return t.Local().Format(time.DateOnly) }
func clock(t time.Time) string { return t.Local().Format("15:04 MST") }
