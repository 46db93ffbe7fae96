package fs

import (
	"errors"
	iofs "io/fs"
	"iter"
	"os"
	"slices"
	"testing"

	"berth/policy"
)

// hungry is a layer for which the process once has no descriptor to look at a name.
type hungry struct {
	layer
	name string // "": the process has enough
}

func (h *hungry) fails(name string) error {
	if name != h.name {
		return nil
	}
	h.name = ""
	return ErrNoDescriptors
}

func (h *hungry) Lstat(name string) (iofs.FileInfo, error) {
	if err := h.fails(name); err != nil {
		return nil, err
	}
	return h.layer.Lstat(name)
}

func (h *hungry) Readlink(name string) (string, error) {
	if err := h.fails(name); err != nil {
		return "", err
	}
	return h.layer.Readlink(name)
}

func (h *hungry) names(name string) iter.Seq2[string, error] {
	if err := h.fails(name); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return h.layer.names(name)
}

func (h *hungry) ReadDir(name string) iter.Seq2[iofs.FileInfo, error] {
	return func(yield func(iofs.FileInfo, error) bool) {
		if err := h.fails(name); err != nil {
			yield(nil, err)
			return
		}
		for fi, err := range h.layer.ReadDir(name) {
			if !yield(fi, err) {
				return
			}
		}
	}
}

func wantExhausted(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrNoDescriptors) {
		t.Errorf("%s = %v, want %v", what, err, ErrNoDescriptors)
	}
}

// TestExhaustedUpload: whoever goes on with an upload does not write into the old file,
// only because nobody could look whether there is an upload.
func TestExhaustedUpload(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	u := newUploads(h)
	f := asFS(u)
	if err := start(t, f, "/f", truncating, "half of", 0).Abort(); err != nil {
		t.Fatal(err)
	}
	part := partName(u.person, "/f")
	for what, do := range map[string]func() error{
		"open":    func() error { return openClose(f, "/f", os.O_WRONLY) },
		"lstat":   func() error { return second(f.Lstat("/f")) },
		"setattr": func() error { return f.SetAttr("/f", Attr{Set: AttrMode, Mode: 0o600}) },
		"rename":  func() error { return f.Rename("/f", "/g", false) },
		"over":    func() error { return f.Rename("/d/g", "/f", true) },
		"remove":  func() error { return f.Remove("/f") },
		"mkdir":   func() error { return f.Mkdir("/f", 0o700) },
		"readdir": func() error {
			for _, err := range f.ReadDir("/") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		h.name = part
		wantExhausted(t, what, do())
	}
	h.name = "/f"
	wantExhausted(t, "lstat when the old file could not be looked at", second(f.Lstat("/f")))
	hostHolds(t, host+"/f", "content")
	if fi, err := f.Lstat("/f"); err != nil || fi.Size() != int64(len("half of")) {
		t.Errorf("the upload is %v, %v, want it as it was", fi, err)
	}
}

// TestExhaustedNewest: two uploads to one name are under way, and the older one ends first. The
// newer one is not taken for gone.
func TestExhaustedNewest(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	u := newUploads(h)
	f := asFS(u)
	older, newer := start(t, f, "/f", truncating, "older", 0), start(t, f, "/f", truncating, "newer", 0)
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ := u.ledger.state(u.newest("/f"))
	h.name = s.temp
	wantExhausted(t, "open", openClose(f, "/f", os.O_WRONLY))
	if err := newer.Close(); err != nil {
		t.Fatal(err)
	}
	hostHolds(t, host+"/f", "newer")
}

// TestExhaustedTarget: an unfinished upload does not get the name of a file that could not be
// looked at.
func TestExhaustedTarget(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	f := asFS(newUploads(h))
	if err := start(t, f, "/new", truncating, "half of", 0).Abort(); err != nil {
		t.Fatal(err)
	}
	h.name = "/f"
	wantExhausted(t, "rename", f.Rename("/new", "/f", false))
	hostHolds(t, host+"/f", "content")
	if fi, err := f.Lstat("/new"); err != nil || fi.Size() != int64(len("half of")) {
		t.Errorf("the upload is %v, %v, want it as it was", fi, err)
	}
}

// TestExhaustedRmdir: a directory is not removed with an unfinished upload that could not be
// looked at.
func TestExhaustedRmdir(t *testing.T) {
	h := &hungry{layer: mustJail(t, sample(t))}
	u := newUploads(h)
	f := asFS(u)
	if err := f.Mkdir("/new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := start(t, f, "/new/f", truncating, "half of", 0).Abort(); err != nil {
		t.Fatal(err)
	}
	for _, unseen := range []string{partName(u.person, "/new/f"), "/new"} {
		h.name = unseen
		wantExhausted(t, "rmdir", f.Rmdir("/new"))
	}
	if fi, err := f.Lstat("/new/f"); err != nil || fi.Size() != int64(len("half of")) {
		t.Errorf("the upload is %v, %v, want it as it was", fi, err)
	}
}

// TestExhaustedRewrite: an upload that cannot begin is not written into the old file, nor
// are the pieces that the client had sent before it heard of that.
func TestExhaustedRewrite(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	u := newUploads(h)
	w, err := asFS(u).OpenFile("/f", os.O_WRONLY|os.O_CREATE, 0)
	if err != nil {
		t.Fatal(err)
	}
	h.name = "/f"
	for off, piece := range []string{"new", "newer", "newest"} {
		_, err := w.WriteAt([]byte(piece), int64(off))
		wantExhausted(t, "write", err)
	}
	wantExhausted(t, "setattr", w.SetAttr(Attr{Set: AttrSize, Size: 2}))
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	hostHolds(t, host+"/f", "content")
}

// TestExhaustedQuota: what could not be looked at is not counted as new.
func TestExhaustedQuota(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	u := new(Quotas).of(host)
	q := newQuota(h, u, Amount{}, nil)
	defer q.Close()
	f := asFS(q)
	if err := f.Mkdir("/counted", 0o700); err != nil {
		t.Fatal(err)
	}
	h.name = "/f"
	wantExhausted(t, "open", openClose(f, "/f", os.O_WRONLY|os.O_CREATE))
	h.name = "/f"
	wantExhausted(t, "rename", f.Rename("/d/g", "/f", true))
	if found, err := measure(h); err != nil || found != u.Used() {
		t.Errorf("counted %v, found %v, %v", u.Used(), found, err)
	}
	h.name = "/d"
	_, err := measure(h)
	wantExhausted(t, "measure", err)
}

// TestExhaustedFolders: a listing is not shorter because a folder, or the directory around
// it, could not be looked at. A client that mirrors would delete the rest.
func TestExhaustedFolders(t *testing.T) {
	outer, inner := sample(t), t.TempDir()
	h, in := &hungry{layer: mustJail(t, outer)}, &hungry{layer: mustJail(t, inner)}
	m := newMounts([]mounted{{path: "/", layer: h}, {path: "/d/in", layer: in}})
	for _, tt := range []struct {
		layer *hungry
		name  string
	}{{h, "/d"}, {in, "/"}} {
		tt.layer.name = tt.name
		var last error
		var listed []string
		for fi, err := range m.ReadDir("/d") {
			if last = err; err == nil {
				listed = append(listed, fi.Name())
			}
		}
		if last == nil && !slices.Contains(listed, "g") || last == nil && !slices.Contains(listed, "in") {
			t.Errorf("no look at %s: a listing of %q ends without an error", tt.name, listed)
		}
	}
}

// TestExhaustedLinks: a link that could not be read is no directory. The ".." after it would
// lead to another place.
func TestExhaustedLinks(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	f := asFS(h)
	for name, target := range map[string]string{"/d/up": "../e", "/way": "d/up/../f"} {
		if err := f.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	write(t, host+"/d/f", "another")
	h.name = "/d/up"
	wantExhausted(t, "open", openClose(f, "/way", os.O_RDONLY))
	f.lists = func(string) bool { return false } // as in a drop box
	h.name = "/d/up"
	wantExhausted(t, "realpath", second(f.Realpath("/d/up/../f")))
}

// TestExhaustedGuard: what may be done to directories alone is not done to a hidden file,
// only because nobody could look what it is.
func TestExhaustedGuard(t *testing.T) {
	host := sample(t)
	h := &hungry{layer: mustJail(t, host)}
	p := full(host)
	p.Access[0].Names, p.Access[0].Hide = policy.Names{Allow: []string{"*.txt"}}, true
	g := newGuard(h, p, newMounts([]mounted{{path: "/", layer: h}}))
	h.name = "/f"
	if err := g.SetAttr("/f", Attr{Set: AttrMode, Mode: 0o600}); err == nil {
		t.Error("the mode of a hidden file was set")
	}
	if fi, err := os.Stat(host + "/f"); err != nil || fi.Mode().Perm() == 0o600 {
		t.Errorf("the file is %v, %v, want it as it was", fi.Mode(), err)
	}
}
