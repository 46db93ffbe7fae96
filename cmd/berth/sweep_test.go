package main

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
	"berth/policy"
)

// TestSweep leaves a broken upload in the home of somebody who never comes back.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	set, err := policy.Compile([]policy.Rule{{Name: "all", Home: &policy.Home{Host: dir + "/home/%u/files"}}})
	if err != nil {
		t.Fatal(err)
	}
	part := dir + "/home/alice/files/sub/.berth-upload-x"
	outside := dir + "/home/alice/.berth-upload-x"
	synctest.Test(t, func(t *testing.T) {
		for _, name := range []string{part, outside} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("x"), 0o644), os.Chtimes(name, time.Time{}, time.Now())); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go sweep(ctx, func() *policy.Set { return set }, new(fs.Quotas), hclog.NewNullLogger())
		time.Sleep(sweepFirst)
		for day, want := range []bool{true, true, false} { // on the second day it is not old enough
			synctest.Wait()
			if _, err := os.Stat(part); (err == nil) != want {
				t.Errorf("after %d days: %v, want it there: %t", day, err, want)
			}
			time.Sleep(sweepEvery)
		}
		cancel()
	})
	if _, err := os.Stat(outside); errors.Is(err, iofs.ErrNotExist) {
		t.Error("swept outside of the folders of the rules")
	}
}

func TestHosts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/x", "a-b", "[c]/d", "[c]/.e", "f"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	set, err := policy.Compile([]policy.Rule{{Name: "all", Folders: []policy.Mount{
		{Path: "/1", Host: dir + "/a"},
		{Path: "/2", Host: dir + "/a/x"},
		{Path: "/3", Host: dir + "/a-%u"},
		{Path: "/4", Host: dir + "/[c]/%{l}"},
		{Path: "/5", Host: dir + "/missing/%u"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{dir + "/[c]/.e", dir + "/[c]/d", dir + "/a", dir + "/a-b"}
	if got := hosts(set.Hosts()); !slices.Equal(got, want) {
		t.Errorf("hosts = %q, want %q", got, want)
	}
}
