package config

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlBreaks matches what ends a line for YAML, which counts the lines. A comment that was
// copied from a document may have one that an editor does not show.
var yamlBreaks = regexp.MustCompile(`\r\n|[\r\n\x{85}\x{2028}\x{2029}]`)

// RulesSection returns the lines of the section rules of a file, and the number of the
// first. Other sections may hold passwords, also in their comments: no line of theirs is
// among them. There are no lines if the file has no such section, or not on lines of its
// own.
func RulesSection(text []byte) (first int, lines []string) {
	var doc yaml.Node
	if yaml.NewDecoder(bytes.NewReader(text)).Decode(&doc) != nil || len(doc.Content) == 0 {
		return 0, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 {
		return 0, nil
	}
	lines = yamlBreaks.Split(strings.TrimSuffix(string(text), "\n"), -1)
	end := len(lines)
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch key := root.Content[i]; {
		case first > 0:
			end = min(end, key.Line-1)
		case strings.EqualFold(key.Value, "rules"):
			first = key.Line
		}
	}
	if first == 0 {
		return 0, nil
	}
	lines = lines[first-1 : end]
	if i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...") }); i > 0 {
		lines = lines[:i] // the end of the document
	}
	// A comment at the margin before the next section is about that.
	for last := len(lines) - 1; last > 0 && (strings.TrimSpace(lines[last]) == "" || strings.HasPrefix(lines[last], "#")); last-- {
		lines = lines[:last]
	}
	return first, lines
}

// RulesMistakes returns those mistakes of an error of WithRules that are about the
// section rules. Of others it only says that there are some. Their text may have a
// password, for example one that YAML takes for an anchor.
func RulesMistakes(err error) error {
	all := split(err)
	var shown []error
	for _, e := range all {
		if m, ok := errors.AsType[*Mistake](e); ok && under("rules", m.Key) {
			shown = append(shown, m)
		}
	}
	if len(shown) < len(all) {
		shown = append(shown, errors.New("there is a mistake outside of the section rules: berth check shows it"))
	}
	return errors.Join(shown...)
}
