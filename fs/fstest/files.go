package fstest

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"berth/fs"
)

func testOpenFlags(t *tester) {
	t.mkdir("/dir")
	t.openFails("/f", os.O_RDONLY, iofs.ErrNotExist)
	t.openFails("/f", os.O_WRONLY|os.O_TRUNC, iofs.ErrNotExist)
	t.openFails("/none/f", os.O_WRONLY|os.O_CREATE, iofs.ErrNotExist)
	t.openFails("/dir", os.O_RDONLY, fs.ErrIsDir)
	t.openFails("/dir", os.O_WRONLY, fs.ErrIsDir)
	t.openFails("/", os.O_RDONLY, fs.ErrIsDir)

	t.put("/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, "first")
	t.openFails("/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL, iofs.ErrExist)
	t.openFails("/f/g", os.O_RDONLY, fs.ErrNotDir)
	t.holds("/f", "first")
	t.put("/f", os.O_WRONLY, "F") // in place
	t.holds("/f", "First")
	t.put("/f", os.O_RDWR|os.O_CREATE, "f")
	t.holds("/f", "first")
	t.put("/f", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, "x")
	t.holds("/f", "x")

	r := t.open("/f", os.O_RDONLY)
	defer r.Close()
	if _, err := r.WriteAt([]byte("y"), 0); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("write to a file open for reading = %v, want ErrPermission", err)
	}
	w := t.open("/f", os.O_WRONLY)
	defer w.Close()
	if _, err := w.ReadAt(make([]byte, 1), 0); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("read from a file open for writing = %v, want ErrPermission", err)
	}
}

func testReadWrite(t *tester) {
	f := t.open("/f", os.O_RDWR|os.O_CREATE|os.O_EXCL)
	data := pattern(100_000)
	const step = 32 << 10
	for off := len(data) / step * step; off >= 0; off -= step { // last piece first
		piece := data[off:min(off+step, len(data))]
		if n, err := f.WriteAt(piece, int64(off)); n != len(piece) || err != nil {
			t.Fatalf("WriteAt(%d) = %d, %v, want %d", off, n, err, len(piece))
		}
	}
	got := make([]byte, len(data))
	if n, err := f.ReadAt(got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Errorf("ReadAt = %d, %v, want all %d bytes", n, err, len(data))
	}
	if n, err := f.ReadAt(got[:100], int64(len(data))-10); n != 10 || err != io.EOF {
		t.Errorf("ReadAt across the end = %d, %v, want 10, EOF", n, err)
	}
	if n, err := f.ReadAt(got[:100], int64(len(data))+10); n != 0 || err != io.EOF {
		t.Errorf("ReadAt behind the end = %d, %v, want 0, EOF", n, err)
	}
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil { // leaves a hole
		t.Errorf("write behind the end: %v", err)
	}
	if fi, err := f.Stat(); err != nil || fi.Size() != 1<<20+3 || !fi.Mode().IsRegular() {
		t.Errorf("Stat of the file = %v, %v, want a regular file of %d bytes", fi, err, 1<<20+3)
	}
	t.must(f.Sync(), "sync")
	t.must(f.Close(), "close")
	t.holds("/f", string(data)+string(make([]byte, 1<<20-len(data)))+"end")
}

func testAppend(t *tester) {
	t.write("/f", "one ")
	f := t.open("/f", os.O_WRONLY|os.O_APPEND)
	for _, word := range []string{"two ", "three"} {
		if n, err := f.WriteAt([]byte(word), 0); n != len(word) || err != nil {
			t.Fatalf("WriteAt = %d, %v", n, err)
		}
	}
	t.must(f.Close(), "close")
	t.holds("/f", "one two three")
	t.put("/new", os.O_WRONLY|os.O_APPEND|os.O_CREATE, "x")
	t.holds("/new", "x")
}

func testClosedFile(t *tester) {
	f := t.open("/f", os.O_RDWR|os.O_CREATE)
	t.must(f.Close(), "close")
	_, rerr := f.ReadAt(make([]byte, 1), 0)
	_, werr := f.WriteAt([]byte("x"), 0)
	_, serr := f.Stat()
	for what, err := range map[string]error{
		"read": rerr, "write": werr, "stat": serr, "sync": f.Sync(), "close": f.Close(),
		"setattr": f.SetAttr(fs.Attr{Set: fs.AttrMode, Mode: 0o600}),
	} {
		if !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("%s of a closed file = %v, want ErrClosed", what, err)
		}
	}
}

func testSetAttr(t *tester) {
	t.write("/f", "content")
	t.mkdir("/d")
	at, mt := time.Unix(1_000_000_000, 0), time.Unix(1_100_000_000, 123_000_000)
	for _, name := range []string{"/f", "/d"} {
		t.must(t.SetAttr(name, fs.Attr{Set: fs.AttrMode | fs.AttrTimes, Mode: 0o750, Atime: at, Mtime: mt}), "setattr "+name)
		fi, err := t.Stat(name)
		if err != nil || fi.Mode().Perm() != 0o750 || !fi.ModTime().Equal(mt) {
			t.Errorf("%s is %v, %v, want mode 0750 and time %v", name, fi, err, mt)
		}
	}
	for _, bit := range []iofs.FileMode{iofs.ModeSetuid, iofs.ModeSetgid, iofs.ModeSticky} {
		t.fails(t.SetAttr("/f", fs.Attr{Set: fs.AttrMode, Mode: 0o640 | bit}), "setattr", "/f", iofs.ErrPermission)
	}
	if fi, err := t.Stat("/f"); err != nil || fi.Mode() != 0o750 {
		t.Errorf("mode = %v, %v, want it as it was", fi.Mode(), err)
	}
	t.must(t.SetAttr("/f", fs.Attr{Set: fs.AttrSize, Size: 3}), "truncate")
	t.holds("/f", "con")
	t.must(t.SetAttr("/f", fs.Attr{Set: fs.AttrSize, Size: 5}), "extend")
	t.holds("/f", "con\x00\x00")
	t.must(t.SetAttr("/f", fs.Attr{}), "set nothing")
	t.fails(t.SetAttr("/none", fs.Attr{Set: fs.AttrMode, Mode: 0o600}), "setattr", "/none", iofs.ErrNotExist)
	t.fails(t.SetAttr("/d", fs.Attr{Set: fs.AttrSize}), "setattr", "/d", fs.ErrIsDir)
	t.fails(t.SetAttr("/f", fs.Attr{Set: fs.AttrSize, Size: -1}), "setattr", "/f", iofs.ErrInvalid)

	t.symlink("f", "/l")
	t.must(t.SetAttr("/l", fs.Attr{Set: fs.AttrMode | fs.AttrSize, Mode: 0o600, Size: 1}), "setattr through a link")
	if fi, err := t.Stat("/f"); err != nil || fi.Mode() != 0o600 || fi.Size() != 1 {
		t.Errorf("file behind the link is %v, %v, want mode 0600 and 1 byte", fi, err)
	}
	t.must(t.SetAttr("/l", fs.Attr{Set: fs.AttrTimes, Atime: at, Mtime: mt, NoFollow: true}), "setattr of a link")
	if fi, err := t.Lstat("/l"); err != nil || !fi.ModTime().Equal(mt) {
		t.Errorf("time of the link = %v, %v, want %v", fi.ModTime(), err, mt)
	}
	if fi, err := t.Stat("/f"); err != nil || fi.ModTime().Equal(mt) {
		t.Errorf("time of the file = %v, %v, want it untouched", fi.ModTime(), err)
	}
}

func testFileSetAttr(t *tester) {
	f := t.open("/f", os.O_RDWR|os.O_CREATE)
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Fatal(err)
	}
	mt := time.Unix(1_100_000_000, 0)
	if err := f.SetAttr(fs.Attr{Set: fs.AttrMode, Mode: 0o604 | iofs.ModeSetuid}); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("set-user-id bit on an open file = %v, want ErrPermission", err)
	}
	t.must(f.SetAttr(fs.Attr{Set: fs.AttrSize | fs.AttrMode | fs.AttrTimes, Size: 3, Mode: 0o604, Atime: mt, Mtime: mt}), "setattr")
	fi, err := f.Stat()
	if err != nil || fi.Size() != 3 || fi.Mode() != 0o604 || !fi.ModTime().Equal(mt) {
		t.Errorf("open file is %v, %v, want 3 bytes, mode 0604, time %v", fi, err, mt)
	}
	t.must(f.Close(), "close")
	fi, err = t.Stat("/f")
	if err != nil || fi.Size() != 3 || fi.Mode() != 0o604 || !fi.ModTime().Equal(mt) {
		t.Errorf("closed file is %v, %v, want 3 bytes, mode 0604, time %v", fi, err, mt)
	}
}

// testConcurrent has several goroutines use one file and one directory; the
// race detector watches.
func testConcurrent(t *tester) {
	f := t.open("/f", os.O_RDWR|os.O_CREATE)
	const workers, size = 8, 4096
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			piece := bytes.Repeat([]byte{byte('a' + i)}, size)
			if _, err := f.WriteAt(piece, int64(i*size)); err != nil {
				t.Errorf("write: %v", err)
			}
			got := make([]byte, size)
			if _, err := f.ReadAt(got, int64(i*size)); err != nil || !bytes.Equal(got, piece) {
				t.Errorf("read back: %v", err)
			}
			name := "/d" + strconv.Itoa(i)
			err := errors.Join(t.Mkdir(name, 0o777), t.Rename(name, name+"-", false), t.Rmdir(name+"-"))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.must(f.Close(), "close")
	t.lists("/", "f")
}

// testClosed checks that an FS that was closed says so.
func testClosed(t *tester) {
	t.write("/f", "x")
	t.must(t.Close(), "close")
	if _, err := t.OpenFile("/f", os.O_RDONLY, 0); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("open after close = %v, want ErrClosed", err)
	}
	if _, err := t.Lstat("/f"); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("lstat after close = %v, want ErrClosed", err)
	}
	t.must(t.Close(), "close again")
}
