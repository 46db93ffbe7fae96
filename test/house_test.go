package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/config"
)

// listed is what `go list` knows of a package.
type listed struct {
	ImportPath string
	Dir        string
	Doc        string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(p.ImportPath, "berth/test") {
			all = append(all, p)
		}
	}
	return all
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestPackageGraph holds the imports to the table in ARCHITECTURE.md.
func TestPackageGraph(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	allowed, forbidden := map[string][]string{}, map[string][]string{}
	name := regexp.MustCompile("`([a-z/*0-9]+)`")
	_, table, _ := strings.Cut(string(text), "## Packages")
	table, _, _ = strings.Cut(table, "\n## ")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, pkg := range name.FindAllStringSubmatch(cells[1], -1) {
			may, except, _ := strings.Cut(cells[2], " except ")
			allowed[pkg[1]] = []string{}
			for _, imported := range name.FindAllStringSubmatch(may, -1) {
				allowed[pkg[1]] = append(allowed[pkg[1]], imported[1])
			}
			for _, imported := range name.FindAllStringSubmatch(except, -1) {
				forbidden[pkg[1]] = append(forbidden[pkg[1]], imported[1])
			}
		}
	}
	free := []string{"cmd/berth", "config"} // these join the others
	for _, p := range packages(t) {
		pkg := strings.TrimPrefix(p.ImportPath, "berth/")
		may, ok := allowed[pkg]
		if !ok {
			t.Errorf("%s is not in ARCHITECTURE.md", pkg)
			continue
		}
		for _, imported := range p.Imports {
			imported, ours := strings.CutPrefix(imported, "berth/")
			if !ours || pkg == "cmd/berth" {
				continue
			}
			matches := func(pattern string) bool {
				ok, _ := filepath.Match(pattern, imported)
				return ok
			}
			if slices.Contains(free, pkg) && !slices.Contains(free, imported) {
				continue
			}
			if !slices.ContainsFunc(may, matches) || slices.Contains(forbidden[pkg], imported) {
				t.Errorf("%s imports %s, which ARCHITECTURE.md does not allow", pkg, imported)
			}
		}
	}
}

// TestYAMLOfDocs loads every block of YAML in the documentation. What a block
// leaves out of a whole file is put around it; the files it names are the reader's.
func TestYAMLOfDocs(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	rest := map[string]string{
		"directories": `directories: [{name: corp, kind: active_directory, urls: ["ldaps://dc1.corp.example"], base: "DC=corp,DC=example", bind_dn: "CN=berth,DC=corp,DC=example", bind_password: x}]`,
		"rules":       `rules: [{name: all}]`,
	}
	theirFile := regexp.MustCompile(`: (open )?/(etc|run|var/lib)/[a-z./-]+: no such file or directory$`)
	blocks := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, block := range strings.Split(string(text), "\n```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "\n```")
			blocks++
			whole := block + "\n"
			for _, key := range []string{"directories", "rules"} {
				if !strings.Contains("\n"+block, "\n"+key+":") {
					whole += rest[key] + "\n"
				}
			}
			path := filepath.Join(t.TempDir(), "berth.yaml")
			if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(path)
			for _, line := range strings.Split(fmt.Sprint(err), "\n") {
				if line != "<nil>" && !theirFile.MatchString(line) {
					t.Errorf("%s, block %d of YAML: %s\n%s", file, n+1, line, whole)
				}
			}
		}
	}
	if blocks < 4 {
		t.Errorf("the documentation has %d blocks of YAML, want some", blocks)
	}
}
