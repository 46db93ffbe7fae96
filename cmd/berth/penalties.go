package main

import (
	"fmt"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func penaltiesCommand() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "penalties",
		Short: "Show which addresses the running server keeps out, or lift that",
		Long: `Penalties asks the running server, by admin.socket of the configuration, which
addresses and networks something is held against. Those whose penalties have
reached admission.penalties.min are kept out for the time that is left. Call it as
the user the server runs as, or as root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := askServer(file)
			if err != nil {
				return err
			}
			all, err := server.Penalties(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing is held against anybody")
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "SOURCE\tLEFT\tKEPT OUT")
			for _, p := range all {
				keptOut := map[bool]string{true: "yes", false: "not yet"}[p.KeptOut]
				fmt.Fprintf(t, "%s\t%s\t%s\n", p.Source, p.Left.Round(time.Second), keptOut)
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.PersistentFlags().StringVar(&file, "config", defaultConfig, "configuration `file`")
	cmd.AddCommand(&cobra.Command{
		Use:   "lift ADDRESS|NETWORK|all",
		Short: "Let an address, a network or everybody try again",
		Long: `Lift forgets what is held against an address, against all in a network such as
192.0.2.0/24, or against everybody. What they do wrong from now on counts anew.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			networks, err := parseNetworks(args[0])
			if err != nil {
				return err
			}
			server, err := askServer(file)
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
				return fmt.Errorf("lift %s: nothing is held against it", args[0])
			}
			return nil
		},
	})
	return cmd
}

// parseNetworks reads an address, a network, or "all".
func parseNetworks(s string) ([]netip.Prefix, error) {
	if s == "all" {
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}, nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil || n.Addr().Is4In6() {
		return nil, fmt.Errorf("%q: must be an address such as 192.0.2.1, a network such as 192.0.2.0/24, or all", s)
	}
	return []netip.Prefix{n}, nil
}
