package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// makeFolder makes the host directory of f with its skeleton. A directory that exists
// is not changed. as is the person who will own it; nil: the service.
func makeFolder(f policy.Folder, as *actor) error {
	_, err := os.Stat(f.Host)
	if as != nil && errors.Is(err, iofs.ErrPermission) {
		return nil // the person may be able to open it
	}
	if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(f.Host)
	if as != nil {
		if err := reached(above); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(above, 0o755); err != nil {
		return err
	}
	if as != nil {
		return makeFor(f, as, above)
	}
	if err := os.Mkdir(f.Host, 0o700); err != nil && !errors.Is(err, iofs.ErrExist) {
		return err
	}
	return makeSkeleton(f, f.Host)
}

// makeFor makes the directory under another name, gives it to the person, and renames
// it. So a server that is killed leaves no folder of which the person owns only a
// part.
func makeFor(f policy.Folder, as *actor, above string) error {
	if err := private(above); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(above, ".berth-home-") // mode 0700
	if err != nil {
		return err
	}
	err = makeSkeleton(f, temp)
	if err == nil {
		err = give(temp, as)
	}
	if err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, f.Host, unix.RENAME_NOREPLACE)
	}
	if err == nil {
		return nil
	}
	_ = as.do(func() error { return os.RemoveAll(temp) }) // what has been given already
	_ = os.RemoveAll(temp)
	if errors.Is(err, iofs.ErrExist) {
		return nil // another session has made it meanwhile
	}
	return fmt.Errorf("make %s: %w", f.Host, err)
}

// private refuses a directory in which others could replace what is just being made.
func private(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if openTo(&st, 0) {
		return errOpen(dir)
	}
	return nil
}

// reached refuses a directory if others could put a link on the way to it, which would lead
// to where only root can write. What is missing is made by the server.
func reached(dir string) error {
	at, rest := "/", strings.Split(dir, "/")
	for links := 0; len(rest) > 0; {
		name := filepath.Join(at, rest[0])
		rest = rest[1:]
		var st unix.Stat_t
		switch err := unix.Lstat(name, &st); {
		case errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case name != "/" && openTo(&st, unix.S_ISVTX): // with this bit, nobody can replace what is root's
			return errOpen(name)
		case st.Mode&unix.S_IFMT != unix.S_IFLNK:
			at = name
			continue
		}
		target, err := os.Readlink(name)
		if links++; err == nil && links > maxLinks {
			err = unix.ELOOP
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rest = append(strings.Split(target, "/"), rest...)
		if filepath.IsAbs(target) {
			at = "/"
		}
	}
	return nil
}

// openTo reports whether others than root and the server may write in a directory. A
// mode that has a bit of but is accepted, and so is the mode of a link.
func openTo(st *unix.Stat_t, but uint32) bool {
	writes := st.Mode&unix.S_IFMT != unix.S_IFLNK && st.Mode&but == 0 && st.Mode&0o022 != 0
	return st.Uid != 0 && int(st.Uid) != os.Geteuid() || writes
}

func errOpen(dir string) error {
	return fmt.Errorf("%s: only root or the user of the server may be able to write here: folders are made in it and given to people", dir)
}

// give makes the person the owner of everything below dir, and then of dir.
func give(dir string, as *actor) error {
	var all []string
	err := filepath.WalkDir(dir, func(name string, _ iofs.DirEntry, err error) error {
		all = append(all, name)
		return err
	})
	for _, name := range slices.Backward(all) { // the inner ones first, while they can be reached
		if err == nil {
			err = os.Lchown(name, int(as.person.uid), int(as.person.gid))
		}
	}
	return err
}

func makeSkeleton(f policy.Folder, host string) error {
	dir, err := os.OpenRoot(host)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range f.Skeleton {
		if err := dir.MkdirAll(filepath.FromSlash(name), 0o777&^iofs.FileMode(f.Umask).Perm()); err != nil {
			return fmt.Errorf("skeleton %s: %w", name, err)
		}
	}
	return nil
}
