package config

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"berth/directory"
	"berth/directory/ldap"
)

// account returns the numbers of what a rule names as the owner of files: an account
// of this host, with its groups, or UID:GID.
func (cfg *Config) account(name string) (directory.POSIX, error) {
	uid, gid, numbers := strings.Cut(name, ":")
	var groups []directory.Group
	if !numbers {
		a, err := user.Lookup(name)
		if _, unknown := errors.AsType[user.UnknownUserError](err); unknown {
			return directory.POSIX{}, errors.New("no account of this host has this name: must be service, person, an account of this host, or UID:GID")
		}
		if err != nil {
			return directory.POSIX{}, fmt.Errorf("look up the account: %w", err)
		}
		ids, err := a.GroupIds()
		if err != nil {
			return directory.POSIX{}, fmt.Errorf("look up the groups of the account: %w", err)
		}
		uid, gid = a.Uid, a.Gid
		for _, id := range ids {
			n, _ := strconv.ParseUint(id, 10, 32)
			groups = append(groups, directory.Group{GID: uint32(n)})
		}
	}
	u, uerr := strconv.ParseUint(uid, 10, 32)
	g, gerr := strconv.ParseUint(gid, 10, 32)
	switch least := cfg.minUID(); {
	case uerr != nil || gerr != nil:
		return directory.POSIX{}, errors.New("must be service, person, an account of this host, or UID:GID with two numbers, such as 5000:5000")
	case u == 0 || g == 0:
		return directory.POSIX{}, errors.New("is root or has the group of root, which no files may belong to: must be another account")
	case int64(u) < int64(least):
		return directory.POSIX{}, fmt.Errorf("uid %d is smaller than min_uid of the directories (%d): such numbers belong to the system", u, least)
	}
	return directory.NewPOSIX(uint32(u), uint32(g), groups), nil
}

// minUID is the smallest number that may own files.
func (cfg *Config) minUID() int {
	var all []int
	for _, d := range cfg.Directories {
		all = append(all, d.MinUID)
	}
	if len(all) == 0 {
		return ldap.DefaultSettings().MinUID
	}
	return slices.Min(all)
}
