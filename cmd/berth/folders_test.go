package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/fs"
	"berth/policy"
	"berth/sshd/admin"
	"berth/sshd/event/audit"
)

// pinged is a directory that only answers whether it is there.
type pinged struct {
	directory.Directory
	err error
}

func (p pinged) Ping(context.Context) error { return p.err }

// TestMissingFolders has folders go and come back: what the metrics count, and
// what /readyz answers.
func TestMissingFolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ctx, end := context.WithCancel(t.Context())
		defer end()
		record, err := audit.Open(audit.DefaultSettings(), hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		defer record.Close()
		var counted map[string]int
		shown := &folders{report: func(n map[string]int) { counted = n }, missing: map[string]policy.Folder{}, opened: map[string]bool{}}
		go shown.watch(ctx)
		people := &pinged{}
		ready := func() error {
			synctest.Wait()
			return readiness(t.Context(), people, shown, record.Queue, func() (int, error) { return 0, nil }, audit.Continue)(t.Context())
		}
		session := func(home string) {
			t.Helper()
			view, err := shown.open(&policy.Policy{Folders: []policy.Folder{
				{Path: "/", Host: filepath.Join(dir, home)}, {Path: "/finance", Host: filepath.Join(dir, "finance")},
			}}, fs.Settings{})
			if err == nil {
				view.Close()
			}
		}
		degraded := func(want string, count map[string]int) {
			t.Helper()
			err := ready()
			var d admin.Degraded
			if !errors.As(err, &d) || err.Error() != want || !maps.Equal(counted, count) {
				t.Errorf("got %v and %v, want %q and %v", err, counted, want, count)
			}
		}
		make := func(name string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		make("alice")
		make("finance")
		session("alice")
		if err := ready(); err != nil || !maps.Equal(counted, map[string]int{"/": 0, "/finance": 0}) {
			t.Errorf("all folders are there: %v, %v", err, counted)
		}
		session("bob")
		session("carol")
		degraded("folders cannot be opened: / (2 directories)", map[string]int{"/": 2, "/finance": 0})
		people.err = errors.New("no server answers")
		if err := ready(); errors.As(err, new(admin.Degraded)) || !errors.Is(err, people.err) {
			t.Errorf("no directory answers, and a folder is missing: %v", err)
		}
		people.err = nil

		os.Remove(filepath.Join(dir, "finance"))
		session("alice")
		degraded("folders cannot be opened: / (2 directories), /finance (1 directory)", map[string]int{"/": 2, "/finance": 1})
		session("bob")
		if err := ready(); err == nil || errors.As(err, new(admin.Degraded)) || !strings.Contains(err.Error(), "/finance (1 directory)") {
			t.Errorf("the last sessions had no folder: %v, want that the server is not ready", err)
		}

		// Nobody logs in, because the server is not ready.
		make("finance")
		make("bob")
		time.Sleep(11 * time.Second)
		degraded("folders cannot be opened: / (1 directory)", map[string]int{"/": 1, "/finance": 0})
		make("carol")
		session("carol")
		if err := ready(); err != nil {
			t.Errorf("all folders are there again: %v", err)
		}
	})
}

// TestOpenable holds watch to what the next session can open.
func TestOpenable(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		host   string
		create bool
		want   bool
	}{
		{"", false, true},
		{"/file", false, false},
		{"/new", false, false},
		{"/new", true, true},
		{"/none/new", true, false},
		{"/file/new", true, false},
	} {
		if got := openable(policy.Folder{Host: dir + tt.host, Create: tt.create}); got != tt.want {
			t.Errorf("openable(%q, create: %t) = %t", tt.host, tt.create, got)
		}
	}
	if openable(policy.Folder{Host: "/proc/new", Create: true}) { // where not even root makes a directory
		t.Error("a directory that cannot be made is openable")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v, want only the file", entries, err)
	}
}
