package fs

import (
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"berth/policy"
)

// person is somebody with random rights on a tree that others use too.
type person struct {
	FS
	name  string
	rules *rules
	said  map[string]string // about names that are unseen whatever exists
}

// placed is where the rights of a person may change, and the names in use there.
var (
	placed   = []string{"/", "/in", "/out", "/out/deep", "/box"}
	elements = []string{"d", "e", "f.txt", "x.exe", "a.secret", "l"}
)

func randomPerson(t *testing.T, rnd *rand.Rand, name, host string) *person {
	t.Helper()
	p := full(host)
	p.Access = nil
	p.Uploads = []policy.Uploads{policy.Direct, policy.Atomic}[rnd.IntN(2)]
	for _, at := range placed {
		a := policy.Access{Path: at, Ops: policy.Op(rnd.IntN(int(policy.Full) + 1))}
		if rnd.IntN(3) > 0 { // most of them
			a.Ops |= policy.Op(rnd.IntN(int(policy.Full)+1)) | policy.Rename
		}
		a.Names = []policy.Names{{}, {}, {Deny: []string{"*.exe"}}, {Deny: []string{"*.secret"}}, {Allow: []string{"*.txt", "d"}}}[rnd.IntN(5)]
		a.Hide = rnd.IntN(2) == 0 && len(a.Names.Allow)+len(a.Names.Deny) > 0
		p.Access = append(p.Access, a)
	}
	f := mustOpen(t, p, Settings{})
	return &person{FS: f, name: name, rules: f.(*View).guard.rules.Load(), said: map[string]string{}}
}

// forest fills a host directory: every element in every place, two levels deep.
func forest(t *testing.T, rnd *rand.Rand, host string) {
	t.Helper()
	for _, at := range placed {
		if err := os.MkdirAll(host+at, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{at, path.Join(at, "d"), path.Join(at, "e")} {
			if rnd.IntN(4) == 0 || os.MkdirAll(host+dir, 0o755) != nil {
				continue
			}
			for _, base := range elements[2:5] {
				if rnd.IntN(2) == 0 {
					write(t, host+path.Join(dir, base), path.Join(dir, base))
				}
			}
			if rnd.IntN(2) == 0 {
				_ = os.Symlink("f.txt", host+path.Join(dir, "l"))
			}
		}
	}
}

func write(t *testing.T, host, content string) {
	t.Helper()
	if err := os.WriteFile(host, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// object is the file on the host that a name leads to.
type object struct {
	kind iofs.FileMode
	ino  uint64
}

func objects(t *testing.T, host string) map[string]object {
	t.Helper()
	all := map[string]object{}
	err := filepath.WalkDir(host, func(at string, d iofs.DirEntry, err error) error {
		if err != nil || at == host || isTemp(d.Name()) {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			all[strings.TrimPrefix(at, host)] = object{fi.Mode().Type(), fi.Sys().(*syscall.Stat_t).Ino}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// reach is what p sees, by what it is, and the contents p can read.
func (p *person) reach(all map[string]object) (seen map[uint64]bool, read map[string]bool) {
	seen, read = map[uint64]bool{}, map[string]bool{}
	for name, o := range all {
		if _, err := p.Lstat(name); err == nil {
			seen[o.ino] = true
		}
		if f, err := p.OpenFile(name, os.O_RDONLY, 0); err == nil {
			data, _ := io.ReadAll(io.NewSectionReader(f, 0, 100))
			read[string(data)] = true
			_ = f.Close()
		}
	}
	return seen, read
}

// asks returns the answers that p gets about names that p may not see, whatever
// exists there.
func (p *person) asks() map[string]string {
	told := map[string]string{}
	for _, at := range placed {
		for _, base := range elements {
			name := path.Join(at, base)
			r := p.rules
			usable := r.places[name] || r.allows(policy.List, at) && !r.Rights(name).Hides(name)
			for _, op := range without(policy.Full) {
				usable = usable || r.allows(policy.Full&^op, name)
			}
			if usable {
				continue
			}
			_, err := p.Lstat(name)
			_, serr := p.FS.StatFS(name)
			_, lerr := p.Readlink(name)
			told[name] = fmt.Sprint(cause(err), cause(serr), cause(lerr), cause(openClose(p, name, os.O_RDONLY)), cause(openClose(p, name, os.O_WRONLY)))
		}
	}
	return told
}

// peoples is how many pairs of people the test tries.
const peoples = 80

// TestPeople has two people with random rights do random things in one tree.
// Whatever they do, three things must hold. Nobody can see or read more of the
// existing files by their own operations. What is created or removed is of a kind
// that the rights allow there. Answers about names that a person may not see do
// not depend on what exists.
func TestPeople(t *testing.T) {
	done := 0
	for seed := range uint64(peoples) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		host := t.TempDir()
		forest(t, rnd, host)
		people := []*person{randomPerson(t, rnd, "alice", host), randomPerson(t, rnd, "bob", host)}
		for _, p := range people {
			p.said = p.asks()
		}
		for step := range 30 {
			p := people[rnd.IntN(2)]
			name := func() string {
				if s := placed[rnd.IntN(len(placed))]; rnd.IntN(8) > 0 {
					s = path.Join(s, elements[rnd.IntN(len(elements))])
					if rnd.IntN(3) == 0 {
						s = path.Join(s, elements[rnd.IntN(len(elements))])
					}
					return s
				}
				return "/" + elements[rnd.IntN(len(elements))]
			}
			a, b := name(), name()
			before := objects(t, host)
			if there := slices.Sorted(maps.Keys(before)); rnd.IntN(3) > 0 {
				a = there[rnd.IntN(len(there))]
			}
			seen, read := p.reach(before)
			content := fmt.Sprintf("written by %s in step %d", p.name, step)
			var err error
			var what string
			switch n := rnd.IntN(12); n {
			case 0, 1, 2, 3, 4:
				what, err = "rename", p.Rename(a, b, n < 2)
			case 5:
				what, err = "mkdir", p.Mkdir(a, 0o755)
			case 6:
				what, err = "remove", p.Remove(a)
			case 7:
				what, err = "rmdir", p.Rmdir(a)
			case 8:
				what, err = "link", p.FS.Link(a, b)
			case 9:
				what, err = "symlink", p.Symlink(path.Base(b), a)
			case 10:
				what, err = "setattr", p.SetAttr(a, Attr{Set: AttrMode, Mode: 0o755})
			default:
				what, err = "write", writeTo(p, a, []int{truncating, os.O_WRONLY, os.O_WRONLY | os.O_CREATE | os.O_EXCL}[rnd.IntN(3)], content)
			}
			if err == nil {
				done++
			}
			after := objects(t, host)
			complain := func(format string, args ...any) {
				t.Errorf("seed %d, step %d: %s did %s %s %s = %v: %s; rights %v", seed, step, p.name, what, a, b, err, fmt.Sprintf(format, args...), p.rules.Access)
			}
			p.judge(before, after, complain)
			nowSeen, nowRead := p.reach(after)
			was := map[uint64]bool{}
			for _, o := range before {
				was[o.ino] = true
			}
			for ino := range nowSeen {
				if was[ino] && !seen[ino] && what != "write" { // what p wrote anew is p's own
					complain("it sees something that was not shown before")
				}
			}
			for text := range nowRead {
				if !read[text] && !strings.HasPrefix(text, content) && text != "" {
					complain("it can read %q now", text)
				}
			}
			for _, q := range people {
				for name, text := range q.asks() {
					if text != q.said[name] {
						complain("%s is told %q about %s, and was told %q", q.name, text, name, q.said[name])
					}
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	if done < 200 {
		t.Errorf("only %d operations were permitted: the test shows little", done)
	}
}

// judge checks that what an act of p made or took away may be made or taken away
// there, or has moved within one entry of the policy.
func (p *person) judge(before, after map[string]object, complain func(string, ...any)) {
	homes := func(all map[string]object, ino uint64) map[string]bool {
		found := map[string]bool{}
		for name, o := range all {
			if o.ino == ino {
				found[p.rules.Rights(name).Path] = true
			}
		}
		return found
	}
	make := map[iofs.FileMode]policy.Op{0: policy.Create, iofs.ModeDir: policy.Mkdir, iofs.ModeSymlink: policy.Symlink}
	take := map[iofs.FileMode]policy.Op{0: policy.Delete, iofs.ModeDir: policy.Rmdir, iofs.ModeSymlink: policy.Delete}
	for name, o := range after {
		old, same := before[name]
		if same && (old.ino == o.ino || old.kind == o.kind && o.kind == 0 && p.rules.allows(policy.Overwrite, name)) {
			continue
		}
		moved := homes(before, o.ino)
		entry := p.rules.Rights(name)
		if !moved[entry.Path] && !p.rules.allows(make[o.kind], name) && !(len(moved) > 0 && p.rules.allows(policy.Symlink, name)) {
			complain("a %v came to %s", o.kind, name)
		}
	}
	for name, o := range before {
		now, same := after[name]
		if same && now.ino == o.ino {
			continue
		}
		entry := p.rules.Rights(name)
		needs := take[o.kind]
		if same && o.kind != iofs.ModeDir {
			needs = policy.Overwrite
			if entry.Ops&policy.Overwrite == 0 && entry.Ops&policy.Create != 0 {
				continue // an upload of the session's own, again
			}
		}
		if !homes(after, o.ino)[entry.Path] && !p.rules.allows(needs, name) {
			complain("the %v %s is gone", o.kind, name)
		}
	}
}
