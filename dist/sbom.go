//go:build ignore

// Sbom reads a built program and prints which modules it was made of, as
// CycloneDX 1.6: go run dist/sbom.go PROGRAM VERSION. With a third argument, a
// file, it writes the licences of these modules there.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func main() {
	log.SetFlags(0)
	info, err := buildinfo.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	parts := []component{{Type: "library", Name: "std", Version: info.GoVersion, PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version}
		if m.Sum != "" {
			c.Properties = append(c.Properties, property{"go.sum", m.Sum})
		}
		if m.Replace != nil {
			c.Properties = append(c.Properties, property{"replaced", "with patches: docs/adr/0009-patches-for-the-ssh-library.md"})
		}
		parts = append(parts, c)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	err = out.Encode(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata":   map[string]any{"component": component{Type: "application", Name: "berth", Version: os.Args[2]}},
		"components": parts,
	})
	if err == nil && len(os.Args) > 3 {
		err = licences(os.Args[3], info.Deps)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// licences writes into file what the modules ask to be delivered with a program.
func licences(file string, modules []*debug.Module) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	dirs := []string{strings.TrimSpace(string(root))}
	names := []string{"Go"}
	for _, m := range modules {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.Path).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		names, dirs = append(names, m.Path+" "+m.Version), append(dirs, strings.TrimSpace(string(dir)))
	}
	for i, dir := range dirs {
		var texts []string
		for _, pattern := range []string{"LICEN[CS]E*", "License*", "COPYING*", "NOTICE*", "LICENSES/*"} {
			found, _ := filepath.Glob(filepath.Join(dir, pattern))
			texts = append(texts, slices.DeleteFunc(found, isFolder)...)
		}
		if len(texts) == 0 {
			return fmt.Errorf("%s has no file with its licence", names[i])
		}
		fmt.Fprintf(f, "==== %s\n\n", names[i])
		for _, name := range texts {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(f, "%s\n\n", text)
		}
	}
	return nil
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
