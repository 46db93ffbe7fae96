package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"berth/config"
)

// loadRules reads a configuration with these rules and more.
func loadRules(t *testing.T, dir, rules string) *config.Config {
	t.Helper()
	file := filepath.Join(dir, "etc", "berth.yaml")
	text := strings.ReplaceAll(`host_keys: [DIR/keys/ssh_host_ed25519_key]
directories: [{name: d, kind: embedded, ldif: DIR/people/people.ldif}]
events: {file: DIR/log/events.jsonl}
ssh: {banner: DIR/texts/banner}
admin: {listen: ""}
rules: [`+rules+`]
`, "DIR", dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestConfinement: folders of files that are written can be written, others are read;
// folders of rules count up to their first variable, and by where links lead.
func TestConfinement(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"etc", "keys", "people", "log", "texts", "srv/home", "real", "outside"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	cfg := loadRules(t, dir, `{name: a, home: {host: "`+dir+`/srv/home/%u"}, folders: [{path: /l, host: `+dir+`/link}]}`)
	set, err := cfg.Compile()
	if err != nil {
		t.Fatal(err)
	}
	all := needs(cfg, set)
	for folder, may := range map[string]any{"keys": mayWrite, "people": mayWrite, "log": mayWrite, "srv/home": mayWrite, "real": mayWrite, "etc": mayRead, "texts": mayRead} {
		if got := all[filepath.Join(dir, folder)]; got != may {
			t.Errorf("%s: %v, want %v", folder, got, may)
		}
	}
	for _, folder := range []string{"/", dir, filepath.Join(dir, "link"), filepath.Join(dir, "srv")} {
		if may, ok := all[folder]; ok {
			t.Errorf("%s may be reached: %v; all: %q", folder, may, slices.Sorted(maps.Keys(all)))
		}
	}
	for host, refused := range map[string]bool{
		"srv/home/deep": false, "real/%u": false, "link": false, "srv/home": false,
		"not-there": false, // nobody can use it
		"outside":   true, "outside/%u": true, "srv": true, "real-not": false,
	} {
		cfg := loadRules(t, dir, `{name: a, home: {host: "`+dir+"/"+host+`"}}`)
		set, err := cfg.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if err := all.holds(folderNeeds(set)); (err != nil) != refused {
			t.Errorf("a folder at %s: %v, want refused: %t", host, err, refused)
		}
	}
	if err := confinement(nil).holds(confinement{"/outside": mayWrite}); err != nil {
		t.Errorf("without a confinement: %v", err)
	}
}

// TestFolderAnywhere: a rule whose folders can be anywhere needs landlock.also.
func TestFolderAnywhere(t *testing.T) {
	if abi, _ := ll.LandlockGetABIVersion(); abi < leastABI {
		t.Skip("this kernel has no Landlock, or one that is too old")
	}
	dir := t.TempDir()
	for _, sub := range []string{"etc", "people", "texts"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg := loadRules(t, dir, `{name: a, home: {host: "/%{homeDirectory}"}}`)
	set, err := cfg.Compile()
	if err != nil {
		t.Fatal(err)
	}
	if err := confinable(cfg, set); err == nil || !strings.Contains(err.Error(), "landlock.also") {
		t.Errorf("without landlock.also: %v", err)
	}
	cfg.Landlock.Also = []string{dir}
	if err := confinable(cfg, set); err != nil {
		t.Errorf("with landlock.also: %v", err)
	}
	cfg.SSH.Banner = "/banner"
	if err := confinable(cfg, set); err == nil || !strings.Contains(err.Error(), "directly in /") {
		t.Errorf("a file in the root: %v", err)
	}
}
