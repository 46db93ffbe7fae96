package fs_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"berth/directory"
	"berth/fs"
	"berth/fs/fstest"
	"berth/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// suites are the ways an FS can be made of layers. Each is opened on an empty
// host directory.
var suites = map[string]func(host string) (fs.FS, error){
	"jail": func(host string) (fs.FS, error) { return fs.OpenJail(host, 0) },
	"mounts": func(host string) (fs.FS, error) {
		return fs.OpenMounts(map[string]string{"/": host})
	},
	"guard": func(host string) (fs.FS, error) {
		return fs.Open(fullPolicy(host), fs.Settings{})
	},
	"limits": func(host string) (fs.FS, error) {
		p := fullPolicy(host)
		p.Limits = policy.Limits{Quota: 1 << 40, QuotaFiles: 1 << 40, MaxFile: 1 << 40, UploadRate: 1 << 40, DownloadRate: 1 << 40}
		return fs.Open(p, fs.Settings{})
	},
	"atomic": func(host string) (fs.FS, error) {
		p := fullPolicy(host)
		p.Uploads = policy.Atomic
		return fs.Open(p, fs.Settings{})
	},
	"all": func(host string) (fs.FS, error) {
		p := fullPolicy(host)
		p.Uploads = policy.Atomic
		p.Limits = policy.Limits{Quota: 1 << 40, QuotaFiles: 1 << 40, MaxFile: 1 << 40, UploadRate: 1 << 40, DownloadRate: 1 << 40}
		return fs.Open(p, fs.Settings{})
	},
}

// peoplesSuites are those of suites that only root can open: the files are a person's.
var peoplesSuites = map[string]func(host string) (fs.FS, error){
	"person": func(host string) (fs.FS, error) {
		return fs.Open(personsPolicy(host), fs.Settings{})
	},
	"person, all": func(host string) (fs.FS, error) {
		p := personsPolicy(host)
		p.Uploads = policy.Atomic
		p.Limits = policy.Limits{Quota: 1 << 40, QuotaFiles: 1 << 40, MaxFile: 1 << 40, UploadRate: 1 << 40, DownloadRate: 1 << 40}
		return fs.Open(p, fs.Settings{})
	},
}

// personsPolicy gives the host directory, which is new, to a person.
func personsPolicy(host string) *policy.Policy {
	p := fullPolicy(host)
	p.Folders[0].Owner = &directory.POSIX{UID: 1001, GID: 2000, Groups: []uint32{2001}}
	err := errors.Join(os.Chmod(filepath.Dir(host), 0o755), os.Chown(host, 1001, 2000))
	if err != nil {
		panic(err)
	}
	return p
}

func fullPolicy(host string) *policy.Policy {
	return &policy.Policy{
		Folders: []policy.Folder{{Path: "/", Host: host}},
		Access:  []policy.Access{{Path: "/", Ops: policy.Full}},
	}
}

func TestConformance(t *testing.T) { conform(t) }

// TestConformanceWithoutOpenat2 is for old kernels and filters of system calls.
func TestConformanceWithoutOpenat2(t *testing.T) {
	defer fs.WithoutOpenat2()()
	conform(t)
}

func conform(t *testing.T) {
	suites := maps.Clone(suites)
	if os.Geteuid() == 0 {
		maps.Copy(suites, peoplesSuites)
	} else {
		t.Log("only root can try files of other people")
	}
	for name, open := range suites {
		t.Run(name, func(t *testing.T) {
			fstest.Test(t, func(t *testing.T) fs.FS {
				f, err := open(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := f.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
				return f
			})
		})
	}
}
