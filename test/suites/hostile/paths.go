package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
)

var pathChecks = []check{
	{name: "paths outside: read", run: readOutside},
	{name: "paths outside: stat, list, readlink", run: lookOutside},
	{name: "paths outside: make, remove, rename, chmod", run: changeOutside},
	{name: "realpath shows no path of the machine", run: realpath},
	{name: "the setuid bit is not for root", run: setuid},
	{name: "the root itself cannot be removed or renamed", run: theRoot},
}

// up leads from anywhere to the root of the machine, if it leads anywhere.
var up = strings.Repeat("../", 20)

// below is "../../…/x" for "/x".
func below(dir string) string { return up + strings.TrimPrefix(dir, "/") }

// escapes are names of the secrets outside, as a wrong server may take them.
func (t *target) escapes() []string {
	names := []string{
		"../" + t.beside() + "/secret",
		"/../" + t.beside() + "/secret",
		t.dir + "/../../" + t.beside() + "/secret",
	}
	for _, dir := range t.outside {
		names = append(names,
			dir+"/secret",
			below(dir)+"/secret",
			"/"+below(dir)+"/secret",
			t.dir+"/"+below(dir)+"/secret",
			"//"+dir+"/secret",
			"/./"+dir+"/secret",
			"/proc/self/root"+dir+"/secret",
			"/proc/1/root"+dir+"/secret",
			"/proc/self/cwd/"+below(dir)+"/secret",
			"/dev/fd/../../../.."+dir+"/secret",
			t.dir+`/..\..\`+below(dir)+"/secret",
			t.dir+"/%2e%2e/%2e%2e/"+dir+"/secret",
			dir+"/secret\x00",
			t.dir+"/x\x00/"+below(dir)+"/secret",
		)
	}
	return names
}

// ofTheMachine are files that no jail has.
var ofTheMachine = []string{
	"/etc/passwd", up + "etc/passwd", "/etc/shadow", "/root/.ssh/id_rsa", "/dev/sda", "/dev/vda",
	"/proc/self/environ", "/proc/self/root/etc/passwd", "/proc/self/maps", "/proc/self/mem",
}

func readOutside(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range slices.Concat(t.escapes(), ofTheMachine) {
		text, err := s.read(name)
		if err != nil {
			return err
		}
		if t.leaks(text) || (len(text) > 0 && !t.exists(name)) {
			return fmt.Errorf("%q could be read: %.60q", name, text)
		}
	}
	return nil
}

func lookOutside(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range slices.Concat(t.escapes(), ofTheMachine) {
		dir := strings.TrimSuffix(name, "/secret")
		for _, x := range []step{{fxStat, str(name)}, {fxLstat, str(name)}, {fxReadlink, str(name)}, {fxOpendir, str(dir)}} {
			r, err := s.ask(x.kind, x.body)
			if err != nil {
				return err
			}
			if !r.refused() && !t.exists(name) && !t.exists(dir) {
				return fmt.Errorf("request %d of %q is answered by packet %d", x.kind, name, r.kind)
			}
		}
	}
	return nil
}

func changeOutside(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, secret := range t.escapes() {
		fresh := strings.Replace(secret, "/secret", "/new", 1)
		dir := strings.Replace(secret, "/secret", "/d", 1)
		mine, stolen := t.dir+"/mine", t.dir+"/stolen"
		for _, f := range []struct {
			name  string
			flags uint32
		}{{mine, forWrite | creating | truncate}, {fresh, forWrite | creating | truncate}, {secret, forWrite}} {
			if _, err := s.write(f.name, "changed", f.flags); err != nil {
				return err
			}
		}
		err := s.all(
			step{fxMkdir, str(fresh + "-dir").noAttributes()},
			step{fxSetstat, str(secret).mode(0o4777)},
			step{fxSetstat, str(secret).size(0)},
			step{fxRmdir, str(dir)},
			step{fxRename, str(mine).str(fresh)},
			step{fxRename, str(secret).str(stolen)},
			step{fxRemove, str(secret)},
		)
		if err != nil {
			return err
		}
		if text, err := s.read(stolen); err != nil || t.leaks(text) {
			return fmt.Errorf("%q could be renamed to a place inside; %w", secret, err)
		}
	}
	return nil
}

func realpath(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range []string{".", "", "/", "..", up, t.dir, "/proc/self/root"} {
		r, err := s.ask(fxRealpath, str(name))
		if err != nil {
			return err
		}
		if bytes.Contains(r.body, []byte(t.root)) || bytes.Contains(r.body, []byte("..")) {
			return fmt.Errorf("the real path of %q is %.100q", name, r.body)
		}
	}
	return nil
}

func setuid(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	if _, err := s.write(t.dir+"/setuid", "x", forWrite|creating); err != nil {
		return err
	}
	if _, err := s.ask(fxSetstat, str(t.dir+"/setuid").mode(0o104755)); err != nil {
		return err
	}
	fi, err := os.Stat(t.disk + "/setuid")
	if err == nil && fi.Mode()&os.ModeSetuid != 0 {
		err = fmt.Errorf("the mode is %v", fi.Mode())
	}
	return err
}

func theRoot(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for _, name := range []string{"/", ".", "..", "", "//", "/..", "/."} {
		err := s.all(
			step{fxRmdir, str(name)},
			step{fxRemove, str(name)},
			step{fxRename, str(name).str(t.dir + "/root")},
			step{fxRename, str(t.dir).str(name)},
			step{fxMkdir, str(name).noAttributes()},
		)
		if err != nil {
			return err
		}
	}
	err = s.all(
		step{fxRename, str(t.dir).str(t.dir + "/self")},
		step{fxRename, str(t.dir).str(t.dir)},
	)
	if err != nil {
		return err
	}
	_, err = os.Stat(t.disk)
	return err
}
