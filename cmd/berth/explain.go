package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/policy"
)

// explainFlags are the circumstances of the login to explain.
type explainFlags struct {
	config, from, method, at string
	json                     bool
}

func explainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain USER",
		Short: "Say what a user may do, and why",
		Long: `Explain looks a user up and prints DN, groups, account state and keys, every rule
with the condition that held or failed, and the folders and rights that result.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.explain(cmd, args[0]) },
	}
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&f.from, "from", "127.0.0.1", "`address` the login comes from")
	cmd.Flags().StringVar(&f.method, "method", "password", "`method` of the login: password, publickey, keyboard-interactive")
	cmd.Flags().StringVar(&f.at, "at", "", "`time` of the login, such as 2026-11-22T09:30:00+01:00 (default now)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func (f *explainFlags) explain(cmd *cobra.Command, name string) error {
	req, err := f.request()
	if err != nil {
		return err
	}
	cfg, err := config.Load(f.config)
	if err != nil {
		return err
	}
	set, err := policy.Compile(cfg.Rules)
	if err != nil {
		return err
	}
	people, err := openDirectories(cfg.Directories, set.Attributes(), hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	req.User, err = people.Lookup(cmd.Context(), name)
	if errors.Is(err, directory.ErrNoUser) {
		return fmt.Errorf("%q: the directory has no such user", name)
	} else if err != nil {
		return fmt.Errorf("look up %q: %w", name, err)
	}
	why := set.Explain(req)
	if f.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(why)
	}
	return why.WriteText(cmd.OutOrStdout())
}

// request is the login in question, without the user.
func (f *explainFlags) request() (policy.Request, error) {
	req := policy.Request{Method: f.method, Time: time.Now()}
	var err error
	if req.Remote, err = netip.ParseAddr(f.from); err != nil {
		return req, fmt.Errorf("--from: %q: must be an IP address, such as 192.0.2.7", f.from)
	}
	if f.at != "" {
		if req.Time, err = time.Parse(time.RFC3339, f.at); err != nil {
			return req, fmt.Errorf("--at: %q: must be a time such as 2026-11-22T09:30:00+01:00", f.at)
		}
	}
	return req, nil
}
