package fs

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/policy"
)

// Settings is what an FS needs beside the policy. The zero value works.
type Settings struct {
	// Quotas knows how full the folders are, for all sessions of this process.
	// Without it every FS counts for itself.
	Quotas *Quotas
	// Pace is shared by all views of a session, if it may have more than one.
	Pace *Pace
}

// KeepUploads is how long a broken atomic upload can be resumed.
const KeepUploads = 24 * time.Hour

// A View is the files of one login. It is an FS.
type View struct {
	*links
	guard *guard

	// Broken lists the folders that are missing because they could not be opened.
	Broken BrokenFolders
}

// Open makes the view of one login: the folders of p, each confined to its host
// directory, in one tree, with the limits of p and under its rules. A missing host
// directory is made, with its skeleton, if the folder has Create.
//
// A folder that cannot be opened does not fail the others: Broken names it,
// listings leave it out, and operations there fail with ErrFolderMissing, so that
// nobody takes an empty place for lost data. Open fails with BrokenFolders if no
// folder can be opened, and with another error if the process has run out of
// descriptors or memory. Both errors hold host paths and are for the log.
func Open(p *policy.Policy, s Settings) (*View, error) {
	s.Quotas = cmp.Or(s.Quotas, new(Quotas))
	s.Pace = cmp.Or(s.Pace, new(Pace))
	folders, broken, err := openFolders(p, s)
	if err != nil {
		return nil, err
	}
	m := newMounts(folders)
	g := newGuard(newRates(m, p.Limits, s.Pace), p, m)
	return &View{links: &links{layer: g, below: m, folder: m.folder, lists: g.lists}, guard: g, Broken: broken}, nil
}

// SetPolicy makes p decide from the next operation on, in open files too. The
// folders and limits stay those of the first policy.
func (v *View) SetPolicy(p *policy.Policy) { v.guard.SetPolicy(p) }

// HostPath is where name is on this machine, for the record: no client may see it.
// Links on the way are followed, with last also the last element. HostPath is empty
// for what is in no folder. Few names have links on the way. A single Lstat of the
// last element that is followed shows whether there are any.
func (v *View) HostPath(name string, last bool) string {
	real, slash := cutSlash(name)
	if valid(real) != nil {
		return ""
	}
	end, counts := itself, path.Dir(real)
	if last || slash {
		end, counts = followed, real
	}
	if counts != "/" {
		fi, err := v.below.Lstat(counts)
		if err != nil || fi.Mode()&iofs.ModeSymlink != 0 {
			if real, err = v.resolve(real, end); err != nil {
				return ""
			}
		}
	}
	return v.guard.folders.hostPath(real)
}

// Shadowed finds, for the path of each folder, the host names that the folder
// hides: another folder has something of its own at this path, and nobody sees it.
// An administrator should know about that; no login fails. An empty directory does
// not count, nor does a folder without Host. Several folders may have one path, as
// in different rules.
func Shadowed(folders []policy.Folder) map[string][]string {
	at := map[string][]policy.Folder{}
	for _, f := range folders {
		at[f.Path] = append(at[f.Path], f)
	}
	found := map[string][]string{}
	for inner := range at {
		around := path.Dir(inner)
		for around != "/" && at[around] == nil {
			around = path.Dir(around)
		}
		for _, outer := range at[around] {
			host := filepath.Join(outer.Host, filepath.FromSlash(strings.TrimPrefix(inner, around)))
			if inner != "/" && outer.Host != "" && !slices.Contains(found[inner], host) && holds(host) {
				found[inner] = append(found[inner], host)
			}
		}
	}
	return found
}

// holds reports whether host exists and is not an empty directory.
func holds(host string) bool {
	fi, err := os.Lstat(host)
	if err != nil {
		return false
	}
	entries, err := os.ReadDir(host)
	return !fi.IsDir() || err == nil && len(entries) > 0
}

// openFolders opens every folder that it can.
func openFolders(p *policy.Policy, s Settings) (folders []mounted, broken BrokenFolders, err error) {
	for _, f := range p.Folders {
		m, err := openFolder(f, p.Limits.MaxFile)
		if err != nil {
			m.broken = fmt.Errorf("open folder %s: %w", f.Path, err)
			broken = append(broken, BrokenFolder{Path: f.Path, Host: f.Host, Err: m.broken})
		}
		folders = append(folders, m)
	}
	switch {
	case exhausted(broken): // no fault of a folder
		return nil, nil, errors.Join(append(broken.Unwrap(), newMounts(folders).Close())...)
	case len(broken) > 0 && len(broken) == len(folders):
		return nil, nil, broken
	}
	limits := s.Quotas.bounded(p)
	for i := range folders {
		if folders[i].broken == nil {
			folders[i].layer = stack(folders[i], limits, p, s)
		}
	}
	return folders, broken, nil
}

// stack adds to a host directory the layers that p needs for its folder. What
// is written there counts in every directory with a quota that contains it.
func stack(m mounted, limits map[*usage]Amount, p *policy.Policy, s Settings) layer {
	l, host := m.layer, realHost(m.host)
	for _, u := range s.Quotas.around(host) {
		l = newQuota(l, u, limits[u], m.as)
	}
	return &uploads{
		layer: l, ledger: sharedLedger, host: strings.TrimSuffix(host, "/"),
		person: personOf(p), as: m.as, atomic: p.Uploads == policy.Atomic, keep: KeepUploads,
	}
}

// personOf identifies the person whose view this is. In tests a user may have
// no id.
func personOf(p *policy.Policy) string {
	switch {
	case p.User == nil:
		return ""
	case p.User.ID == "":
		return p.User.Name
	}
	return p.User.Identity.String()
}

// openFolder opens the host directory of f. The result has its place also after an error.
func openFolder(f policy.Folder, maxFile int64) (m mounted, err error) {
	m = mounted{path: f.Path, host: filepath.Clean(f.Host)}
	if err = valid(f.Path); err == nil && f.Owner != nil {
		m.as, err = newActor(*f.Owner)
	}
	if err == nil && f.Create {
		err = makeFolder(f, m.as)
	}
	if err != nil {
		return m, err
	}
	l, j, err := openAs(m.as, f.Host, f.Umask, maxFile)
	if errors.Is(err, iofs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", f.Host, ErrFolderMissing)
	}
	if err != nil {
		return m, err
	}
	m.layer = l
	m.folds = f.WindowsNames == string(policy.Refuse) || f.WindowsNames == "" && j.foldsNames()
	return m, nil
}
