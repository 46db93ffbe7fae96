package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"testing"
)

// afterOpen calls then between the open of a file and what the layer above does
// with it.
type afterOpen struct {
	layer
	then func()
}

func (a *afterOpen) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	f, err := a.layer.OpenFile(name, flag, perm)
	a.then()
	return f, err
}

// TestRemovedBeforeTracked checks that a file whose name goes away just after it was
// opened counts until it is closed, and that a closed quota has one session less.
func TestRemovedBeforeTracked(t *testing.T) {
	host := t.TempDir()
	l, err := openJail(host, 0)
	if err != nil {
		t.Fatal(err)
	}
	u := new(Quotas).of(host)
	other := newQuota(l, u, bounds{})
	if err := writeTo(asFS(other), "/f", truncating, "1234567890"); err != nil {
		t.Fatal(err)
	}
	q := newQuota(&afterOpen{l, func() {
		if err := other.Remove("/f"); err != nil {
			t.Error(err)
		}
	}}, u, bounds{bytes: 5})
	f, err := q.OpenFile("/f", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if u.bytes != 10 || u.files != 0 {
		t.Errorf("with the file open %d bytes in %d files are counted, want 10 in 0", u.bytes, u.files)
	}
	if room, err := q.StatFS("/"); err != nil || room.BlocksAvail != 0 {
		t.Errorf("StatFS over the limit = %+v, %v, want no room", room, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if u.bytes != 0 {
		t.Errorf("after the close %d bytes are counted, want 0", u.bytes)
	}
	if _, err := f.WriteAt([]byte("x"), 12); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("a write to a closed file = %v, want ErrClosed", err)
	}
	if u.bytes != 0 {
		t.Errorf("after a write to the closed file %d bytes are counted, want 0", u.bytes)
	}
	_, _ = q.Close(), q.Close()
	if u.sessions != 1 {
		t.Errorf("%d sessions after the close of one of two, want 1", u.sessions)
	}
	_ = other.Close()
}
