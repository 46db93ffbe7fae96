package main

import (
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// makeOutside puts a secret into each place outside.
func (t *target) makeOutside() error {
	for _, dir := range t.outside {
		sub, secret := filepath.Join(dir, "d"), filepath.Join(dir, "secret")
		if err := os.MkdirAll(sub, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(secret, []byte(t.token+"\n"), 0o666); err != nil {
			return err
		}
		for name, mode := range map[string]os.FileMode{dir: 0o777, sub: 0o777, secret: 0o666} {
			if err := os.Chmod(name, mode); err != nil {
				return err
			}
		}
	}
	t.before = t.look()
	return nil
}

// look describes everything outside, with what must stay as it is.
func (t *target) look() map[string]string {
	seen := map[string]string{}
	for _, dir := range t.outside {
		filepath.WalkDir(dir, func(name string, d iofs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			fi, err := d.Info()
			if err != nil {
				return nil
			}
			stat := fi.Sys().(*syscall.Stat_t)
			seen[name] = fmt.Sprint(fi.Mode(), stat.Uid, stat.Gid, stat.Nlink)
			if fi.Mode().IsRegular() {
				text, _ := os.ReadFile(name)
				seen[name] += fmt.Sprint(fi.ModTime(), string(text))
			}
			return nil
		})
	}
	return seen
}

// restoreOutside reports what has changed outside, and restores it, so that one
// fault does not fail every later check.
func (t *target) restoreOutside() string {
	var changes []string
	now := t.look()
	for name, was := range t.before {
		if is, ok := now[name]; !ok {
			changes = append(changes, "removed "+name)
		} else if is != was {
			changes = append(changes, "changed "+name)
		}
	}
	for name := range now {
		if _, ok := t.before[name]; !ok {
			changes = append(changes, "made "+name)
		}
	}
	if changes == nil {
		return ""
	}
	for _, dir := range t.outside {
		os.RemoveAll(dir)
	}
	if err := t.makeOutside(); err != nil {
		changes = append(changes, err.Error())
	}
	return strings.Join(changes[:min(len(changes), 6)], ", ")
}
