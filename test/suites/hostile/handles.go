package main

import (
	"fmt"
	"os"
	"strings"
)

var handleChecks = []check{
	{name: "sftp: handles of others, closed, of the wrong kind", connections: 2, run: wrongHandles},
	{name: "sftp: huge offsets and lengths", run: hugeOffsets},
	{name: "sftp: 6,000 open handles", run: manyHandles},
	{name: "sftp: as many open files as there may be, on ten channels", run: manyFiles},
	{name: "sftp: as many directories half read, on ten channels", run: manyDirectories},
}

// uses are requests with a handle. The first four are not for a directory.
func uses(h string) []step {
	return []step{
		{fxRead, str(h).u64(0).u32(4)},
		{fxWrite, str(h).u64(0).str("EVIL")},
		{fxFsetstat, str(h).size(0)},
		{fxExtended, extended("fsync@openssh.com").str(h)},
		{fxReaddir, str(h)},
		{fxExtended, extended("fstatvfs@openssh.com").str(h)},
	}
}

// useless fails if a step works.
func (s *stubborn) useless(what string, steps ...step) error {
	for _, x := range steps {
		r, err := s.ask(x.kind, x.body)
		if err != nil {
			return err
		}
		if !r.refused() {
			return fmt.Errorf("%s: request %d is answered by packet %d", what, x.kind, r.kind)
		}
	}
	return nil
}

func wrongHandles(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	other, err := t.stubborn()
	if err != nil {
		return err
	}
	defer other.end()

	name := t.dir + "/handles"
	if _, err := s.write(name, "data", forWrite|creating); err != nil {
		return err
	}
	file, err := s.handle(name, forRead|forWrite)
	if err != nil {
		return err
	}
	r, err := s.ask(fxOpendir, str(t.dir))
	if err != nil {
		return err
	}
	dir := r.text()
	for what, h := range map[string]string{"another's file": file, "another's directory": dir, "empty": "", "random": "zzzz", "long": strings.Repeat("h", 100000)} {
		if err := other.useless(what, uses(h)...); err != nil {
			return err
		}
	}
	if err := s.useless("a directory", uses(dir)[:4]...); err != nil {
		return err
	}
	if err := s.useless("a file", step{fxReaddir, str(file)}); err != nil {
		return err
	}
	if err := s.all(step{fxClose, str(file)}); err != nil {
		return err
	}
	if err := s.useless("closed", append(uses(file), step{fxClose, str(file)})...); err != nil {
		return err
	}
	text, err := os.ReadFile(t.disk + "/handles")
	if err == nil && string(text) != "data" {
		err = fmt.Errorf("the file holds %q", text)
	}
	return err
}

func hugeOffsets(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	name := t.dir + "/offsets"
	if _, err := s.write(name, strings.Repeat("d", 1000), forWrite|creating); err != nil {
		return err
	}
	h, err := s.handle(name, forRead|forWrite)
	if err != nil {
		return err
	}
	huge := []uint64{1<<63 - 1, 1 << 63, 1<<64 - 3, 1<<64 - 1}
	var steps []step
	for _, n := range []uint32{0, 1 << 20, 1 << 28, 0x7fffffff, 0x80000000, 0xffffffff} {
		for _, at := range append([]uint64{0, 999, 1000, 1 << 40}, huge...) {
			steps = append(steps, step{fxRead, str(h).u64(at).u32(n)})
		}
	}
	for _, at := range huge {
		steps = append(steps, step{fxWrite, str(h).u64(at).str("xxxx")}, step{fxFsetstat, str(h).size(at)})
	}
	for _, x := range steps { // the honest ones among them must not end the session
		if _, err := s.call(x.kind, x.body); err != nil {
			return fmt.Errorf("request %d %x: %w", x.kind, []byte(x.body), err)
		}
	}
	return s.all(step{fxFsetstat, str(h).size(0)}, step{fxClose, str(h)}, step{fxRemove, str(name)})
}

func manyHandles(t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	name := t.dir + "/many-handles"
	if _, err := s.write(name, "x", forWrite|creating); err != nil {
		return err
	}
	var held []string
	for refused := 0; len(held) < 6000 && refused < 50; {
		h, err := s.handle(name, forRead)
		if err != nil {
			return err
		}
		if h == "" {
			refused++
			continue
		}
		held = append(held, h)
	}
	if err := t.alive(); err != nil {
		return fmt.Errorf("while %d handles are held: %w", len(held), err)
	}
	for _, h := range held {
		if err := s.all(step{fxClose, str(h)}); err != nil {
			return err
		}
	}
	if h, err := s.handle(name, forRead); err != nil || h == "" {
		return fmt.Errorf("no file can be opened after %d were closed; %w", len(held), err)
	}
	return nil
}

// manyDirectories opens a large directory again and again and reads the beginning:
// the server holds what it has read ahead.
func manyDirectories(t *target) error {
	dir := t.disk + "/wide"
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range 3000 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o600); err != nil {
			return err
		}
	}
	return t.holdMany(func(s *session) (bool, error) {
		r, err := s.call(fxOpendir, str(t.dir+"/wide"))
		if err != nil || r.kind != fxHandle {
			return false, err
		}
		if r, err = s.call(fxReaddir, str(r.text())); err == nil && r.kind != fxName {
			err = fmt.Errorf("READDIR is answered by packet %d", r.kind)
		}
		return true, err
	})
}

// manyFiles holds files that are new, which may cost more than others.
func manyFiles(t *target) error {
	n := 0
	return t.holdMany(func(s *session) (bool, error) {
		n++
		r, err := s.call(fxOpen, str(fmt.Sprintf("%s/held%d", t.dir, n)).u32(forRead|forWrite|creating).noAttributes())
		return r.kind == fxHandle, err
	})
}

// holdMany opens something, on ten channels of one connection, until it is refused.
func (t *target) holdMany(more func(*session) (opened bool, err error)) error {
	client, err := t.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	held := 0
	for range 10 {
		s, err := open(client)
		if err == nil {
			err = s.hello()
		}
		if err != nil {
			return err
		}
		for opened := true; opened; held++ {
			if opened, err = more(s); err != nil {
				return err
			}
		}
	}
	if held < 100 {
		return fmt.Errorf("only %d could be open", held)
	}
	return t.alive()
}
