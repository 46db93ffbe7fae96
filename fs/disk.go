package fs

import (
	"encoding/binary"
	"fmt"
	iofs "io/fs"

	"golang.org/x/sys/unix"

	"berth/policy"
)

// Disk has the owner, mode and ACL of a host directory.
type Disk struct {
	Owner               // whose it is
	Mode  iofs.FileMode // of the directory
	ACL   []string      // entries beyond the mode, as getfacl prints them
	// What the disk permits the person whose files are in the folder. Without Acted the
	// folder is the service's.
	Acted, Read, Write, Search bool
}

// Inspect reads owner, mode and ACL of the host directory of f. It acts as the owner of
// f, if that is a person. It changes nothing.
func Inspect(f policy.Folder) (d Disk, err error) {
	var st unix.Stat_t
	if err := unix.Stat(f.Host, &st); err != nil {
		return d, translate(err)
	}
	i := newInfo("", &st)
	d.Owner, d.Mode = i.owner, i.mode
	for _, a := range []struct{ name, prefix string }{{"system.posix_acl_access", ""}, {"system.posix_acl_default", "default:"}} {
		value := make([]byte, 64<<10) // the most that an attribute can have
		if n, err := unix.Getxattr(f.Host, a.name, value); err == nil {
			d.ACL = append(d.ACL, aclText(value[:n], a.prefix)...)
		}
	}
	if f.Owner == nil {
		return d, nil
	}
	as, err := newActor(*f.Owner)
	if err != nil {
		return d, err
	}
	d.Acted = true
	may := func(mode uint32) bool {
		return unix.Faccessat2(unix.AT_FDCWD, f.Host, mode, unix.AT_EACCESS) == nil
	}
	err = as.do(func() error {
		d.Read, d.Write, d.Search = may(unix.R_OK), may(unix.W_OK), may(unix.X_OK)
		return nil
	})
	return d, err
}

// aclKinds are the tags of entries in an ACL, as linux/posix_acl.h has them.
var aclKinds = map[uint16]string{0x01: "user:", 0x02: "user:", 0x04: "group:", 0x08: "group:", 0x10: "mask:", 0x20: "other:"}

// aclText prints the extended attribute of an ACL: a version, and entries of tag,
// permissions and id.
func aclText(value []byte, prefix string) (entries []string) {
	const version, entry = 4, 8
	for at := version; at+entry <= len(value); at += entry {
		tag := binary.LittleEndian.Uint16(value[at:])
		perm := binary.LittleEndian.Uint16(value[at+2:]) & 7
		text := prefix + aclKinds[tag]
		if id := binary.LittleEndian.Uint32(value[at+4:]); tag == 0x02 || tag == 0x08 {
			text += fmt.Sprint(id)
		}
		rwx := iofs.FileMode(perm << 6).String()[1:4] // as those of an owner
		entries = append(entries, text+":"+rwx)
	}
	return entries
}
