package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/policy"
)

// model is what docs/uploads.md says: a tree of files, and beside it what is
// being uploaded. Time is the number of the operation.
type model struct {
	now     int
	dirs    map[string]bool
	files   map[string]*inode
	running []*running       // in the order of their opens
	broken  map[owner]*inode // left for their person
}

type owner struct{ person, name string }

type inode struct {
	content string
	ctime   int
	mtime   int // negative: set by somebody, to a time long ago
}

type running struct {
	owner
	*inode
	session int
	begun   int
	before  *inode
	mtime   int    // of before
	resumes bool   // it has the name that a broken one is found by
	old     string // what a file that was opened without truncation ends with
	taken   bool   // another session continues it
}

// handle is an open file of the model and of the FS.
type handle struct {
	File
	session   int
	up        *running // nil: in place
	ino       *inode
	name      string
	undecided bool // opened as scp does
}

func (m *model) listed(r *running) bool { return slices.Contains(m.running, r) }

func (m *model) drop(match func(*running) bool) { m.running = slices.DeleteFunc(m.running, match) }

func (m *model) newest(o owner) *running {
	for _, r := range slices.Backward(m.running) {
		if r.owner == o {
			return r
		}
	}
	return nil
}

// own is what a person has not finished at name.
func (m *model) own(person, name string) *inode {
	o := owner{person, name}
	if r := m.newest(o); r != nil {
		return r.inode
	}
	part := m.broken[o]
	if f := m.files[name]; part != nil && f != nil && part.ctime < f.ctime {
		delete(m.broken, o)
		return nil
	}
	return part
}

// shown is what a person sees at name.
func (m *model) shown(p user, name string) *inode {
	if p.atomic {
		if own := m.own(p.name, name); own != nil {
			return own
		}
	}
	return m.files[name]
}

type user struct {
	name   string
	atomic bool
}

func (m *model) touch(i *inode) { i.ctime, i.mtime = m.now, m.now }

func (m *model) open(s int, p user, name string, flag int) (*handle, error) {
	f := m.files[name]
	var own *inode
	if p.atomic {
		own = m.own(p.name, name)
	}
	h := &handle{session: s, name: name}
	switch {
	case !m.dirs[path.Dir(name)]:
		return nil, iofs.ErrNotExist
	case flag&os.O_EXCL != 0 && (f != nil || slices.ContainsFunc(m.running, func(r *running) bool { return r.name == name })):
		return nil, iofs.ErrExist
	case own != nil && flag&(os.O_TRUNC|os.O_EXCL) == 0:
		was := m.newest(owner{p.name, name})
		if was != nil && was.session == s {
			h.ino = own
			return h, nil
		}
		if was != nil {
			was.taken = true
			m.drop(func(r *running) bool { return r == was })
		}
		resumes := was == nil || was.resumes
		delete(m.broken, owner{p.name, name})
		h.up = m.begin(s, p, name, own)
		h.up.resumes = resumes
	case p.atomic && (flag&(os.O_TRUNC|os.O_EXCL) != 0 || f == nil && flag&os.O_CREATE != 0):
		h.up = m.begin(s, p, name, &inode{})
		m.touch(h.up.inode)
		h.up.resumes = !slices.ContainsFunc(m.running[:len(m.running)-1], func(r *running) bool { return r.owner == h.up.owner && r.resumes })
		if h.up.resumes {
			delete(m.broken, h.up.owner)
		}
	case f == nil && flag&os.O_CREATE == 0:
		return nil, iofs.ErrNotExist
	case f == nil:
		m.files[name] = &inode{}
		m.touch(m.files[name])
		h.ino = m.files[name]
	default:
		h.ino = f
		h.undecided = p.atomic && flag == os.O_WRONLY|os.O_CREATE
		if flag&os.O_TRUNC != 0 {
			f.content = ""
			m.touch(f)
		}
	}
	if h.up != nil {
		h.ino = h.up.inode
	}
	return h, nil
}

func (m *model) begin(s int, p user, name string, ino *inode) *running {
	r := &running{owner: owner{p.name, name}, inode: ino, session: s, begun: m.now, before: m.files[name]}
	if r.before != nil {
		r.mtime = r.before.mtime
	}
	m.running = append(m.running, r)
	return r
}

// write writes at the end or, with anew, at the beginning.
func (m *model) write(h *handle, p user, text string, anew bool) error {
	anew = anew || h.ino.content == ""
	if h.undecided && anew && m.files[h.name] == h.ino {
		old := h.ino.content
		h.up = m.begin(h.session, p, h.name, &inode{})
		h.up.resumes = !slices.ContainsFunc(m.running[:len(m.running)-1], func(r *running) bool { return r.owner == h.up.owner && r.resumes })
		if h.up.resumes {
			delete(m.broken, h.up.owner)
		}
		h.ino, h.up.old = h.up.inode, old
	}
	h.undecided = false
	if h.up != nil && h.up.taken {
		return iofs.ErrClosed
	}
	if anew {
		h.ino.content = text + h.ino.content[min(len(text), len(h.ino.content)):]
	} else {
		h.ino.content += text
	}
	m.touch(h.ino)
	return nil
}

// isNewer reports whether the name of an upload has something newer.
func (m *model) isNewer(r *running) bool {
	f := m.files[r.name]
	return f != nil && (f != r.before || f.mtime != r.mtime && f.mtime >= r.begun)
}

func (m *model) close(h *handle) error {
	r := h.up
	switch {
	case r == nil:
		return nil
	case r.taken:
		return iofs.ErrClosed
	case !m.listed(r):
		return nil
	}
	if len(r.old) > len(r.content) {
		r.content += r.old[len(r.content):]
		m.touch(r.inode)
	}
	if m.isNewer(r) {
		m.drop(func(o *running) bool { return o == r })
		return iofs.ErrExist
	}
	m.files[r.name] = r.inode
	r.ctime = m.now
	i := slices.Index(m.running, r)
	for _, later := range m.running[i:] {
		if later.name == r.name {
			later.before, later.mtime = r.inode, r.inode.mtime
		}
	}
	earlier := m.running[:i+1]
	m.drop(func(o *running) bool { return o.name == r.name && slices.Contains(slices.Clone(earlier), o) })
	return nil
}

func (m *model) abort(h *handle) error {
	r := h.up
	switch {
	case r == nil:
	case r.taken:
		return iofs.ErrClosed
	case m.listed(r):
		m.drop(func(o *running) bool { return o == r })
		if r.resumes && r.content != "" && !m.isNewer(r) {
			m.touch(r.inode)
			m.broken[r.owner] = r.inode
		}
	}
	return nil
}

func (m *model) remove(p user, name string) error {
	if m.shown(p, name) == nil {
		return iofs.ErrNotExist
	}
	delete(m.files, name)
	if p.atomic {
		m.drop(func(r *running) bool { return r.owner == owner{p.name, name} })
		delete(m.broken, owner{p.name, name})
	}
	return nil
}

func (m *model) rename(p user, from, to string, replace bool) error {
	f := m.files[from]
	var own, other *inode
	if p.atomic {
		own, other = m.own(p.name, from), m.own(p.name, to)
	}
	switch {
	case f == nil && own == nil, !m.dirs[path.Dir(to)]:
		return iofs.ErrNotExist
	case !replace && (other != nil || m.files[to] != nil):
		return iofs.ErrExist
	}
	if f != nil {
		delete(m.files, from)
		m.files[to] = f
		f.ctime = m.now
	}
	m.drop(func(r *running) bool { return r.name == to })
	if own == nil {
		return nil
	}
	was := m.newest(owner{p.name, from})
	m.drop(func(r *running) bool { return r.owner == owner{p.name, from} })
	delete(m.broken, owner{p.name, from})
	delete(m.broken, owner{p.name, to})
	own.ctime = m.now
	if was == nil {
		m.broken[owner{p.name, to}] = own
		return nil
	}
	was.name, was.resumes, was.before = to, true, m.files[to]
	if was.before != nil {
		was.mtime = was.before.mtime
	}
	m.running = append(m.running, was)
	return nil
}

// rmdir removes a directory of files.
func (m *model) rmdir(p user, dir string) error {
	if !m.dirs[dir] {
		return iofs.ErrNotExist
	}
	m.view(p, dir) // forgets what is outdated
	for name := range m.files {
		if path.Dir(name) == dir {
			return ErrNotEmpty
		}
	}
	for _, r := range m.running {
		if path.Dir(r.name) == dir {
			return ErrNotEmpty
		}
	}
	for o := range m.broken {
		if path.Dir(o.name) == dir && o.person == p.name && p.atomic {
			return ErrNotEmpty
		}
	}
	maps.DeleteFunc(m.broken, func(o owner, _ *inode) bool { return path.Dir(o.name) == dir })
	delete(m.dirs, dir)
	return nil
}

func (m *model) mvdir(from, to string) error {
	if !m.dirs[from] {
		return iofs.ErrNotExist
	}
	if m.dirs[to] {
		return iofs.ErrExist
	}
	delete(m.dirs, from)
	m.dirs[to] = true
	for name, f := range m.files {
		if path.Dir(name) == from {
			delete(m.files, name)
			m.files[to+"/"+path.Base(name)] = f
		}
	}
	for _, r := range m.running {
		if path.Dir(r.name) == from {
			r.name = to + "/" + path.Base(r.name)
		}
	}
	for o, i := range maps.Clone(m.broken) {
		if path.Dir(o.name) == from {
			delete(m.broken, o)
			m.broken[owner{o.person, to + "/" + path.Base(o.name)}] = i
		}
	}
	return nil
}

// view is what a person sees in a directory: names and content.
func (m *model) view(p user, dir string) map[string]string {
	all := map[string]string{}
	for _, name := range modelNames {
		if i := m.shown(p, name); i != nil && path.Dir(name) == dir {
			all[path.Base(name)] = fmt.Sprint(len(i.content), " ", min(i.mtime, 0), " ", i.content)
		}
	}
	return all
}

var (
	modelNames = []string{"/a", "/b", "/d/a", "/d/b", "/e/a", "/e/b"}
	modelTime  = time.Unix(1e9, 0) // that of mtime -1 is a second before, and so on
)

// seen is what a session sees in a directory.
func seen(f FS, dir string) (map[string]string, error) {
	all := map[string]string{}
	for fi, err := range f.ReadDir(dir) {
		if err != nil {
			return nil, err
		}
		if fi.IsDir() {
			continue
		}
		name := join(dir, fi.Name())
		stat, err := f.Lstat(name)
		if err != nil || stat.Size() != fi.Size() || !stat.ModTime().Equal(fi.ModTime()) || all[fi.Name()] != "" {
			return nil, fmt.Errorf("%s is listed with %d bytes of %v; Lstat = %v, %v", name, fi.Size(), fi.ModTime(), stat, err)
		}
		file, err := f.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		data := make([]byte, fi.Size()+1)
		n, _ := file.ReadAt(data, 0)
		if err := file.Close(); err != nil {
			return nil, err
		}
		past := min(0, fi.ModTime().Unix()-modelTime.Unix())
		all[fi.Name()] = fmt.Sprint(fi.Size(), " ", past, " ", string(data[:n]))
	}
	return all, nil
}

// TestUploadsModel has sessions of several people, one of them with uploads in
// place, do random operations on a few names. After each operation, everything
// that people see is compared with a model.
func TestUploadsModel(t *testing.T) {
	people := []user{{"alice", true}, {"alice", true}, {"bob", true}, {"bob", true}, {"carol", false}}
	for seed := range uint64(12) {
		host := t.TempDir()
		m := &model{dirs: map[string]bool{"/": true}, files: map[string]*inode{}, broken: map[owner]*inode{}}
		rnd := rand.New(rand.NewPCG(seed, 11))
		sessions := make([]FS, len(people))
		login := func(s int) {
			p := atomicPolicy(host, people[s].name)
			if !people[s].atomic {
				p.Uploads = policy.Direct
			}
			f, err := Open(p, Settings{})
			if err != nil {
				t.Fatal(err)
			}
			sessions[s] = f
		}
		for s := range people {
			login(s)
		}
		var handles []*handle
		var story []string
		tick := fsClock(t)
		for m.now = 1; m.now <= 150 && !t.Failed(); m.now++ {
			tick()
			s := rnd.IntN(len(people))
			f, p := sessions[s], people[s]
			name, other := modelNames[rnd.IntN(len(modelNames))], modelNames[rnd.IntN(len(modelNames))]
			var did string
			var got, want error
			switch op := rnd.IntN(20); {
			case op < 6:
				flag := []int{truncating, truncating, os.O_WRONLY | os.O_CREATE | os.O_EXCL, os.O_WRONLY, os.O_WRONLY | os.O_CREATE}[rnd.IntN(5)]
				did = fmt.Sprintf("open %s %#x", name, flag)
				var file File
				var h *handle
				file, got = f.OpenFile(name, flag, 0o666)
				h, want = m.open(s, p, name, flag)
				if got == nil && want == nil {
					h.File = file
					handles = append(handles, h)
				} else if got == nil {
					_ = file.Close()
				}
			case op < 13 && len(handles) > 0:
				i := rnd.IntN(len(handles))
				h := handles[i]
				s, p = h.session, people[h.session]
				switch {
				case op < 9:
					anew := rnd.IntN(2) == 0
					text := string(rune('a'+rnd.IntN(26))) + string(rune('a'+rnd.IntN(26)))
					did = fmt.Sprintf("write %s %q %t", h.name, text, anew)
					off := int64(0)
					if !anew {
						fi, err := h.File.Stat()
						if err == nil {
							off = fi.Size()
						}
					}
					if h.up != nil && h.up.old != "" && !anew { // scp writes in order
						off = int64(len(h.ino.content))
					}
					_, got = h.File.WriteAt([]byte(text), off)
					want = m.write(h, p, text, anew)
				case op < 12:
					did = "close " + h.name
					got, want = h.File.Close(), m.close(h)
					handles = slices.Delete(handles, i, i+1)
				default:
					did = "abort " + h.name
					got, want = h.File.Abort(), m.abort(h)
					handles = slices.Delete(handles, i, i+1)
				}
			case op == 13:
				did = "remove " + name
				got, want = f.Remove(name), m.remove(p, name)
			case op == 14 && name != other:
				replace := rnd.IntN(2) == 0
				did = fmt.Sprintf("rename %s %s %t", name, other, replace)
				got, want = f.Rename(name, other, replace), m.rename(p, name, other, replace)
			case op == 15 && (!p.atomic || m.own(p.name, name) == nil || m.newest(owner{p.name, name}) != nil):
				// A broken upload of that time would be stale.
				did = "setattr " + name
				past := modelTime.Add(-time.Duration(m.now) * time.Second)
				got = f.SetAttr(name, Attr{Set: AttrTimes, Atime: past, Mtime: past})
				if i := m.shown(p, name); i == nil {
					want = iofs.ErrNotExist
				} else {
					i.ctime, i.mtime = m.now, -m.now
				}
			case op == 16:
				dir := []string{"/d", "/e"}[rnd.IntN(2)]
				did = "mkdir " + dir
				got = f.Mkdir(dir, 0o777)
				if want = nil; m.dirs[dir] {
					want = iofs.ErrExist
				}
				m.dirs[dir] = true
			case op == 17:
				dir := []string{"/d", "/e"}[rnd.IntN(2)]
				did = "rmdir " + dir
				got, want = f.Rmdir(dir), m.rmdir(p, dir)
			case op == 18:
				dirs := []string{"/d", "/e"}
				i := rnd.IntN(2)
				did = "rename " + dirs[i] + " " + dirs[1-i]
				got, want = f.Rename(dirs[i], dirs[1-i], false), m.mvdir(dirs[i], dirs[1-i])
			case op == 19 && rnd.IntN(4) == 0:
				did = "session ends"
				handles = slices.DeleteFunc(handles, func(h *handle) bool {
					if h.session != s {
						return false
					}
					got, want = errors.Join(got, h.File.Abort()), errors.Join(want, m.abort(h))
					return true
				})
				if err := f.Close(); err != nil {
					t.Error(err)
				}
				login(s)
			}
			if did == "" {
				continue
			}
			story = append(story, fmt.Sprintf("%s%d: %s: %v", p.name, s, did, want))
			if (got == nil) != (want == nil) || want != nil && !errors.Is(want, iofs.ErrClosed) && !errors.Is(got, want) {
				t.Errorf("seed %d: got %v, want %v", seed, got, want)
			}
			looker := rnd.IntN(len(people))
			for dir := range m.dirs {
				view, err := seen(sessions[looker], dir)
				if want := m.view(people[looker], dir); err != nil || !maps.Equal(view, want) {
					t.Errorf("seed %d: %s%d sees in %s\n%q, %v, want\n%q", seed, people[looker].name, looker, dir, view, err, want)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("after\n%s", strings.Join(story, "\n"))
		}
		for _, h := range handles {
			_ = h.File.Abort()
		}
		for _, f := range sessions {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
