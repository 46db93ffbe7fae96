package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/directory"
	"berth/policy"
)

// explainAll prints a line for each user.
func (f *explainFlags) explainAll(cmd *cobra.Command) error {
	req, err := f.request()
	if err != nil {
		return err
	}
	cfg, set, err := readRules(f.config)
	if err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, set.Attributes(), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	lines := json.NewEncoder(cmd.OutOrStdout())
	table := policy.NewSummaryTable(cmd.OutOrStdout())
	for u, err := range people.users(cmd.Context(), nil) {
		if err != nil {
			return errors.Join(err, f.flush(table))
		}
		req.User = u
		if sum := set.Summary(req); !f.json {
			table.Add(sum)
		} else if err := lines.Encode(sum); err != nil {
			return err
		}
	}
	return f.flush(table)
}

func (f *explainFlags) flush(table *policy.SummaryTable) error {
	if f.json {
		return nil
	}
	return table.Flush()
}

// explainChanges prints what changes for some users, or for all.
func (f *explainFlags) explainChanges(cmd *cobra.Command, oldFile, newFile string, names []string) error {
	req, err := f.request()
	if err != nil {
		return err
	}
	_, old, err := readRules(oldFile)
	if err != nil {
		return err
	}
	cfg, next, err := readRules(newFile)
	if err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, append(old.Attributes(), next.Attributes()...), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	out := cmd.OutOrStdout()
	users, changed := 0, 0
	for u, err := range people.users(cmd.Context(), names) {
		if err != nil {
			return err
		}
		users++
		req.User = u
		changes := old.Compare(next, req)
		if len(changes) == 0 {
			continue
		}
		changed++
		if err := f.writeChanges(out, u.Name, changes); err != nil {
			return err
		}
	}
	if !f.json {
		fmt.Fprintf(out, "%d of %d users: access changes\n", changed, users)
	}
	return nil
}

func (f *explainFlags) writeChanges(w io.Writer, user string, changes []policy.Change) error {
	if !f.json {
		return policy.WriteChanges(w, user, changes)
	}
	return json.NewEncoder(w).Encode(struct {
		User    string          `json:"user"`
		Changes []policy.Change `json:"changes"`
	}{user, changes})
}

// users yields the users of those names, or all that the directories list.
func (d *directories) users(ctx context.Context, names []string) iter.Seq2[*directory.User, error] {
	if len(names) == 0 {
		return d.Users(ctx)
	}
	return func(yield func(*directory.User, error) bool) {
		for _, name := range names {
			if u, err := lookup(ctx, d, name); !yield(u, err) {
				return
			}
		}
	}
}
