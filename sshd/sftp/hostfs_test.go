package sftp_test

import (
	iofs "io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"

	"berth/fs"
	"berth/policy"
)

// hostFS is a temporary directory as the FS of a person who may do anything in
// it. It counts what the server opens and how that ends.
type hostFS struct {
	fs.FS
	dir     string
	open    atomic.Int64 // files open now
	aborted atomic.Int64 // files that were aborted
}

func newHostFS(t testing.TB) *hostFS {
	t.Helper()
	h, err := openHostFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func openHostFS(dir string) (*hostFS, error) {
	files, err := fs.Open(&policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: dir}},
		Access:  []policy.Access{{Path: "/", Ops: policy.Full}},
	}, fs.Settings{})
	return &hostFS{FS: files, dir: dir}, err
}

// host returns where a name is on this machine.
func (h *hostFS) host(name string) string { return filepath.Join(h.dir, name) }

func (h *hostFS) OpenFile(name string, flag int, perm iofs.FileMode) (fs.File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	h.open.Add(1)
	return &hostFile{f, h}, nil
}

type hostFile struct {
	fs.File
	fs *hostFS
}

func (f *hostFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func (f *hostFile) Abort() error {
	f.fs.aborted.Add(1)
	f.fs.open.Add(-1)
	return f.File.Abort()
}
