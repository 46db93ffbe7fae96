package sftp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/pkg/sftp"

	"berth/sshd/sftp"
)

// random returns n bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// must ends the test with an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestClientReadsAndWrites(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	want := random(3<<20 + 17)
	f, err := c.Create("/big")
	must(t, err)
	_, err = f.ReadFrom(bytes.NewReader(want))
	must(t, err)
	must(t, f.Close())
	if got, _ := os.ReadFile(files.host("/big")); !bytes.Equal(got, want) {
		t.Fatalf("wrote %d bytes, want the %d sent", len(got), len(want))
	}
	f, err = c.Open("/big")
	must(t, err)
	defer f.Close()
	var got bytes.Buffer
	if _, err := f.WriteTo(&got); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("read %d bytes, want the %d of the file", got.Len(), len(want))
	}
}

// TestClientResumes continues a transfer where it was interrupted, in both
// directions.
func TestClientResumes(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	want := random(100000)
	must(t, os.WriteFile(files.host("/f"), want[:33333], 0o600))
	f, err := c.OpenFile("/f", os.O_WRONLY)
	must(t, err)
	fi, err := f.Stat()
	must(t, err)
	_, err = f.WriteAt(want[fi.Size():], fi.Size())
	must(t, err)
	must(t, f.Close())
	f, err = c.Open("/f")
	must(t, err)
	defer f.Close()
	_, err = f.Seek(55555, io.SeekStart)
	must(t, err)
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want[55555:]) {
		t.Errorf("the end of the file is %d bytes, %v, want %d", len(got), err, len(want)-55555)
	}
}

func TestClientNamesAndAttributes(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	must(t, c.MkdirAll("/a/b/c"))
	must(t, os.WriteFile(files.host("/a/f"), []byte("text"), 0o600))
	when := time.Unix(1e9, 0)
	for _, step := range []struct {
		what string
		err  error
	}{
		{"chmod", c.Chmod("/a/f", 0o640)},
		{"chtimes", c.Chtimes("/a/f", when.Add(time.Hour), when)},
		{"chown", c.Chown("/a/f", os.Getuid(), os.Getgid())},
		{"truncate", c.Truncate("/a/f", 3)},
		{"chtimes again", c.Chtimes("/a/f", when.Add(time.Hour), when)},
		{"symlink", c.Symlink("f", "/a/s")},
		{"link", c.Link("/a/f", "/a/h")},
		{"rename", c.Rename("/a/h", "/a/b/h")},
		{"posix rename", c.PosixRename("/a/b/h", "/a/b/i")},
		{"rmdir", c.RemoveDirectory("/a/b/c")},
		{"remove", c.Remove("/a/b/i")},
	} {
		if step.err != nil {
			t.Errorf("%s: %v", step.what, step.err)
		}
	}
	fi, err := c.Stat("/a/s")
	must(t, err)
	if fi.Mode() != 0o640 || fi.Size() != 3 || !fi.ModTime().Equal(when) {
		t.Errorf("the file is %v, %d bytes, %v, want -rw-r-----, 3 bytes, %v", fi.Mode(), fi.Size(), fi.ModTime(), when)
	}
	if st := fi.Sys().(*client.FileStat); int(st.UID) != os.Getuid() || time.Unix(int64(st.Atime), 0) != when.Add(time.Hour) {
		t.Errorf("its owner is %d and it was last read at %d, want %d and %d", st.UID, st.Atime, os.Getuid(), when.Unix()+3600)
	}
	if target, err := c.ReadLink("/a/s"); err != nil || target != "f" {
		t.Errorf("ReadLink = %q, %v, want f", target, err)
	}
	var walked []string
	for w := c.Walk("/"); w.Step(); {
		must(t, w.Err())
		walked = append(walked, w.Path())
	}
	if got := strings.Join(walked, " "); got != "/ /a /a/b /a/f /a/s" && got != "/ /a /a/f /a/b /a/s" && len(walked) != 5 {
		t.Errorf("the tree is %s, want five names", got)
	}
	if dir, err := c.Getwd(); err != nil || dir != "/" {
		t.Errorf("Getwd = %q, %v, want /", dir, err)
	}
	if vfs, err := c.StatVFS("/"); err != nil || vfs.Bsize == 0 || vfs.Blocks < vfs.Bfree || vfs.Namemax == 0 {
		t.Errorf("StatVFS = %+v, %v, want something sensible", vfs, err)
	}
	must(t, c.RemoveAll("/a"))
	if _, err := os.Lstat(files.host("/a")); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("after RemoveAll the tree is there: %v", err)
	}
}

// TestClientHandleOutlivesItsName works on an open file whose name is gone.
func TestClientHandleOutlivesItsName(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	must(t, os.WriteFile(files.host("/f"), []byte("text"), 0o600))
	f, err := c.OpenFile("/f", os.O_RDWR)
	must(t, err)
	defer f.Close()
	must(t, c.Rename("/f", "/g"))
	must(t, os.WriteFile(files.host("/f"), []byte("another"), 0o644))
	must(t, f.Truncate(2))
	must(t, f.Chmod(0o640))
	must(t, f.Sync())
	fi, err := f.Stat()
	must(t, err)
	other, _ := os.ReadFile(files.host("/f"))
	if fi.Size() != 2 || fi.Mode() != 0o640 || string(other) != "another" {
		t.Errorf("the open file has %d bytes, %v, the other one reads %q; want 2, -rw-r-----, another", fi.Size(), fi.Mode(), other)
	}
}

// TestClientOddNames stores names as the bytes they are.
func TestClientOddNames(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	for _, name := range []string{
		"\xff\xfe\x80", "caf\xe9", "new\nline", "tab\tq\"uote", "\x1b[31mred", "ünï-日本-😀", "-rf", "*", "back\\slash", " lead", "trail ",
		"a:b", "~", "...", "%2e%2e", strings.Repeat("n", 255),
	} {
		f, err := c.Create("/" + name)
		if err != nil {
			t.Errorf("create %q: %v", name, err)
			continue
		}
		must(t, f.Close())
		if _, err := os.Lstat(filepath.Join(files.dir, name)); err != nil {
			t.Errorf("%q is not on disk: %v", name, err)
		}
		list, err := c.ReadDir("/")
		if err != nil || len(list) != 1 || list[0].Name() != name {
			t.Errorf("the directory holds %v, %v, want %q", list, err, name)
		}
		must(t, c.Remove("/"+name))
	}
	if _, err := c.Create("/" + strings.Repeat("n", 256)); err == nil {
		t.Error("a name of 256 bytes was taken")
	}
}

func TestClientErrors(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	must(t, os.Mkdir(files.host("/d"), 0o700))
	must(t, os.WriteFile(files.host("/d/f"), nil, 0o600))
	_, openErr := c.Open("/no")
	_, exclErr := c.OpenFile("/d/f", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	tests := map[string]struct {
		err  error
		code uint32
		text string
	}{
		"open":   {openErr, 2, ""},
		"excl":   {exclErr, 4, "File exists"},
		"mkdir":  {c.Mkdir("/d"), 4, "File exists"},
		"rmdir":  {c.RemoveDirectory("/d"), 4, "Directory not empty"},
		"rename": {c.Rename("/d", "/d/x"), 4, "Invalid argument"},
	}
	for name, tt := range tests {
		if tt.code == 2 {
			if !errors.Is(tt.err, iofs.ErrNotExist) {
				t.Errorf("%s: %v, want that it does not exist", name, tt.err)
			}
			continue
		}
		var st *client.StatusError
		if !errors.As(tt.err, &st) || st.Code != tt.code || !strings.Contains(st.Error(), tt.text) {
			t.Errorf("%s: %v, want status %d, %s", name, tt.err, tt.code, tt.text)
		}
	}
}

// TestClientAtOnce uses one session from many goroutines, with files open at once.
func TestClientAtOnce(t *testing.T) {
	c, _ := dial(t, sftp.Options{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			name, want := fmt.Sprintf("/f%d", i), random(70000+i)
			f, err := c.Create(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if _, err := f.Write(want); err != nil {
				t.Error(err)
			}
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s came back different, %v", name, err)
			}
		})
	}
	wg.Wait()
	if list, err := c.ReadDir("/"); err != nil || len(list) != 16 {
		t.Errorf("%d files, %v, want 16", len(list), err)
	}
}
