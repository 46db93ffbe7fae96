package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

var nameChecks = []check{
	{name: "sftp: names of 64 KiB, thousands of levels", run: longNames},
	{name: "sftp: a name is not cut at a NUL", run: nulInName},
	{name: "sftp: odd names are taken as they are, or refused", run: oddNames},
}

func longNames(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range []string{
		strings.Repeat("n", 256), strings.Repeat("n", 4096), strings.Repeat("n", 65536), strings.Repeat("d/", 2500) + "x",
		strings.Repeat("/", 60000), strings.Repeat("../", 20000), strings.Repeat("./", 30000),
	} {
		name = t.dir + "/" + name
		err := s.all(
			step{fxStat, str(name)}, step{fxOpendir, str(name)}, step{fxRealpath, str(name)}, step{fxReadlink, str(name)},
			step{fxRemove, str(name)}, step{fxMkdir, str(name).noAttributes()},
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func nulInName(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	if _, err := s.write(t.dir+"/nul\x00tail", "x", forWrite|creating); err != nil {
		return err
	}
	if _, err := os.Lstat(t.disk + "/nul"); err == nil {
		return fmt.Errorf("%q has become %q", "nul\x00tail", "nul")
	}
	return nil
}

func oddNames(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range []string{
		"\xff\xfe\x80", "caf\xe9", "new\nline", "tab\tq\"uote", "\x1b[31mred", "ünï-日本-😀", "-rf", "*", `back\slash`,
		" lead", "trail ", "a:b", "~", "...", strings.Repeat("n", 255),
	} {
		status, err := s.write(t.dir+"/"+name, "x", forWrite|creating|truncate)
		if err != nil {
			return err
		}
		if status != statusOK {
			continue
		}
		if _, err := os.Lstat(t.disk + "/" + name); err != nil {
			return err
		}
		names, err := s.list(t.dir)
		if err != nil {
			return err
		}
		if !slices.Contains(names, name) {
			return fmt.Errorf("%q is not listed", name)
		}
		if r, err := s.ask(fxRemove, str(t.dir+"/"+name)); err != nil || r.refused() {
			return fmt.Errorf("%q cannot be removed: status %d, %w", name, r.status(), err)
		}
	}
	return nil
}
