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
	l := mustJail(t, host)
	u := new(Quotas).of(host)
	other := newQuota(l, u, Amount{}, nil)
	if err := writeTo(asFS(other), "/f", truncating, "1234567890"); err != nil {
		t.Fatal(err)
	}
	q := newQuota(&afterOpen{l, func() {
		if err := other.Remove("/f"); err != nil {
			t.Error(err)
		}
	}}, u, Amount{Bytes: 5}, nil)
	f, err := q.OpenFile("/f", os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Used(); got != (Amount{Bytes: 10}) {
		t.Errorf("with the file open %+v are counted, want 10 bytes in 0 files", got)
	}
	if room, err := q.StatFS("/"); err != nil || room.BlocksAvail != 0 {
		t.Errorf("StatFS over the limit = %+v, %v, want no room", room, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := u.Used(); got.Bytes != 0 {
		t.Errorf("after the close %d bytes are counted, want 0", got.Bytes)
	}
	if _, err := f.WriteAt([]byte("x"), 12); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("a write to a closed file = %v, want ErrClosed", err)
	}
	if got := u.Used(); got.Bytes != 0 {
		t.Errorf("after a write to the closed file %d bytes are counted, want 0", got.Bytes)
	}
	_, _ = q.Close(), q.Close()
	if n := u.Counter.(*memoryCounter).sessions; n != 1 {
		t.Errorf("%d sessions after the close of one of two, want 1", n)
	}
	_ = other.Close()
}
