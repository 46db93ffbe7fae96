package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
)

// owned is a host directory as its person sees it: each operation on a path is done as
// the person. It does not embed the jail, so that no operation is forgotten.
//
// What was opened is read and written as the service, unless the service is root. The
// kernel has decided by then, and a file on a network is used as whoever opened it.
type owned struct {
	jail    *jail // is used by the actor only
	opens   *jail // opens as the person by itself; nothing else that it does depends on rights
	as      *actor
	numbers []uint16 // of the person's credentials in each of rings; 0: none
}

// openAs opens a host directory as a person, who must be able to reach it: a link on
// the way leads nowhere that the person could not go. If as is nil, the layer is the
// jail itself.
func openAs(as *actor, host string, umask uint32, maxFile int64) (l layer, j *jail, err error) {
	open := func() (*jail, error) { return openJail(host, umask) }
	if as == nil {
		j, err = open()
	} else {
		j, err = doing(as, open)
	}
	if err != nil {
		return nil, nil, err
	}
	j.maxFile = maxFile
	if as == nil {
		return j, j, nil
	}
	j.acls = true
	o := newOwned(j, as)
	o.register()
	return o, j, nil
}

func newOwned(j *jail, as *actor) *owned {
	opens := *j
	o := &owned{jail: j, opens: &opens, as: as}
	opens.resolve = o.resolve
	return o
}

// register lets rings open as the person. Where that fails they are not used.
func (o *owned) register() {
	numbers := make([]uint16, len(rings()))
	_ = o.as.do(func() (err error) {
		for i, r := range rings() {
			if numbers[i], err = r.register(); err != nil {
				return err
			}
		}
		return nil
	})
	o.numbers = numbers
}

// resolve is a resolver that opens as the person, by a ring if one is free.
func (o *owned) resolve(root int, name string, flags int, mode uint32) (fd int, err error) {
	for i := range o.numbers {
		if fd, err, answered := rings()[i].open(&o.numbers[i], root, name, flags, mode); answered {
			return fd, err
		}
	}
	return doing(o.as, func() (int, error) { return o.jail.resolve(root, name, flags, mode) })
}

// OpenFile acts once where there are no rings: a new file needs a look at its directory, too.
func (o *owned) OpenFile(name string, flag int, perm iofs.FileMode) (f file, err error) {
	if len(o.numbers) > 0 {
		f, err = o.opens.OpenFile(name, flag, perm)
	} else {
		f, err = doing(o.as, func() (file, error) { return o.jail.OpenFile(name, flag, perm) })
	}
	if err != nil {
		return nil, err
	}
	return &ownedFile{f, o.as}, nil
}

// ownedFile is an open file of a person, who changes its attributes.
type ownedFile struct {
	file
	as *actor
}

func (f *ownedFile) WriteAt(p []byte, off int64) (int, error) {
	if !f.as.writes {
		return f.file.WriteAt(p, off)
	}
	return doing(f.as, func() (int, error) { return f.file.WriteAt(p, off) })
}

func (f *ownedFile) SetAttr(a Attr) error {
	return f.as.do(func() error { return f.file.SetAttr(a) })
}

func (o *owned) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	const atOnce = 64 // to act as the person then costs little in comparison
	return o.opens.readDir(name, o.as.do, atOnce)
}

func (o *owned) names(name string) iter.Seq2[string, error]  { return o.opens.names(name) }
func (o *owned) Lstat(name string) (iofs.FileInfo, error)    { return o.opens.Lstat(name) }
func (o *owned) identify(name string) (iofs.FileInfo, error) { return o.opens.identify(name) }
func (o *owned) StatFS(name string) (Usage, error)           { return o.opens.StatFS(name) }

func (o *owned) Readlink(name string) (string, error) {
	return doing(o.as, func() (string, error) { return o.jail.Readlink(name) })
}

func (o *owned) Mkdir(name string, perm iofs.FileMode) error {
	return o.as.do(func() error { return o.jail.Mkdir(name, perm) })
}

func (o *owned) Remove(name string) error {
	return o.as.do(func() error { return o.jail.Remove(name) })
}

func (o *owned) Rmdir(name string) error {
	return o.as.do(func() error { return o.jail.Rmdir(name) })
}

func (o *owned) Rename(oldname, newname string, replace bool) error {
	return o.as.do(func() error { return o.jail.Rename(oldname, newname, replace) })
}

func (o *owned) Symlink(target, name string) error {
	return o.as.do(func() error { return o.jail.Symlink(target, name) })
}

func (o *owned) SetAttr(name string, a Attr) error {
	return o.as.do(func() error { return o.jail.SetAttr(name, a) })
}

func (o *owned) Link(oldname, newname string) error {
	return o.as.do(func() error { return o.jail.Link(oldname, newname) })
}

// syncDir leaves it to the kernel where the person may not read the directory, as in a
// drop box: such an upload is whole, and the kernel writes its name within seconds.
func (o *owned) syncDir(name string) error {
	err := o.opens.syncDir(name)
	if errors.Is(err, iofs.ErrPermission) {
		return nil
	}
	return err
}

// Close waits for opens that run: their numbers must not be those of somebody else.
func (o *owned) Close() error {
	err := o.jail.Close()
	for i := range o.numbers {
		rings()[i].forget(&o.numbers[i])
	}
	return err
}
