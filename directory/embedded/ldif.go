package embedded

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A document is an LDIF file (RFC 2849) of entries.
type document struct {
	header  []string // comment lines before the first entry, with a blank line after them
	records []record
	footer  []string // comment lines after the last entry
}

// A record is one entry as it is in the file.
type record struct {
	comments []string // lines before or inside it
	line     int      // of its dn, from 1
	dn       string
	fields   []field
}

type field struct {
	line        int
	name, value string
}

type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func at(line int, format string, args ...any) error {
	return &lineError{line, fmt.Errorf(format, args...)}
}

// parseLDIF reads entries. Change records and values fetched from URLs are
// refused. An error is a *lineError.
func parseLDIF(data []byte) (*document, error) {
	p := ldifParser{doc: new(document)}
	lines := strings.Split(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\n")
	for i := 0; i < len(lines); {
		first := i
		var text strings.Builder
		text.WriteString(strings.TrimSuffix(lines[i], "\r"))
		for i++; i < len(lines) && strings.HasPrefix(lines[i], " "); i++ {
			text.WriteString(strings.TrimSuffix(lines[i], "\r")[1:])
		}
		if err := p.take(first+1, text.String()); err != nil {
			return nil, err
		}
	}
	p.end()
	p.doc.footer = p.comments
	return p.doc, nil
}

type ldifParser struct {
	doc      *document
	comments []string
	now      *record // nil between entries
	version  bool
}

// take reads one unfolded line.
func (p *ldifParser) take(line int, text string) error {
	switch {
	case strings.HasPrefix(text, "#"):
		p.comments = append(p.comments, text)
		return nil
	case text == "":
		p.end()
		return nil
	case text == "-":
		return at(line, "this is a change record: write the entry as it should be")
	}
	f, err := parseField(line, text)
	if err != nil {
		return err
	}
	switch {
	case p.now != nil && strings.EqualFold(f.name, "dn"):
		return at(line, "a second dn in one entry: put a blank line between entries")
	case p.now != nil && (strings.EqualFold(f.name, "changetype") || strings.EqualFold(f.name, "control")):
		return at(line, "this is a change record: write the entry as it should be")
	case p.now != nil:
		p.now.fields = append(p.now.fields, f)
		return nil
	case strings.EqualFold(f.name, "version") && !p.version && len(p.doc.records) == 0:
		p.version = true
		p.end()
		if f.value != "1" {
			return at(line, "LDIF version %q: only version 1 exists", f.value)
		}
		return nil
	case !strings.EqualFold(f.name, "dn"):
		return at(line, "an entry begins with its dn, such as dn: uid=alice,ou=people,dc=example,dc=org; this begins with %q", f.name)
	}
	p.now = &record{line: line, dn: f.value}
	return nil
}

// end is called where an entry or a block of comments ends.
func (p *ldifParser) end() {
	switch {
	case p.now != nil:
		p.now.comments = p.comments
		p.doc.records = append(p.doc.records, *p.now)
		p.now, p.comments = nil, nil
	case len(p.doc.records) == 0:
		p.doc.header = append(p.doc.header, p.comments...)
		p.comments = nil
	}
}

// parseField reads "name: value" or "name:: base64".
func parseField(line int, text string) (field, error) {
	name, value, found := strings.Cut(text, ":")
	if !found {
		return field{}, at(line, "want \"name: value\", got %q; a continued line begins with one space", clip(text))
	}
	if !isAttributeName(name) {
		return field{}, at(line, "%q is not the name of an attribute", clip(name))
	}
	switch {
	case strings.HasPrefix(value, "<"):
		return field{}, at(line, "%s:< reads a URL, which is not supported: write the value, or its base64 after %s::", name, name)
	case strings.HasPrefix(value, ":"):
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value[1:]))
		if err != nil {
			return field{}, at(line, "%s:: wants base64: %w", name, err)
		}
		return field{line, name, string(raw)}, nil
	}
	value = strings.TrimLeft(value, " ")
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return field{}, at(line, "the value of %s is not UTF-8 text: write its base64 after %s::", name, name)
	}
	return field{line, name, value}, nil
}

// clip shortens a text that an error quotes.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// bytes returns the text of a file that parseLDIF would read as d.
func (d *document) bytes() []byte {
	var b bytes.Buffer
	comment := func(lines []string) {
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
	}
	comment(d.header)
	b.WriteString("version: 1\n")
	for _, r := range d.records {
		b.WriteByte('\n')
		comment(r.comments)
		writeField(&b, "dn", r.dn)
		for _, f := range r.fields {
			writeField(&b, f.name, f.value)
		}
	}
	if len(d.footer) > 0 {
		b.WriteByte('\n')
		comment(d.footer)
	}
	return b.Bytes()
}

// writeField writes one value, in base64 unless it is a SAFE-STRING, and folds
// the line after 76 characters.
func writeField(b *bytes.Buffer, name, value string) {
	text := name + ": " + value
	if !isSafe(value) {
		text = name + ":: " + base64.StdEncoding.EncodeToString([]byte(value))
	}
	for width := 76; len(text) > width; width = 75 {
		b.WriteString(text[:width] + "\n ")
		text = text[width:]
	}
	b.WriteString(text + "\n")
}

// isSafe reports whether s may be in a line as it is (RFC 2849, SAFE-STRING).
func isSafe(s string) bool {
	if s == "" {
		return true
	}
	unsafe := func(c byte) bool { return c == 0 || c == '\n' || c == '\r' || c >= utf8.RuneSelf }
	return strings.IndexByte(" :<", s[0]) < 0 && s[len(s)-1] != ' ' && !slices.ContainsFunc([]byte(s), unsafe)
}

// isAttributeName reports whether a text is an attribute's name or OID, options
// included (RFC 4512, section 2.5).
var isAttributeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.;-]*$`).MatchString
