package fs

import (
	"cmp"
	"errors"
	"hash/fnv"
	iofs "io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// jail is a host directory that no name leads out of. Every name is resolved
// relative to a handle of the directory and stays inside, also while others move
// directories.
type jail struct {
	resolve resolver
	umask   uint32
	acls    bool  // where a directory has a default ACL, umask does not apply
	maxFile int64 // bytes of a file; 0: no limit
	root    *root
}

// root is the directory of a jail. Jails that differ only in how they resolve names
// share it.
type root struct {
	mu  sync.RWMutex // held for reading while dir is in use, so that its number is not another file's
	dir *hostDir     // nil when closed
}

// hostDir is a host directory that this process has open once, for all sessions
// that have it in their view. So the descriptors of a server grow with its
// directories and not with its sessions.
type hostDir struct {
	fd    int // an O_PATH handle
	id    hostID
	users int
}

// hostID identifies a directory in one mount. The mount counts, because a
// directory that is also mounted read-only has the same files and other rights.
type hostID struct {
	host            string // for kernels before 5.8, which do not know mount
	dev, ino, mount uint64
}

// hostDirs are those that are open.
var hostDirs = struct {
	sync.Mutex
	open map[hostID]*hostDir
}{open: map[hostID]*hostDir{}}

// openHost returns the handle of a host directory, for one more user.
func openHost(host string) (*hostDir, error) {
	fd, err := unix.Open(host, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	var stx unix.Statx_t // filters of system calls may refuse it
	_ = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stx)
	id := hostID{host, uint64(st.Dev), st.Ino, stx.Mnt_id}
	hostDirs.Lock()
	defer hostDirs.Unlock()
	h, known := hostDirs.open[id]
	if known {
		_ = unix.Close(fd)
	} else {
		h = &hostDir{fd: fd, id: id}
		hostDirs.open[id] = h
	}
	h.users++
	return h, nil
}

// close ends one use. Each user calls it once.
func (h *hostDir) close() error {
	hostDirs.Lock()
	defer hostDirs.Unlock()
	if h.users--; h.users > 0 {
		return nil
	}
	delete(hostDirs.open, h.id)
	return unix.Close(h.fd)
}

// harmless are the flags that keep any open from waiting, from becoming the
// terminal of this process and from being inherited.
const harmless = unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_LARGEFILE

// tries bounds how often a call is repeated that lost a race (EAGAIN, see
// openat2(2)) or was interrupted.
const tries = 64

func openJail(host string, umask uint32) (*jail, error) {
	dir, err := openHost(host)
	if err != nil {
		return nil, err
	}
	return &jail{resolve: resolve(), root: &root{dir: dir}, umask: umask}, nil
}

// folding are the types of file systems that find a file by other spellings too.
var folding = []uint32{unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC}

// foldsNames reports whether the file system compares names as Windows does.
func (j *jail) foldsNames() bool {
	var st unix.Statfs_t
	return unix.Fstatfs(j.root.dir.fd, &st) == nil && slices.Contains(folding, uint32(st.Type))
}

// leaseTime is how long an open waits for others to give back a file. They usually need
// milliseconds. The kernel gives them 45 s, but a whole folder with a quota may wait.
const leaseTime = 10 * time.Second

// open resolves name. The handle is not inherited by other programs. An NFS server or
// Samba on this machine may have promised its clients that a file does not change. The
// kernel then has them called back, and answers EAGAIN to an open that does not wait.
func (j *jail) open(name string, flags int, mode uint32) (fd int, err error) {
	if err := valid(name); err != nil {
		return -1, err
	}
	var waited time.Duration
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		fd, err = j.tryOpen(name, flags, mode)
		if !errors.Is(err, unix.EAGAIN) || waited > leaseTime {
			return fd, err
		}
		time.Sleep(wait)
		waited += wait
	}
}

func (j *jail) tryOpen(name string, flags int, mode uint32) (fd int, err error) {
	j.root.mu.RLock()
	defer j.root.mu.RUnlock()
	if j.root.dir == nil {
		return -1, iofs.ErrClosed
	}
	err = again(func() (err error) {
		fd, err = j.resolve(j.root.dir.fd, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// use calls do with a handle of name.
func (j *jail) use(name string, flags int, do func(fd int) error) error {
	fd, err := j.open(name, flags, 0)
	if err != nil {
		return translate(err)
	}
	defer unix.Close(fd)
	return translate(do(fd))
}

// again repeats a system call that was interrupted.
func again(call func() error) error {
	var err error
	for range tries {
		if err = call(); !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return err
		}
	}
	return err
}

// at calls do with a handle of the directory that name is in, and the last
// element of name. The root itself has none.
func (j *jail) at(name string, do func(dir int, base string) error) error {
	if name == "/" {
		return iofs.ErrPermission
	}
	dir, base := path.Split(name)
	return j.use(path.Clean(dir), unix.O_PATH|unix.O_DIRECTORY, func(fd int) error {
		return again(func() error { return do(fd, base) })
	})
}

func (j *jail) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	mode := uint32(0) // openat2 refuses one where nothing is made
	if flag&unix.O_CREAT != 0 {
		var err error
		if mode, err = j.modeIn(path.Dir(name), perm); err != nil {
			return nil, err
		}
	}
	fd, err := j.open(name, flag&openFlags|harmless, mode)
	if err != nil {
		return nil, translate(err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = regular(FileMode(st.Mode))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, translate(err)
	}
	return &jailFile{fd: fd, name: name, max: j.maxFile, appends: flag&unix.O_APPEND != 0}, nil
}

// modeIn is the mode of what is made in the directory dir: perm without the umask.
func (j *jail) modeIn(dir string, perm iofs.FileMode) (mode uint32, err error) {
	if !j.acls || uint32(perm.Perm())&j.umask == 0 {
		return uint32(perm.Perm()) &^ j.umask, nil
	}
	err = j.use(dir, unix.O_PATH|unix.O_DIRECTORY, func(fd int) error {
		mode = j.modeAt(fd, perm)
		return nil
	})
	return mode, err
}

// modeAt is modeIn for the directory that dir is a handle of. A default ACL says what
// others may do with what is made there, instead of the umask: acl(5).
func (j *jail) modeAt(dir int, perm iofs.FileMode) uint32 {
	if j.acls {
		if n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(dir), "system.posix_acl_default", nil); err == nil && n > 0 {
			return uint32(perm.Perm())
		}
	}
	return uint32(perm.Perm()) &^ j.umask
}

// buffers hold directory entries on their way from the kernel.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (j *jail) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return j.readDir(name, directly, 1)
}

// A runner calls op, perhaps as somebody else.
type runner func(op func() error) error

func directly(op func() error) error { return op() }

// readDir is ReadDir. It reads so many entries at once in run, and yields them
// outside of run. A listing that is not read to its end keeps that many entries in
// memory. It fails if there is something in the directory and no attributes can be
// read.
func (j *jail) readDir(name string, run runner, atOnce int) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		found := make([]iofs.FileInfo, 0, atOnce)
		var unseen error
		shown := false
		err := j.entries(name, func(fd int, names []string) (more bool, err error) {
			var some []string
			look := func() error {
				var failed error
				found, failed = infosIn(fd, some, found[:0])
				unseen = cmp.Or(unseen, failed)
				return nil
			}
			for some = range slices.Chunk(names, atOnce) {
				if err := run(look); err != nil {
					return false, err
				}
				for _, fi := range found {
					shown = true
					if !yield(fi, nil) {
						return false, nil
					}
				}
			}
			return true, nil
		})
		if err == nil && !shown {
			err = translate(unseen)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// infosIn appends the attributes of names in a directory. Names that no longer exist are
// left out, and so are names whose attributes cannot be read, such as a mount whose
// server does not answer. The error is about the first of the latter.
func infosIn(dir int, names []string, found []iofs.FileInfo) (_ []iofs.FileInfo, unseen error) {
	for _, base := range names {
		var st unix.Stat_t
		err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case err == nil:
			found = append(found, newInfo(base, &st))
		case !errors.Is(err, unix.ENOENT):
			unseen = cmp.Or(unseen, err)
		}
	}
	return found, unseen
}

func (j *jail) names(name string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := j.entries(name, func(_ int, names []string) (more bool, err error) {
			return !slices.ContainsFunc(names, func(base string) bool { return !yield(base, nil) }), nil
		})
		if err != nil {
			yield("", err)
		}
	}
}

// entries calls do with a buffer of names at a time until it wants no more. fd is a
// handle of the directory.
func (j *jail) entries(name string, do func(fd int, names []string) (more bool, err error)) error {
	fd, err := j.open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return translate(err)
	}
	defer unix.Close(fd)
	var names []string
	for {
		var n int
		if n, names, err = nextNames(fd, names); err != nil || n == 0 {
			return translate(err)
		}
		if more, err := do(fd, names); !more {
			return translate(err)
		}
	}
}

// nextNames reads the next n bytes of entries, 0 at the end, and puts their
// names into a slice that is used again.
func nextNames(fd int, names []string) (n int, _ []string, err error) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	err = again(func() (err error) {
		n, err = unix.ReadDirent(fd, buf[:])
		return err
	})
	n = max(n, 0)
	_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
	return n, names, err
}

func newInfo(name string, st *unix.Stat_t) *info {
	return &info{
		name:  name,
		size:  st.Size,
		mode:  FileMode(st.Mode),
		mtime: time.Unix(st.Mtim.Unix()),
		ctime: time.Unix(st.Ctim.Unix()),
		owner: Owner{UID: st.Uid, GID: st.Gid, Nlink: uint64(st.Nlink), Atime: time.Unix(st.Atim.Unix())},
		id:    fileID{dev: uint64(st.Dev), ino: st.Ino},
	}
}

func (j *jail) Lstat(name string) (iofs.FileInfo, error)    { return j.stat(name, infoOfHandle) }
func (j *jail) identify(name string) (iofs.FileInfo, error) { return j.stat(name, identifyHandle) }

func (j *jail) stat(name string, stat func(fd int, name string) (iofs.FileInfo, error)) (fi iofs.FileInfo, err error) {
	err = j.use(name, unix.O_PATH|unix.O_NOFOLLOW, func(fd int) error {
		fi, err = stat(fd, path.Base(name))
		return err
	})
	return fi, err
}

func infoOfHandle(fd int, name string) (iofs.FileInfo, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, translate(err)
	}
	return newInfo(name, &st), nil
}

// identifyHandle is infoOfHandle with the generation. The generation is a part of
// the handle that the kernel's file server gives to its clients, so it is never
// used twice. Where there is no such handle, the time of birth is used instead.
func identifyHandle(fd int, name string) (iofs.FileInfo, error) {
	fi, err := infoOfHandle(fd, name)
	if err != nil {
		return nil, err
	}
	generation := &fi.(*info).id.generation
	var stx unix.Statx_t
	if h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH); err == nil {
		sum := fnv.New64a()
		_, _ = sum.Write(h.Bytes())
		*generation = sum.Sum64()
	} else if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &stx) == nil {
		*generation = uint64(stx.Btime.Sec)<<30 | uint64(stx.Btime.Nsec)
	}
	return fi, nil
}

func (j *jail) Readlink(name string) (string, error) {
	if name == "/" {
		return "", iofs.ErrInvalid
	}
	buf := make([]byte, maxName)
	var n int
	err := j.at(name, func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func (j *jail) Mkdir(name string, perm iofs.FileMode) error {
	if name == "/" {
		return iofs.ErrExist
	}
	return j.at(name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, j.modeAt(dir, perm))
	})
}

func (j *jail) Remove(name string) error {
	return j.at(name, func(dir int, base string) error {
		return unix.Unlinkat(dir, base, 0)
	})
}

func (j *jail) Rmdir(name string) error {
	return j.at(name, func(dir int, base string) error {
		return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
	})
}

func (j *jail) Rename(oldname, newname string, replace bool) error {
	rename := renameNew
	if replace {
		rename = unix.Renameat
	}
	return j.pair(oldname, newname, rename)
}

// renameNew renames without replacing. A file system that cannot do that in
// one step gets a link, or for a directory the check and the step.
func renameNew(olddir int, oldbase string, newdir int, newbase string) error {
	err := unix.Renameat2(olddir, oldbase, newdir, newbase, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if unix.Linkat(olddir, oldbase, newdir, newbase, 0) == nil {
		return unix.Unlinkat(olddir, oldbase, 0)
	}
	var st unix.Stat_t
	if unix.Fstatat(newdir, newbase, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return unix.EEXIST
	}
	return unix.Renameat(olddir, oldbase, newdir, newbase)
}

func (j *jail) Link(oldname, newname string) error {
	return j.pair(oldname, newname, func(olddir int, oldbase string, newdir int, newbase string) error {
		var st unix.Stat_t
		if err := unix.Fstatat(olddir, oldbase, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if err := regular(FileMode(st.Mode)); err != nil && st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return err
		}
		return unix.Linkat(olddir, oldbase, newdir, newbase, 0)
	})
}

// pair calls do with handles of the directories of both names, which often are one.
func (j *jail) pair(oldname, newname string, do func(olddir int, oldbase string, newdir int, newbase string) error) error {
	return j.at(oldname, func(olddir int, oldbase string) error {
		if path.Dir(oldname) == path.Dir(newname) && newname != "/" {
			return do(olddir, oldbase, olddir, path.Base(newname))
		}
		return j.at(newname, func(newdir int, newbase string) error {
			return do(olddir, oldbase, newdir, newbase)
		})
	})
}

func (j *jail) Symlink(target, name string) error {
	switch { // no link can hold such a target
	case len(target) >= maxName:
		return ErrNameTooLong
	case target == "" || strings.IndexByte(target, 0) >= 0:
		return iofs.ErrInvalid
	}
	return j.at(name, func(dir int, base string) error {
		return unix.Symlinkat(target, dir, base)
	})
}

func (j *jail) StatFS(name string) (Usage, error) {
	var st unix.Statfs_t
	err := j.use(name, unix.O_PATH, func(fd int) error {
		return again(func() error { return unix.Fstatfs(fd, &st) })
	})
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		BlockSize: uint64(st.Bsize), Blocks: st.Blocks, BlocksFree: st.Bfree, BlocksAvail: st.Bavail,
		Files: st.Files, FilesFree: st.Ffree,
		FSID:  uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		Flags: uint64(st.Flags), NameMax: uint64(st.Namelen),
	}, nil
}

func (j *jail) syncDir(name string) error {
	return j.use(name, unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) error {
		return again(func() error { return unix.Fsync(fd) })
	})
}

func (j *jail) Close() error {
	j.root.mu.Lock()
	defer j.root.mu.Unlock()
	dir := j.root.dir
	if j.root.dir = nil; dir == nil {
		return nil
	}
	return translate(dir.close())
}
