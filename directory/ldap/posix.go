package ldap

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"berth/directory"
)

// posix returns the numbers of the user e on a disk.
func (c *Client) posix(e entry, groups []directory.Group) directory.POSIX {
	uid, gid, err := c.ids(e)
	if err == nil && int64(uid) < int64(c.settings.MinUID) {
		err = fmt.Errorf("uid %d is smaller than min_uid (%d)", uid, c.settings.MinUID)
	}
	if err != nil {
		return directory.POSIX{Problem: err.Error()}
	}
	p := directory.NewPOSIX(uid, gid, groups)
	if p.Cut > 0 {
		c.log.Warn("a user has more groups than the disk can count", "user", e.dn, "ignored", p.Cut, "most", directory.MaxGroups)
	}
	return p
}

func (c *Client) ids(e entry) (uid, gid uint32, err error) {
	if c.settings.IDMapping == mapSID {
		sid := e.first("objectSid")
		domain := domainOfSID(sidText(sid))
		if uid, err = numberOfSID(sidText(sid), domain); err == nil {
			gid, err = numberOfSID(sidText(primaryGroup(e)), domain)
		}
		return uid, gid, err
	}
	if uid, err = numberIn(e, c.settings.UIDAttribute); err == nil {
		gid, err = numberIn(e, c.settings.GIDAttribute)
	}
	return uid, gid, err
}

// primaryGroup is the binary SID of the primary group of a user of Active Directory.
func primaryGroup(e entry) string {
	rid, _ := strconv.ParseUint(e.first("primaryGroupID"), 10, 32)
	return sidSibling(e.first("objectSid"), uint32(rid))
}

// numberIn returns the one value of an attribute as the number of a user or group. 0
// is root, and the greatest number means "nobody" to the kernel.
func numberIn(e entry, attribute string) (uint32, error) {
	values := e.all(attribute)
	if len(values) != 1 {
		return 0, fmt.Errorf("%s: one value is needed, the service account sees %d", attribute, len(values))
	}
	n, err := strconv.ParseUint(values[0], 10, 32)
	if err != nil || n == 0 || n == math.MaxUint32 {
		return 0, fmt.Errorf("%s %q: must be a number from 1 to %d", attribute, values[0], uint32(math.MaxUint32-1))
	}
	return uint32(n), nil
}

// groupNumber is the number of a group on a disk, 0 if it has none.
func (c *Client) groupNumber(e entry) uint32 {
	n, _ := numberIn(e, c.settings.GIDAttribute)
	return n
}

// number fills in the numbers of groups of which only the DNs are known. It searches by
// their names, since a filter cannot hold the DN that is looked for.
func (c *Client) number(ctx context.Context, search searchFunc, groups []directory.Group) error {
	gids := map[string]uint32{}
	for some := range slices.Chunk(groups, perFilter) {
		names := make([]string, 0, len(some))
		for _, g := range some {
			names = append(names, g.Name)
		}
		filter := "(&(" + c.settings.GIDAttribute + "=*)(|" + anyOf([]string{c.settings.GroupNameAttribute}, names...) + "))"
		found, err := c.remembered(ctx, search, filter, viaMemberOf)
		if err != nil {
			return err
		}
		for _, g := range found {
			gids[g.DN.Key()] = g.GID
		}
	}
	for i := range groups {
		groups[i].GID = gids[groups[i].DN.Key()]
	}
	return nil
}
