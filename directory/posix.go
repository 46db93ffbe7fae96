package directory

import (
	"errors"
	"slices"
)

// POSIX is who a user is on the disks of this machine. The zero value is nobody.
type POSIX struct {
	UID, GID uint32
	Groups   []uint32 // supplementary, without GID, sorted, at most MaxGroups
	Cut      int      // how many more groups there are, which do not count
	Problem  string   // why the user has no numbers, for the administrator; the others are then zero
}

// MaxGroups is how many supplementary groups Linux permits (NGROUPS_MAX).
const MaxGroups = 65536

// NewPOSIX returns the numbers of a user who is in groups.
func NewPOSIX(uid, gid uint32, groups []Group) POSIX {
	p := POSIX{UID: uid, GID: gid}
	for _, g := range groups {
		if g.GID != 0 && g.GID != gid {
			p.Groups = append(p.Groups, g.GID)
		}
	}
	slices.Sort(p.Groups)
	p.Groups = slices.Compact(p.Groups)
	p.Cut = max(len(p.Groups)-MaxGroups, 0)
	p.Groups = p.Groups[:len(p.Groups)-p.Cut]
	return p
}

// Err says why files cannot belong to the user, or is nil. Nobody is root.
func (p POSIX) Err() error {
	switch {
	case p.Problem != "":
		return errors.New(p.Problem)
	case p.UID == 0 || p.GID == 0:
		return errors.New("the directory has no uid and gid for this user")
	}
	return nil
}
