package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestCheckNamesClashes wants the rules and the lines of what comes in vain.
func TestCheckNamesClashes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	d := demo{Dir: dir, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(text), "rules:\n")
	first := strings.Count(before, "\n") + 2
	rules := `rules:
  - {name: one, folders: [{path: /x, host: /srv/x}]}
  - name: two
    folders:
      - {path: /x, host: /srv/y}
    access:
      - {path: /in, permissions: [list]}
  - {name: three, access: [{path: /in, permissions: [read]}]}
`
	if err := os.WriteFile("berth.yaml", []byte(before+rules+after), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, "berth check --offline --config berth.yaml")
	got = strings.ReplaceAll(got, "berth.yaml:", "line ")
	for _, want := range []string{
		at(first+3) + ": " + `/x: the folder of rule "two" is not used for those whom rule "one" matches, too: it comes first (` + at(first) + ")",
		at(first+6) + ": " + `/in: the permissions of rule "three" are not used for those whom rule "two" matches, too: it comes first (` + at(first+5) + ")",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("check prints:\n%swant:\n%s", got, want)
		}
	}
}

func at(line int) string { return fmt.Sprintf("line %d", line) }
