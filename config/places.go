package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"berth/policy"
)

// A Mistake is one mistake in the file or the environment.
type Mistake struct {
	File string
	Line int    // of the key, or of the nearest key above it in the file; 0: none is in the file
	Key  string // rules[2].folders[0].path
	Rule string // name of the rule that the key is in, if it has one
	Err  error  // the value, and what would be right
}

func (m *Mistake) Error() string { return m.Place() + ": " + m.Message() }

// Place is the file, the line and the key.
func (m *Mistake) Place() string {
	at := m.File
	if m.Line > 0 {
		at = fmt.Sprintf("%s:%d", m.File, m.Line)
	}
	if m.Key != "" {
		at += ": " + m.Key
	}
	return at
}

// Message says what is wrong there.
func (m *Mistake) Message() string {
	if m.Rule != "" {
		return fmt.Sprintf("%v (rule %q)", m.Err, m.Rule)
	}
	return m.Err.Error()
}

func (m *Mistake) Unwrap() error { return m.Err }

// places has the line of each key in the file, and the mistakes in the keys themselves.
type places struct {
	file     string
	lines    map[string]int
	values   map[string]string // of keys with one value, as in the file
	mistakes []*Mistake
}

// syntax matches how the YAML library names a line.
var syntax = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?:unmarshal errors:\s*)?`)

// locate finds the places of the keys in a file.
func locate(file string, text []byte) (*places, error) {
	p := &places{file: file, lines: map[string]int{}, values: map[string]string{}}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return nil, p.notYAML(err)
	}
	if err := d.Decode(&more); err == nil {
		return nil, &Mistake{File: file, Line: more.Line, Err: errors.New("a second document begins here: the file must be one")}
	} else if err != io.EOF {
		return nil, p.notYAML(err)
	}
	if len(doc.Content) == 0 {
		return p, nil
	}
	// Aliases of aliases can stand for billions of values: the library refuses them before
	// walk visits each. What it finds beside that, walk says better.
	var details *yaml.TypeError
	if err := doc.Decode(new(any)); err != nil && !errors.As(err, &details) {
		return nil, p.notYAML(err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, &Mistake{File: file, Line: root.Line, Err: errors.New("must be keys with values, as in listen: [\":22\"]")}
	}
	p.walk("", root, reflect.TypeFor[Config]())
	for _, m := range p.mistakes {
		if m.Err == errTwice {
			return nil, join(p.mistakes) // no library reads such a file
		}
	}
	return p, nil
}

// Places reads a file that Load has read. The function it returns gives the place
// of a key such as rules[2].folders[0], or of the nearest key above it:
// berth.yaml:12.
func Places(file string) (func(key string) string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	where, err := locate(file, text)
	if err != nil {
		return nil, err
	}
	return func(key string) string { return fmt.Sprintf("%s:%d", file, where.line(key)) }, nil
}

// inRule matches the key of the rule that a key is in.
var inRule = regexp.MustCompile(`^rules\[\d+\]`)

func (p *places) notYAML(err error) error {
	m := &Mistake{File: p.file}
	if found := syntax.FindStringSubmatch(err.Error()); found != nil {
		m.Line, _ = strconv.Atoi(found[1])
	}
	m.Err = fmt.Errorf("not YAML: %s", syntax.ReplaceAllString(err.Error(), ""))
	return m
}

var (
	errTwice   = errors.New("this key is in the file twice")
	errUnknown = errors.New("there is no such key")
)

// conditions matches the keys that restrict something. Without a value they would restrict
// nothing. That is a mistake, which a template with an empty variable can make.
var conditions = regexp.MustCompile(`^(rules\[\d+\]\.(when|require|access\[\d+\]\.names)|ssh\.legacy\[\d+\]\.from)\b`)

var errEmpty = errors.New("empty: would apply to everybody: give a value, or leave the key out")

// errNull is about a key within a list. Without a value it would not have its default, or
// the default would permit more than was meant: the rights in a home are then full.
var errNull = errors.New("has no value: give one, or leave the key out")

// walk notes the lines of the keys below n, and the keys that t does not have.
func (p *places) walk(key string, n *yaml.Node, t reflect.Type) {
	p.lines[key] = n.Line
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	null := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
	empty := n.Kind != yaml.AliasNode && len(n.Content) == 0 && (strings.TrimSpace(n.Value) == "" || null)
	switch {
	case empty && conditions.MatchString(key):
		p.mistakes = append(p.mistakes, &Mistake{File: p.file, Line: n.Line, Key: key, Err: errEmpty})
	case null && strings.Contains(key, "[") && !isSection(t):
		p.mistakes = append(p.mistakes, &Mistake{File: p.file, Line: n.Line, Key: key, Err: errNull})
	}
	switch n.Kind {
	case yaml.ScalarNode:
		p.values[key] = n.Value
		if t.Kind() == reflect.Slice { // a single value is a list of one
			t = t.Elem()
		}
		if k := t.Kind(); (k == reflect.Int || k == reflect.Int64 && t != durationType || t == countType || t == sizeType) && n.ShortTag() != "!!str" && n.ShortTag() != "!!null" {
			if _, err := policy.ParseNumber(n.Value); err != nil {
				p.mistakes = append(p.mistakes, &Mistake{File: p.file, Line: n.Line, Key: key, Err: fmt.Errorf("%q: %w", n.Value, err)})
			}
		}
	case yaml.AliasNode:
		p.walk(key, n.Alias, t)
	case yaml.SequenceNode:
		if t.Kind() != reflect.Slice {
			return // the decoder reports it
		}
		for i, item := range n.Content {
			p.walk(fmt.Sprintf("%s[%d]", key, i), item, t.Elem())
		}
	case yaml.MappingNode:
		if isStruct(t) {
			p.mapping(key, n, t)
		}
	}
}

func (p *places) mapping(key string, n *yaml.Node, t reflect.Type) {
	fields := map[string]reflect.Type{}
	for _, f := range fieldsOf(t) {
		fields[f.Name] = f.Type
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		path := strings.TrimPrefix(key+"."+strings.ToLower(name), ".")
		mistake := func(err error) {
			written := strings.TrimPrefix(key+"."+name, ".")
			p.mistakes = append(p.mistakes, &Mistake{File: p.file, Line: n.Content[i].Line, Key: written, Err: err})
		}
		if seen[strings.ToLower(name)] {
			mistake(errTwice)
			continue
		}
		seen[strings.ToLower(name)] = true
		field, ok := fields[strings.ToLower(name)]
		if !ok {
			mistake(unknown(name, slices.Collect(maps.Keys(fields))))
			continue
		}
		p.walk(path, n.Content[i+1], field)
		p.lines[path] = n.Content[i].Line
	}
}

// unknown is the error about a key that does not exist. It names the most similar key.
func unknown(name string, known []string) error {
	best, least := "", len(name)/2+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least || d == least && k < best {
			best, least = k, d
		}
	}
	if best == "" {
		return errUnknown
	}
	return fmt.Errorf("%w: is %q meant?", errUnknown, best)
}

// distance is the Levenshtein distance of a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// keyed matches an error of a package about one of its keys.
var keyed = regexp.MustCompile(`(?s)^([a-z0-9_]+(?:\[\d+\])*(?:\.[a-z0-9_]+(?:\[\d+\])*)*): (.*)$`)

// mistake puts the place in the file in front of err, which begins with a key
// below prefix.
func (p *places) mistake(prefix string, err error) *Mistake {
	key := strings.TrimSuffix(prefix, ".")
	var m *policy.Mistake
	if errors.As(err, &m) {
		key, err = m.Key, errors.New(m.What())
	} else if found := keyed.FindStringSubmatch(err.Error()); found != nil {
		key, err = prefix+found[1], errors.New(found[2])
	}
	return p.at(key, err)
}

// at makes the mistake about a key. Its place is the environment if that sets the key.
func (p *places) at(key string, err error) *Mistake {
	list, _, _ := strings.Cut(key, "[")
	if name := variable(list); os.Getenv(name) != "" {
		return &Mistake{File: "environment", Key: name, Err: err}
	}
	return &Mistake{File: p.file, Line: p.line(key), Key: key, Err: err}
}

// line finds key, or the nearest key above it that is in the file.
func (p *places) line(key string) int {
	for key != "" {
		if line, ok := p.lines[key]; ok {
			return line
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 0
}

// decodeErrors turns what the decoder says into mistakes.
func (p *places) decodeErrors(err error) []*Mistake {
	if d, ok := err.(*mapstructure.DecodeError); ok {
		return []*Mistake{p.decodeError(d.Name(), d.Unwrap())}
	}
	if one := errors.Unwrap(err); one != nil {
		return p.decodeErrors(one)
	}
	all := split(err)
	if len(all) == 1 && all[0] == err {
		return []*Mistake{p.at("", err)}
	}
	var mistakes []*Mistake
	for _, err := range all {
		mistakes = append(mistakes, p.decodeErrors(err)...)
	}
	return mistakes
}

// decodeError describes the mistake in the value of key for an administrator.
func (p *places) decodeError(key string, err error) *Mistake {
	var wrong *mapstructure.UnconvertibleTypeError
	if errors.As(err, &wrong) {
		err = kindInWords(wrong.Expected.Type())
	}
	m := p.at(key, err)
	if value := cmp.Or(os.Getenv(variable(key)), p.values[key]); value != "" && !isSecret(key) {
		m.Err = fmt.Errorf("%q: %w", value, err)
	}
	return m
}
