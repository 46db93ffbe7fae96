package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"berth/config"
	"berth/policy"
)

// Landlock of the kernel confines the process to some folders, whatever its user may
// read. The confinement is for ever: it passes to the process of an upgrade and can be
// made narrower, never wider. docs/adr/0014-landlock.md has the reasons.

// What may be done below a folder.
const (
	mayRead  landlock.AccessFSSet = ll.AccessFSReadFile | ll.AccessFSReadDir
	mayRun                        = mayRead | ll.AccessFSExecute
	mayWrite                      = mayRead | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSRefer | ll.AccessFSRemoveDir |
		ll.AccessFSRemoveFile | ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSym | ll.AccessFSMakeSock

	leastABI = 3 // Linux 6.2: before it, a file outside could be truncated
)

// systemFolders are what the Go runtime, the resolver, TLS, Kerberos and the loader read.
// Whole folders: /etc/resolv.conf and its like are replaced while the server runs.
var systemFolders = map[string]landlock.AccessFSSet{
	"/etc": mayRead, "/usr": mayRun, "/lib": mayRun, "/lib64": mayRun, "/proc": mayRead, "/sys": mayRead,
	"/run/systemd": mayRead, "/run/resolvconf": mayRead, "/run/NetworkManager": mayRead, "/run/credentials": mayRead,
	"/dev": mayRead | ll.AccessFSWriteFile, // null, urandom, log
}

// A confinement is what the process may reach: rights by folder, as real paths. nil is everything.
type confinement map[string]landlock.AccessFSSet

// confinedVar tells the process of an upgrade what it may reach. Variables that begin
// with BERTH_ are settings, and those with LISTEN_ are about sockets.
const confinedVar = "LANDLOCK_CONFINED_TO"

// confine confines this process to what cfg needs. What it has inherited from the
// process before an upgrade must be enough.
func confine(cfg *config.Config, set *policy.Set) (confinement, error) {
	var now confinement
	if text := os.Getenv(confinedVar); text != "" {
		if err := json.Unmarshal([]byte(text), &now); err != nil {
			return nil, fmt.Errorf("%s: %w", confinedVar, err)
		}
		return now, now.holds(needs(cfg, set))
	}
	if !cfg.Landlock.Enabled {
		return nil, nil
	}
	if err := confinable(cfg, set); err != nil {
		return nil, err
	}
	now = confinement{}
	for folder, may := range needs(cfg, set) {
		if exists(folder) {
			now[folder] = may
		}
	}
	rules := make([]landlock.Rule, 0, len(now))
	for folder, may := range now {
		rules = append(rules, landlock.PathAccess(may, folder))
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return nil, fmt.Errorf("landlock: %w", err)
	}
	text, err := json.Marshal(now)
	if err != nil {
		return nil, err
	}
	return now, os.Setenv(confinedVar, string(text))
}

// confinable returns why the server cannot be confined to what cfg needs.
func confinable(cfg *config.Config, set *policy.Set) error {
	if abi, _ := ll.LandlockGetABIVersion(); abi < leastABI {
		return fmt.Errorf("landlock.enabled: this kernel has Landlock ABI %d, and %d (Linux 6.2) is needed: set it to false", max(abi, 0), leastABI)
	}
	if len(cfg.Landlock.Also) == 0 && slices.Contains(fixedFolders(set), "/") {
		return errors.New("landlock: the folder of a rule can be anywhere: name the folders above it in landlock.also")
	}
	if _, everything := needs(cfg, set)["/"]; everything {
		return errors.New("landlock: a file or folder of the configuration is directly in /, so all files could be reached: use one in a folder")
	}
	return nil
}

// exists reports whether a folder is there. What is made later than the start is
// reached only if the folder above it is.
func exists(folder string) bool {
	_, err := os.Stat(folder)
	return err == nil
}

// holds returns an error if something that is needed cannot be reached.
func (c confinement) holds(needs confinement) error {
	if c == nil {
		return nil
	}
	for _, folder := range slices.Sorted(maps.Keys(needs)) {
		if _, system := systemFolders[folder]; system || !exists(folder) {
			continue
		}
		if may := needs[folder]; !c.allows(folder, may) {
			return fmt.Errorf("landlock: %s is outside the folders that the server was confined to at its start: restart it, or name folders for later in landlock.also", folder)
		}
	}
	return nil
}

// allows reports whether a right is granted at folder or above it.
func (c confinement) allows(folder string, may landlock.AccessFSSet) bool {
	for ; ; folder = filepath.Dir(folder) {
		if c[folder]&may == may {
			return true
		}
		if folder == filepath.Dir(folder) {
			return false
		}
	}
}

// writable returns the folders that may be written, for people.
func (c confinement) writable() []string {
	var all []string
	for _, folder := range slices.Sorted(maps.Keys(c)) {
		if c[folder]&mayWrite == mayWrite {
			all = append(all, folder)
		}
	}
	return all
}

// needs returns what a configuration needs: what the system needs, the folders of
// rules, the folders of files that are named, and those of files that are written.
func needs(cfg *config.Config, set *policy.Set) confinement {
	all := confinement{}
	add := func(folder string, may landlock.AccessFSSet) { all[realPath(folder)] |= may }
	for folder, may := range systemFolders {
		all[folder] |= may
	}
	if program, err := os.Executable(); err == nil {
		add(filepath.Dir(program), mayRun) // another program replaces it before an upgrade
	}
	namedFiles(reflect.ValueOf(*cfg), func(file string) { add(filepath.Dir(file), mayRead) })
	add(filepath.Dir(cfg.Path), mayRead)
	for _, file := range append([]string{cfg.Events.OnDisk(), cfg.PIDFile, cfg.Admin.Socket, cfg.TOTP.File}, cfg.HostKeys...) {
		if file != "" {
			add(filepath.Dir(file), mayWrite)
		}
	}
	for _, d := range cfg.Directories {
		if d.LDIF != "" {
			add(filepath.Dir(d.LDIF), mayWrite)
		}
	}
	if cfg.Mail.Enabled() {
		add(filepath.Dir(cfg.Mail.StateFile), mayWrite)
	}
	for _, folder := range cfg.Landlock.Also {
		add(folder, mayWrite)
	}
	for folder, may := range folderNeeds(set) {
		if !all.allows(folder, may) {
			all[folder] |= may
		}
	}
	return all
}

// folderNeeds returns what the folders of rules need. Those that can be anywhere need
// what landlock.also names.
func folderNeeds(set *policy.Set) confinement {
	all := confinement{}
	for _, folder := range fixedFolders(set) {
		if folder != "/" {
			all[folder] |= mayWrite
		}
	}
	return all
}

// fixedFolders returns the folders of rules, up to the first variable of each, as real
// paths.
func fixedFolders(set *policy.Set) []string {
	var all []string
	for _, f := range set.Folders(func(pattern string) []string { return []string{fixedPart(pattern)} }) {
		if f.Host != "" {
			all = append(all, realPath(f.Host))
		}
	}
	return all
}

// fixedPart is the folder above the first variable of a pattern.
func fixedPart(pattern string) string {
	fixed, _, _ := strings.Cut(pattern, "*")
	return filepath.Dir(fixed + "x")
}

// realPath follows the links of what exists of a path.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil { // the one of --config may be relative
		path = abs
	}
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	if path == filepath.Dir(path) {
		return path
	}
	return filepath.Join(realPath(filepath.Dir(path)), filepath.Base(path))
}

// namedFiles calls found with each path in the settings of v, but not of rules: what
// begins at the root, and what names a file from the working folder on.
func namedFiles(v reflect.Value, found func(string)) {
	switch v.Kind() {
	case reflect.String:
		fi, err := os.Stat(v.String())
		if filepath.IsAbs(v.String()) || err == nil && fi.Mode().IsRegular() {
			found(v.String())
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]policy.Rule]() {
			return
		}
		for i := range v.Len() {
			namedFiles(v.Index(i), found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				namedFiles(v.Field(i), found)
			}
		}
	}
}
