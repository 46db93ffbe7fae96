package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/policy"
	"berth/sshd/admin"
	"berth/sshd/login"
	"berth/sshd/state"
)

// operatorCommand is a command that asks the running server by the socket of the
// configuration.
func operatorCommand(use, short, long string, args cobra.PositionalArgs, run func(*cobra.Command, *admin.Client, []string) error) *cobra.Command {
	return configCommand(use, short, long, args, func(cmd *cobra.Command, cfg *config.Config, args []string) error {
		if cfg.Admin.Socket == "" {
			return errors.New("admin.socket: missing in the configuration: a running server can be asked only by its socket, such as /run/berth/berth.sock")
		}
		return run(cmd, admin.Dial(cfg.Admin.Socket), args)
	})
}

func reloadCommand() *cobra.Command {
	return nodesCommand("reload", "Make the running server read its configuration again",
		`Reload reads the configuration first. If it has a mistake, nothing happens. Then
reload asks the running server, through admin.socket, to apply the rules, admission
and the people of embedded directories, and waits for the outcome. It fails if
another setting has changed, because only a restart applies it. Run it as the user
the server runs as, or as root. A server without admin.socket reloads at SIGHUP,
and writes the outcome only as an event.

With --node each node reads its own configuration file. Reload prints which nodes
have which rules, and warns while they differ.`, cobra.NoArgs, admin.DoReload, func(cmd *cobra.Command, server *admin.Client, _ []string) error {
			waits, err := server.Reload(cmd.Context())
			if err != nil {
				return fmt.Errorf("reload: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "applied: rules, admission, people of embedded directories")
			compareRules(cmd, server)
			if waits != "" {
				return errors.New(waits)
			}
			return nil
		})
}

func sessionsCommand() *cobra.Command {
	var node string
	var watch, asJSON bool
	cmd := operatorCommand("sessions", "Show who is logged in to the running server",
		`Sessions asks the running server, through admin.socket of the configuration, who
is logged in, from where, since when, and how many bytes they have transferred. Run
it as the user the server runs as, or as root. It asks all nodes that share their
state.

With --watch it shows every second which files are being transferred: how much of
each, how fast, and the time left. Only the client knows how long an upload will
be.`, cobra.NoArgs, func(cmd *cobra.Command, server *admin.Client, _ []string) error {
			if watch {
				return watchSessions(cmd.Context(), cmd.OutOrStdout(), server)
			}
			all, missing := sessionsOf(cmd.Context(), server, node)
			const head = "SESSION\tUSER\tFROM\tLOGIN\tSINCE\tIDLE\tSERVICES\tFILES\tREAD\tWRITTEN\tCLIENT\tNODE"
			return newList(cmd.OutOrStdout(), asJSON, head, sessionRow).print(all, missing, "nobody is logged in")
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.Flags().BoolVar(&watch, "watch", false, "show the transfers every second, until Ctrl-C")
	cmd.Flags().StringVar(&node, "node", "", "only sessions of the `node` with this name")
	cmd.MarkFlagsMutuallyExclusive("watch", "json")
	cmd.MarkFlagsMutuallyExclusive("watch", "node")
	return cmd
}

func sessionRow(s admin.Session) string {
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s", s.ID, login.Printable(s.User), s.Remote.Addr(), s.Method,
		s.Since.Local().Format("01-02 15:04:05"), s.Idle.Round(time.Second), strings.Join(s.Services, ","),
		s.Files, mebibytes(s.Read), mebibytes(s.Written), strings.TrimPrefix(s.Client, "SSH-2.0-"), s.Node)
}

// sessionsOf are those of a node; without one those of the server, of the processes that it
// took over from, and of other nodes. The error says why there may be more. The result is
// nil only if the server itself has not answered.
func sessionsOf(ctx context.Context, server *admin.Client, node string) ([]admin.Session, error) {
	if node != "" {
		return nodeSessions(ctx, server, admin.Task{Do: admin.DoSessions, Node: node})
	}
	here, err := server.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	before, silent := askBefore(server, func(c *admin.Client) ([]admin.Session, error) { return c.Sessions(ctx) })
	others, missing := nodeSessions(ctx, server, admin.Task{Do: admin.DoSessions})
	all := append([]admin.Session{}, here...)
	return append(append(all, before...), others...), errors.Join(silent, missing)
}

// askBefore asks the processes that the server took over from. The error says which of
// them did not answer although they have not ended.
func askBefore(server *admin.Client, ask func(*admin.Client) ([]admin.Session, error)) (all []admin.Session, err error) {
	for _, before := range server.Lingering() {
		some, failed := ask(before)
		if failed != nil && !errors.Is(failed, admin.ErrNobody) {
			err = errors.Join(err, fmt.Errorf("a process from before an upgrade: %w", failed))
		}
		all = append(all, some...)
	}
	return all, err
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func kickCommand() *cobra.Command {
	var node string
	cmd := operatorCommand("kick SESSION|USER", "End a session of the running server, or all sessions of a user",
		`Kick ends the session with this id, as events and "berth sessions" show it, or all
sessions of the user with this name, on all nodes. Unfinished uploads do not replace
files. The user can log in again immediately. To prevent that, disable the user in
the directory or change the rules.`, cobra.ExactArgs(1), func(cmd *cobra.Command, server *admin.Client, args []string) error {
			var ended []admin.Session
			var silent error
			if node == "" {
				kick := func(c *admin.Client) ([]admin.Session, error) { return c.Kick(cmd.Context(), args[0]) }
				here, err := kick(server)
				if err != nil {
					return err
				}
				ended, silent = askBefore(server, kick)
				ended = append(here, ended...)
			}
			others, missing := nodeSessions(cmd.Context(), server, admin.Task{Do: admin.DoKick, Who: args[0], Node: node})
			ended, missing = append(ended, others...), errors.Join(silent, missing)
			if len(ended) == 0 && missing == nil {
				return fmt.Errorf("kick %s: no open session has this id or belongs to a user with this name", args[0])
			}
			for _, s := range ended {
				fmt.Fprintf(cmd.OutOrStdout(), "ended %s of %s from %s\n", s.ID, login.Printable(s.User), s.Remote)
			}
			return missing
		})
	cmd.Flags().StringVar(&node, "node", "", "only on the `node` with this name")
	return cmd
}

func drainCommand() *cobra.Command {
	return nodesCommand("drain", "Stop the running server after its transfers",
		`Drain does the same as SIGTERM. The server reports that it is not ready and accepts
no new sessions. It waits until running transfers have finished their file, for
ssh.drain at most, and then ends.`, cobra.NoArgs, admin.DoDrain, func(cmd *cobra.Command, server *admin.Client, _ []string) error {
			if err := server.Drain(cmd.Context()); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "the server is draining")
			return err
		})
}

func upgradeCommand() *cobra.Command {
	return operatorCommand("upgrade", "Replace the program of the running server without an interruption",
		`Upgrade asks the running server, through admin.socket, to start its program again
from the same file, which may now be a newer version. The new process reads the
configuration, takes over the listening sockets, penalties and used one-time codes,
and serves. Then the old process accepts no more connections. Its sessions continue
for ssh.drain at most. No connection is refused and no transfer is cut.
If the new process cannot serve, for example because the configuration has a
mistake, nothing changes and the error gives the reason.`, cobra.NoArgs, func(cmd *cobra.Command, server *admin.Client, _ []string) error {
			next, err := server.Upgrade(cmd.Context())
			if err != nil {
				return fmt.Errorf("upgrade: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d, berth %s, serves now; sessions of the old process continue for %v at most\n", next.PID, next.Release, next.Drain)
			return err
		})
}

func penaltiesCommand() *cobra.Command {
	var asJSON bool
	cmd := operatorCommand("penalties", "Show which addresses have penalties, or lift penalties",
		`Penalties asks the running server, through admin.socket of the configuration, which
addresses and networks have penalties. An address whose penalties have reached
admission.penalties.min cannot connect for the time that is left. Run it as the
user the server runs as, or as root.`, cobra.NoArgs, func(cmd *cobra.Command, server *admin.Client, _ []string) error {
			all, err := server.Penalties(cmd.Context())
			return newList(cmd.OutOrStdout(), asJSON, "SOURCE\tLEFT\tKEPT OUT", func(p state.Penalty) string {
				keptOut := map[bool]string{true: "yes", false: "not yet"}[p.KeptOut]
				return fmt.Sprintf("%s\t%s\t%s", p.Source, p.Left.Round(time.Second), keptOut)
			}).print(all, err, "no address has a penalty")
		})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.AddCommand(operatorCommand("lift ADDRESS|NETWORK|all", "Let an address, a network or everybody try again",
		`Lift removes the penalties of an address, of all addresses in a network such as
192.0.2.0/24, or of everybody. Later mistakes cause penalties again.`, cobra.ExactArgs(1), func(cmd *cobra.Command, server *admin.Client, args []string) error {
			networks, err := parseNetworks(args[0])
			if err != nil {
				return err
			}
			count := 0
			for _, n := range networks {
				lifted, err := server.Lift(cmd.Context(), n)
				if err != nil {
					return err
				}
				for _, source := range lifted {
					fmt.Fprintf(cmd.OutOrStdout(), "lifted: %s\n", source)
				}
				count += len(lifted)
			}
			if count == 0 {
				return fmt.Errorf("lift %s: it has no penalty", args[0])
			}
			return nil
		}))
	return cmd
}

// parseNetworks reads an address, a network, or "all".
func parseNetworks(s string) ([]netip.Prefix, error) {
	if s == "all" {
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, nil
	}
	withoutZone, _, _ := strings.Cut(s, "%")
	n, err := policy.ParseNetwork(withoutZone)
	if err != nil {
		return nil, fmt.Errorf("%q: %w, or all", s, err)
	}
	return []netip.Prefix{n}, nil
}
