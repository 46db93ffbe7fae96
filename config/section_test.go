package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesSection: no line of another section is shown, whatever the file looks like.
func TestRulesSection(t *testing.T) {
	for name, tt := range map[string]struct {
		file  string
		first int
		want  string
	}{
		"in the middle":     {"listen: [\":22\"] # secret\nrules:\n  - name: a # why\n# still\n  - name: b\n\n# the secret of\ndirectories:\n  - bind_password: secret\n", 2, "rules:\n  - name: a # why\n# still\n  - name: b"},
		"at the end":        {"directories: [{bind_password: secret}]\nRules:\n- name: a\n\n# secret\n", 2, "Rules:\n- name: a"},
		"one line":          {"{rules: [{name: a}], directories: [{bind_password: secret}]}\n", 0, ""},
		"flow over lines":   {"{rules: [{name: a}],\ndirectories: [{bind_password: secret}]}\n", 0, ""},
		"none":              {"log: {level: info} # secret\n", 0, ""},
		"an alias":          {"directories: &x [{name: secret}]\nrules: *x\n", 2, "rules: *x"},
		"twice":             {"rules: []\nlog: {} # secret\nrules: []\n", 1, "rules: []"},
		"another document":  {"rules: []\n--- # secret\ndirectories: [secret]\n", 1, "rules: []"},
		"not YAML":          {"rules: [\nsecret", 0, ""},
		"a list":            {"- rules: []\n", 0, ""},
		"nothing":           {"", 0, ""},
		"Windows line ends": {"rules:\r\n- name: a\r\n# secret\r\nlog: {}\r\n", 1, "rules:\n- name: a"},
	} {
		first, lines := RulesSection([]byte(tt.file))
		if got := strings.Join(lines, "\n"); first != tt.first || got != tt.want {
			t.Errorf("%s: line %d, %q, want line %d, %q", name, first, got, tt.first, tt.want)
		}
	}
}

// TestRulesSectionWithOddBreaks: YAML counts characters as ends of lines that other programs
// do not. No line of another section is shown because of that.
func TestRulesSectionWithOddBreaks(t *testing.T) {
	for _, end := range []string{"\r", "\u0085", "\u2028", "\u2029", "\r\n"} {
		for _, text := range []string{"x # a" + end + "# b", "x" + end + "    y", `"x` + end + `    y"`, `'x` + end + `    y'`, "|" + end + "    x" + end + end + "    y"} {
			value := "\n- name: " + text + "\n"
			first, lines := RulesSection([]byte("log:" + value + "rules:" + value + "directories:\n- bind_password: secret\n"))
			got := strings.Join(lines, "\n")
			if strings.Contains(got, "directories") || strings.Contains(got, "secret") || first > 0 && !strings.HasPrefix(got, "rules:") {
				t.Errorf("%q: line %d, %q", text, first, got)
			}
			if first == 0 && strings.HasPrefix(text, "x #") && end != "\r" {
				t.Errorf("%q: no lines", text)
			}
		}
	}
}

// TestWithRules: only the rules of a text are used, and each mistake has its line.
func TestWithRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "berth.yaml")
	text := "directories: [{name: corp, kind: generic, urls: [\"ldaps://x\"], base: dc=x, bind_dn: cn=x, bind_password: x}]\nrules: [{name: a}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"rules:\n- name: b\n": "",
		"listen: [\":1\"]\ndirectories: [{name: other}]\nrules:\n- name: b\n": "",
		"rules:\n- name: b\n  when: {user: [x]}\n":                            "new:3: rules[0].when.user: there is no such key: is \"users\" meant? (rule \"b\")",
		"rules:\n- name: b\n- name: b\n":                                      "new:3: rules[1].name: \"b\": rules[0] has this name already: each rule needs its own (rule \"b\")",
		"rules:\n- name: b\n  limits: {sessions: x}\n":                        "new:3: rules[0].limits.sessions:",
		"rules:\n- name: b\n  when: {directory: none}\n":                      "new:3: rules[0].when.directory[0]:",
		"rules:\n- name: b\n  require: [[password, totp]]\n":                  "new:3: rules[0].require: totp: nobody has a secret",
		"rules:\n- name: [\n":                                                 "new:2: not YAML:",
		"rules:\n- name: \tb\n  x\n":                                          "new:",
		"rule: []\n":                                                          "new: rules: missing",
		"":                                                                    "new: rules: missing",
		"rules: {name: b}\n":                                                  "new:1: rules:",
		"- name: b\n":                                                         "new:1: must be keys with values",
	} {
		next, err := cfg.WithRules("new", []byte(text))
		if want == "" {
			if err != nil || len(next.Rules) != 1 || next.Rules[0].Name != "b" || next.Directories[0].Name != "corp" || cfg.Rules[0].Name != "a" {
				t.Errorf("%q: %v, %+v", text, err, next)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestManyAliases: a short text whose aliases stand for a million million values is refused at
// once. Whoever may read the console can send one.
func TestManyAliases(t *testing.T) {
	cfg := Default()
	const many = 10_000
	text := "rules:\n- &r {access: [&g {permissions: [&p read" + strings.Repeat(", *p", many) + "]}" + strings.Repeat(", *g", many) + "]}\n" + strings.Repeat("- *r\n", many)
	if _, err := cfg.WithRules("new", []byte(text)); err == nil || !strings.Contains(err.Error(), "excessive aliasing") {
		t.Errorf("got %v", err)
	}
}

// A countedError counts how often it is looked at.
type countedError struct{ looks *int }

func (countedError) Error() string   { return "wrong" }
func (e countedError) Is(error) bool { *e.looks++; return false }

// TestUnrelated: of mistakes about one key, or one below the other, the first is kept. Each
// is looked at once, because a text can have a hundred thousand of them.
func TestUnrelated(t *testing.T) {
	looks := 0
	wrong := func(key string) *Mistake { return &Mistake{Key: key, Err: countedError{&looks}} }
	known := []*Mistake{wrong("rules[1].when"), wrong("ssh"), {Key: "rules[2].x", Err: unknown("x", nil)}}
	for key, want := range map[string]bool{
		"rules[1].when": false, "rules[1].when.users[0]": false, "rules[1]": false, "rules": false, "ssh.idle": false,
		"rules[10].when": true, "rules[1].whenever": true, "rules[1].name": true, "sshd": true, "rules[2].x": true, "rules[2]": true, "": true,
	} {
		if got := len(unrelated([]*Mistake{wrong(key)}, known)) == 1; got != want {
			t.Errorf("%q: kept %t, want %t", key, got, want)
		}
	}
	const many = 1000
	looks, known = 0, nil
	var found []*Mistake
	for i := range many {
		known, found = append(known, wrong(fmt.Sprintf("rules[%d].name", i))), append(found, wrong(fmt.Sprintf("rules[%d].when", i)))
	}
	if kept := len(unrelated(found, known)); kept != many || looks > many {
		t.Errorf("%d of %d are kept after %d looks", kept, many, looks)
	}
}

// TestRulesMistakes: an error about the rules shows nothing of other sections, whatever
// mistakes these have.
func TestRulesMistakes(t *testing.T) {
	cfg := Default()
	const elsewhere = "there is a mistake outside of the section rules"
	for text, want := range map[string]string{
		"directories:\n- bind_password: *hunter2\nrules:\n- name: b\n":      elsewhere,
		"directories:\n- bind_password: !!int hunter2\nrules:\n- name: b\n": elsewhere,
		"hunter2: x\nrules:\n- name: b\n":                                   elsewhere,
		"hunter2: x\nrules:\n- name: b\n  when: {user: [x]}\n":              "file:4: rules[0].when.user: there is no such key: is \"users\" meant? (rule \"b\")\n" + elsewhere,
		"rules:\n- name: b\n  when: {user: [x]}\n":                          "file:3: rules[0].when.user: there is no such key: is \"users\" meant? (rule \"b\")",
		"rules:\n- name: b\n":                                               "",
	} {
		_, err := cfg.WithRules("file", []byte(text))
		got := ""
		if err := RulesMistakes(err); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || strings.Contains(got, "hunter2") || want == "" && got != "" {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
