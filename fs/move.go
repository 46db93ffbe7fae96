package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
)

// maxMove is the size in bytes above which a file is not moved to another
// folder, since that copies it while the client waits for an answer.
const maxMove = 1 << 30

// errMoved is about a file that is not the one that was copied any more.
var errMoved = errors.New("file changed while it was moved")

// move renames a regular file from one folder to another: it is copied under a
// temporary name, and removed once the copy is safe. An unfinished upload is not moved,
// nor a file that changes meanwhile.
func move(from, to layer, oldname, newname string, replace bool) error {
	fi, err := from.Lstat(oldname)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxMove {
		return ErrCrossFolder
	}
	if _, err := to.Lstat(newname); err == nil && !replace {
		return iofs.ErrExist
	}
	src, err := from.OpenFile(oldname, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	opened, err := src.Stat()
	if err == nil && isTemp(opened.Name()) { // what the person is uploading to oldname
		err = ErrCrossFolder
	}
	if err != nil {
		return err
	}
	temp := join(path.Dir(newname), newTempName())
	dst, err := to.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fi.Mode().Perm())
	if err != nil {
		return err
	}
	// The lock ends last: with the times of the old file, the copy looks like a broken upload.
	if _, err = lockTemp(to, dst, temp); err == nil || errors.Is(err, ErrNotSupported) {
		err = copyFile(src, dst, fi)
	}
	if err == nil {
		err = unmoved(from, oldname, fi)
	}
	if err == nil {
		err = to.Rename(temp, newname, replace)
	}
	if err == nil {
		err = to.syncDir(path.Dir(newname))
	} else {
		err = errors.Join(err, discard(to, temp))
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return from.Remove(oldname)
}

// copyFile copies src, which is fi, to dst, mode and times included.
func copyFile(src, dst file, fi iofs.FileInfo) error {
	_, err := io.CopyBuffer(io.NewOffsetWriter(dst, 0), io.NewSectionReader(src, 0, maxMove), make([]byte, 256<<10))
	if err == nil {
		err = dst.SetAttr(Attr{Set: AttrMode | AttrTimes, Mode: fi.Mode().Perm(), Atime: fi.ModTime(), Mtime: fi.ModTime()})
	}
	if err == nil {
		err = dst.Sync()
	}
	return err
}

// unmoved fails if name is no longer the file that fi describes.
func unmoved(l layer, name string, fi iofs.FileInfo) error {
	now, err := l.Lstat(name)
	if err == nil && (idOf(now) != idOf(fi) || now.Size() != fi.Size() || !now.ModTime().Equal(fi.ModTime())) {
		err = errMoved
	}
	return err
}
