package fs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// tempPrefix begins the name of every file that is not complete yet. Such files
// belong to the server: no client sees, opens or makes one.
const tempPrefix = ".berth-upload-"

// newTempName is a base name that no other file uses.
func newTempName() string { return tempPrefix + strings.ToLower(rand.Text()) }

// partPrefix begins the names of a person's uploads. Nobody can choose to have
// that of somebody else.
func partPrefix(person string) string {
	sum := sha256.Sum256([]byte(person))
	return tempPrefix + strings.ToLower(base32.HexEncoding.EncodeToString(sum[:10])) + "-"
}

// partName is where a person's upload to name is written until it is whole. It
// is always the same, so that a broken upload is found again, by its person
// only. If name is too long for that, it is another one each time.
func partName(person, name string) string {
	if base := partPrefix(person) + path.Base(name); len(base) <= maxBase {
		return join(path.Dir(name), base)
	}
	return join(path.Dir(name), newTempName())
}

func isTemp(base string) bool { return strings.HasPrefix(base, tempPrefix) }

// hasTemp reports whether any element of name is that of a temporary file.
func hasTemp(name string) bool { return strings.Contains(name, "/"+tempPrefix) }

// stale reports whether fi is a temporary file that nobody has changed for age.
func stale(fi iofs.FileInfo, age time.Duration) bool {
	return isTemp(fi.Name()) && fi.Mode().IsRegular() && time.Since(fi.ModTime()) > age
}

// discard removes a temporary file that may not be there.
func discard(l layer, temp string) error {
	if err := l.Remove(temp); !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return nil
}

// lockTemp locks f, and checks that temp is still its name: the session that had the
// lock before may have finished the upload.
func lockTemp(l layer, f file, temp string) (iofs.FileInfo, error) {
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := f.tryLock(); err != nil {
		return opened, err
	}
	named, err := l.Lstat(temp)
	if err == nil && idOf(opened) != idOf(named) {
		err = iofs.ErrNotExist
	}
	return opened, err
}

// clearTemp removes a broken upload. It fails for an upload that any process is
// still writing.
func clearTemp(l layer, temp string) error {
	f, err := l.OpenFile(temp, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err = lockTemp(l, f, temp); err == nil {
		err = l.Remove(temp)
	}
	return errors.Join(err, f.Close())
}
