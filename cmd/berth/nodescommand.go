package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/sshd/admin"
)

// nodesCommand is operatorCommand for what --node has another node do, or all of them.
func nodesCommand(use, short, long string, args cobra.PositionalArgs, do string, here func(*cobra.Command, *admin.Client, []string) error) *cobra.Command {
	var node string
	cmd := operatorCommand(use, short, long, args, func(cmd *cobra.Command, server *admin.Client, args []string) error {
		if node == "" {
			return here(cmd, server, args)
		}
		t := admin.Task{Do: do, Node: node}
		if do == admin.DoLogLevel {
			var err error
			if t.Level, t.For, err = parseLevel(args); err != nil {
				return err
			}
		}
		return onNodes(cmd.Context(), cmd.OutOrStdout(), server, t)
	})
	cmd.Flags().StringVar(&node, "node", "", "name of the `node` that does it, or all; default: the node that is asked")
	return cmd
}

// onNodes has nodes do t, and prints the result of each. It fails if one of them fails.
func onNodes(ctx context.Context, out io.Writer, server *admin.Client, t admin.Task) error {
	all, err := server.Nodes(ctx, t)
	failed := err != nil
	for _, d := range all {
		outcome := "done"
		switch {
		case d.Error != "":
			outcome, failed = "FAILED: "+d.Error, true
		case d.Waits != "":
			outcome, failed = "done; "+d.Waits, true
		}
		fmt.Fprintf(out, "%s: %s\n", nodeName(d.Node), outcome)
	}
	if t.Do == admin.DoReload {
		printRules(out, all)
	}
	if err == nil && failed {
		return errReported
	}
	return err
}

// nodeName is that of a node in a line of text.
func nodeName(name string) string { return cmp.Or(name, "this node") }

// askNodes has nodes do t. The error also says which of them could not do it.
func askNodes(ctx context.Context, server *admin.Client, t admin.Task) ([]admin.Done, error) {
	all, err := server.Nodes(ctx, t)
	for _, d := range all {
		if d.Error != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s", nodeName(d.Node), d.Error))
		}
	}
	return all, err
}

// nodeSessions are the sessions in which t results. The error says which may be missing.
func nodeSessions(ctx context.Context, server *admin.Client, t admin.Task) (all []admin.Session, err error) {
	nodes, err := askNodes(ctx, server, t)
	for _, d := range nodes {
		for _, s := range d.Sessions {
			s.Node = d.Node
			all = append(all, s)
		}
	}
	return all, err
}

// compareRules prints which rules the nodes have, if there are several. The answer
// to any task has the hash of the rules.
func compareRules(cmd *cobra.Command, server *admin.Client) {
	all, err := server.Nodes(cmd.Context(), admin.Task{Do: admin.DoSessions, Node: admin.EveryNode})
	if len(all) > 1 {
		printRules(cmd.OutOrStdout(), all)
	}
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err)
	}
}

// printRules prints which nodes have which rules, and a warning if they differ.
func printRules(out io.Writer, all []admin.Done) {
	by := map[string][]string{}
	for _, d := range all {
		by[d.RulesHash] = append(by[d.RulesHash], nodeName(d.Node))
	}
	for _, hash := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[hash])
		fmt.Fprintf(out, "rules %s: %s\n", hash, strings.Join(by[hash], ", "))
	}
	if len(by) > 1 {
		fmt.Fprintln(out, "WARNING: nodes have different rules: what people may do depends on the node")
	}
}

// printOthers prints a line for each other node than the one with the status here, and a
// warning if they have different rules.
func printOthers(cmd *cobra.Command, server *admin.Client, here admin.Status) error {
	all, err := server.Nodes(cmd.Context(), admin.Task{Do: admin.DoStatus})
	t := newTable(cmd.OutOrStdout())
	if len(all) > 0 {
		fmt.Fprintln(t, "\nOTHER NODE\tRELEASE\tREADY\tSESSIONS\tRULES\tLOG LEVEL\tSINCE")
	}
	for _, d := range all {
		s := d.Status
		if s == nil {
			fmt.Fprintf(t, "%s\t%s\n", d.Node, d.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.Node, s.Release, readyText(*s), s.Sessions, d.RulesHash, s.LogLevel, s.Started.Local().Format("01-02 15:04:05"))
	}
	err = errors.Join(t.Flush(), err)
	if slices.ContainsFunc(all, func(d admin.Done) bool { return d.RulesHash != here.RulesHash }) {
		printRules(cmd.OutOrStdout(), append(all, admin.Done{RulesHash: here.RulesHash}))
	}
	return err
}

// statusOf shows how the node with a name is, or each of all.
func statusOf(cmd *cobra.Command, server *admin.Client, node string, show func(admin.Status) error) error {
	all, err := askNodes(cmd.Context(), server, admin.Task{Do: admin.DoStatus, Node: node})
	for _, d := range all {
		if d.Status == nil {
			continue // the error says it
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "node %s\n", d.Node)
		if notReady := show(*d.Status); err == nil {
			err = notReady
		}
	}
	return err
}
