package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var raceChecks = []check{
	{name: "race: a directory and a symlink change places on the disk", connections: 5, run: func(t *target) error { return race(t, swapOnDisk) }},
	{name: "race: a directory and a symlink change places over SFTP", connections: 5, run: func(t *target) error { return race(t, swapOverSFTP) }},
}

// raceTime is how long a race lasts.
const raceTime = 5 * time.Second

// race works below a directory that becomes a link to the outside and back.
func race(t *target, swap func(ctx context.Context, t *target) error) error {
	dir := t.disk + "/race"
	if err := errors.Join(
		os.RemoveAll(dir),
		os.MkdirAll(dir+"/d", 0o777),
		os.WriteFile(dir+"/d/secret", []byte("inside\n"), 0o666),
		os.Symlink(t.outside[0], dir+"/link"),
	); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), raceTime)
	defer cancel()
	var running sync.WaitGroup
	errs := make(chan error, len(racers)+1)
	running.Go(func() { errs <- swap(ctx, t) })
	for _, racer := range racers {
		running.Go(func() { errs <- racer.run(ctx, t) })
	}
	running.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// A racer does the same again and again, below the directory p.
type racer func(t *target, s *stubborn, p string) error

var racers = []racer{
	func(t *target, s *stubborn, p string) error {
		text, err := s.read(p + "/secret")
		if t.leaks(text) {
			return errors.New("the secret could be read")
		}
		return err
	},
	func(_ *target, s *stubborn, p string) error {
		if _, err := s.write(p+"/new", "x", forWrite|creating); err != nil {
			return err
		}
		return s.all(step{fxRemove, str(p + "/new")})
	},
	func(_ *target, s *stubborn, p string) error {
		return s.all(
			step{fxMkdir, str(p + "/new-dir").noAttributes()},
			step{fxRmdir, str(p + "/new-dir")},
			step{fxSetstat, str(p + "/secret").mode(0o640)},
			step{fxSetstat, str(p + "/secret").mode(0o644)},
		)
	},
	func(t *target, s *stubborn, p string) error {
		r, err := s.ask(fxStat, str(p+"/secret"))
		if err != nil {
			return err
		}
		if size := len(t.token) + 1; r.kind == fxAttrs && bytes.Contains(r.body, packet(nil).u64(uint64(size))) {
			return fmt.Errorf("the size of the secret is told")
		}
		return s.all(
			step{fxRename, str(p + "/new").str(p + "/new2")},
			step{fxSymlink, str("x").str(p + "/new-symlink")},
		)
	},
}

func (r racer) run(ctx context.Context, t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	for ctx.Err() == nil {
		if err := r(t, s, t.dir+"/race/d"); err != nil {
			return err
		}
	}
	return nil
}

func swapOnDisk(ctx context.Context, t *target) error {
	d, link := t.disk+"/race/d", t.disk+"/race/link"
	for i := 0; ctx.Err() == nil; i++ {
		if err := unix.Renameat2(unix.AT_FDCWD, d, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
			return err
		}
		if i%64 == 0 {
			time.Sleep(50 * time.Microsecond) // leaves the server some processor time
		}
	}
	return nil
}

func swapOverSFTP(ctx context.Context, t *target) error {
	s, err := t.stubborn()
	if err != nil {
		return err
	}
	defer s.end()
	move := func(from, to string) step {
		return step{fxRename, str(t.dir + "/race/" + from).str(t.dir + "/race/" + to)}
	}
	for ctx.Err() == nil {
		if err := s.all(move("d", "t"), move("link", "d"), move("d", "link"), move("t", "d")); err != nil {
			return err
		}
	}
	return nil
}
