package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/fs"
	"berth/policy"
)

// folders knows which folders could not be opened when a session began, for
// /readyz and the metrics.
type folders struct {
	report func(missing map[string]int) // host directories by path in the view

	mu      sync.Mutex
	missing map[string]policy.Folder // by host directory
	opened  map[string]bool          // by path in the view: the last session with that folder could open it
}

// open opens the view of a session.
func (f *folders) open(p *policy.Policy, s fs.Settings) (*fs.View, error) {
	view, err := fs.Open(p, s)
	_, all := errors.AsType[fs.BrokenFolders](err)
	if err != nil && !all {
		return nil, err // this is no fault of the folders
	}
	broken := map[string]bool{}
	if err == nil {
		for _, b := range view.Broken {
			broken[b.Host] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, folder := range p.Folders {
		f.note(folder, err == nil && !broken[folder.Host])
	}
	f.report(f.counts())
	return view, err
}

// note needs f.mu.
func (f *folders) note(folder policy.Folder, opened bool) {
	f.opened[folder.Path] = opened
	if opened {
		delete(f.missing, folder.Host)
	} else {
		f.missing[folder.Host] = folder
	}
}

// counts needs f.mu.
func (f *folders) counts() map[string]int {
	counts := map[string]int{}
	for path := range f.opened {
		counts[path] = 0
	}
	for _, folder := range f.missing {
		counts[folder.Path]++
	}
	return counts
}

// Err returns which folders are missing, or nil. all reports whether the last
// sessions could open no folder at all.
func (f *folders) Err() (all bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.missing) == 0 {
		return false, nil
	}
	counts := f.counts()
	var texts []string
	for _, path := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[path]; n > 0 {
			texts = append(texts, fmt.Sprintf("%s (%s)", path, plural(n, "directory", "directories")))
		}
	}
	return !slices.Contains(slices.Collect(maps.Values(f.opened)), true),
		fmt.Errorf("folders cannot be opened: %s", strings.Join(texts, ", "))
}

// watch looks for missing folders until ctx ends, so that a server that gets no
// sessions, because it is not ready, becomes ready again.
func (f *folders) watch(ctx context.Context) {
	const every = 10 * time.Second
	for sleep(ctx, every) {
		f.mu.Lock()
		missing := slices.Collect(maps.Values(f.missing))
		f.mu.Unlock()
		for _, folder := range missing {
			if !openable(folder) { // may take long on a network file system
				continue
			}
			f.mu.Lock()
			f.note(folder, true)
			f.report(f.counts())
			f.mu.Unlock()
		}
	}
}

// openable reports whether the next session can probably open a folder: its host
// directory exists, or can be made. To find that out, it makes another one beside it.
func openable(folder policy.Folder) bool {
	fi, err := os.Stat(folder.Host)
	if folder.Create && errors.Is(err, iofs.ErrNotExist) {
		probe, err := os.MkdirTemp(filepath.Dir(folder.Host), ".berth-probe-")
		return err == nil && os.Remove(probe) == nil
	}
	if folder.Owner != nil && (errors.Is(err, iofs.ErrPermission) || err == nil && fi.IsDir()) {
		return true // as far as the service can see: only the person may open it
	}
	if err != nil || !fi.IsDir() {
		return false
	}
	dir, err := os.Open(folder.Host)
	return err == nil && dir.Close() == nil
}
