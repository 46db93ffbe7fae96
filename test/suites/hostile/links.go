package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

var linkChecks = []check{
	{name: "symlinks outside, made over SFTP", run: func(t *target) error { return throughLinks(t, linkOverSFTP) }},
	{name: "symlinks outside, made on the disk", run: func(t *target) error { return throughLinks(t, linkOnDisk) }},
	{name: "hard links to what is outside", run: hardLinks},
	{name: "chains and loops of symlinks", run: linkChains},
}

// targets are where a symlink may lead outside.
func (t *target) targets() []string {
	targets := []string{"/", "..", "../../../" + t.beside()}
	for _, dir := range t.outside {
		targets = append(targets, dir, below(dir), "/proc/self/root"+dir)
	}
	return targets
}

// linkOverSFTP has OpenSSH's order of arguments, which is not the draft's.
func linkOverSFTP(t *target, s *stubborn, to, name string) error {
	_, err := s.ask(fxSymlink, str(to).str(t.dir+"/"+name))
	return err
}

func linkOnDisk(t *target, _ *stubborn, to, name string) error {
	return os.Symlink(to, t.disk+"/"+name)
}

// throughLinks tries everything through links to the outside.
func throughLinks(t *target, link func(t *target, s *stubborn, to, name string) error) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, to := range t.targets() {
		os.Remove(t.disk + "/link")
		if err := link(t, s, to, "link"); err != nil {
			return err
		}
		err := errors.Join(t.readThrough(s, t.dir+"/link"), t.changeThrough(s, t.dir+"/link"))
		if err != nil {
			return fmt.Errorf("by a link to %s: %w", to, err)
		}
		if changes := t.restoreOutside(); changes != "" {
			return fmt.Errorf("by a link to %s: %s", to, changes)
		}
	}
	return os.Remove(t.disk + "/link")
}

// readThrough looks for the secrets behind a link.
func (t *target) readThrough(s *stubborn, link string) error {
	for _, rest := range []string{"/secret", "", t.outside[0] + "/secret", "/../secret", "/d/../secret", "/etc/passwd"} {
		text, err := s.read(link + rest)
		if err != nil {
			return err
		}
		if t.leaks(text) {
			return fmt.Errorf("%s could be read", link+rest)
		}
	}
	names, err := s.list(link)
	if slices.Contains(names, "secret") {
		return errors.New("the outside could be listed")
	}
	return err
}

// changeThrough tries to change files behind a link, and to move the secret
// inside.
func (t *target) changeThrough(s *stubborn, link string) error {
	secret := link + "/secret"
	for _, flags := range []uint32{forWrite, forWrite | truncate, forWrite | creating, forWrite | appending, forWrite | creating | exclusive} {
		for _, name := range []string{secret, link, link + "/new"} {
			if _, err := s.write(name, "changed", flags); err != nil {
				return err
			}
		}
	}
	if _, err := s.write(t.dir+"/mine", "x", forWrite|creating); err != nil {
		return err
	}
	mine := t.dir + "/mine"
	err := s.all(
		step{fxMkdir, str(link + "/new-dir").noAttributes()},
		step{fxSetstat, str(secret).mode(0o600)},
		step{fxSetstat, str(secret).size(0)},
		step{fxSetstat, str(secret).u32(attrTimes).u32(1).u32(1)},
		step{fxSetstat, str(link).mode(0o700)},
		step{fxSetstat, str(link).u32(attrTimes).u32(1).u32(1)},
		step{fxExtended, extended("lsetstat@openssh.com").str(secret).mode(0o4777)},
		step{fxRename, str(secret).str(t.dir + "/stolen1")},
		step{fxExtended, extended("posix-rename@openssh.com").str(secret).str(t.dir + "/stolen2")},
		step{fxExtended, extended("hardlink@openssh.com").str(secret).str(t.dir + "/stolen3")},
		step{fxExtended, extended("hardlink@openssh.com").str(link).str(t.dir + "/stolen4")},
		step{fxExtended, extended("hardlink@openssh.com").str(mine).str(link + "/new-link")},
		step{fxExtended, extended("posix-rename@openssh.com").str(mine).str(secret)},
		step{fxRename, str(mine).str(link + "/moved")},
		step{fxSymlink, str("x").str(link + "/new-symlink")},
		step{fxRemove, str(secret)},
		step{fxRmdir, str(link + "/d")},
	)
	if err != nil {
		return err
	}
	for i := range 4 {
		name := fmt.Sprintf("%s/stolen%d", t.dir, i+1)
		text, err := s.read(name)
		if err != nil {
			return err
		}
		if t.leaks(text) {
			return fmt.Errorf("the secret could be got as %s", name)
		}
		if _, err := s.ask(fxRemove, str(name)); err != nil {
			return err
		}
	}
	return nil
}

func hardLinks(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range t.escapes() {
		if _, err := s.ask(fxExtended, extended("hardlink@openssh.com").str(name).str(t.dir+"/hard")); err != nil {
			return err
		}
		text, err := s.read(t.dir + "/hard")
		if err != nil {
			return err
		}
		if t.leaks(text) {
			return fmt.Errorf("%q could be linked to", name)
		}
		os.Remove(t.disk + "/hard")
	}
	return nil
}

func linkChains(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	const length = 60
	steps := []step{
		{fxSymlink, str("loop").str(t.dir + "/loop")},
		{fxSymlink, str(below(t.outside[0])).str(fmt.Sprintf("%s/chain%d", t.dir, length))},
	}
	for i := range length {
		steps = append(steps, step{fxSymlink, str(fmt.Sprintf("chain%d", i+1)).str(fmt.Sprintf("%s/chain%d", t.dir, i))})
	}
	if err := s.all(steps...); err != nil {
		return err
	}
	for _, name := range strings.Fields("loop loop/x chain0/secret chain40/secret") {
		text, err := s.read(t.dir + "/" + name)
		if err != nil {
			return err
		}
		if t.leaks(text) {
			return fmt.Errorf("%s could be read", name)
		}
	}
	return nil
}
