package main

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/fs"
	"berth/policy"
)

// When the rest of broken uploads is looked for, and how old it is by then: a client
// may come back for an upload within fs.KeepUploads.
const (
	sweepFirst = 10 * time.Minute // not while everybody is waiting for the server
	sweepEvery = 24 * time.Hour
	sweepAge   = fs.KeepUploads + time.Hour
)

// sweep removes what broken uploads left in all folders of the rules, soon
// after the start and then every day, until ctx ends. Otherwise uploads that
// nobody resumes would fill the disk, hidden from everybody.
func sweep(ctx context.Context, rules func() *policy.Set, quotas *fs.Quotas, log hclog.Logger) {
	for wait := sweepFirst; sleep(ctx, wait); wait = sweepEvery {
		for _, host := range hosts(rules().Hosts()) {
			n, err := quotas.Sweep(ctx, host, sweepAge)
			if n > 0 {
				log.Info("removed files of interrupted uploads", "host", host, "files", n)
			}
			if err != nil && ctx.Err() == nil {
				log.Warn("look for files of interrupted uploads", "host", host, "error", err)
			}
		}
	}
}

// hosts returns the directories that match the patterns and lie in no other one.
func hosts(patterns []string) []string {
	var all []string
	for _, pattern := range patterns {
		all = append(all, existing(pattern)...)
	}
	slices.Sort(all) // a directory is followed by what is in it
	var outer []string
	seen := map[string]bool{}
	for _, host := range all {
		if !within(host, seen) {
			seen[host] = true
			outer = append(outer, host)
		}
	}
	return outer
}

// within reports whether host or a directory that it lies in is one of dirs.
func within(host string, dirs map[string]bool) bool {
	for above := filepath.Dir(host); !dirs[host]; host, above = above, filepath.Dir(above) {
		if above == host {
			return false
		}
	}
	return true
}
