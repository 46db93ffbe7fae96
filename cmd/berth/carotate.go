package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/sshd/cert"
	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

func caMakeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "make FILE",
		Short: "Make an authority",
		Long: `Make makes a private key (Ed25519) for an authority in FILE, which only its owner may
read, and the public key in FILE.pub. The server must be able to read both, so run it
as the user of the server. Make never overwrites a file.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := makeAuthority(args[0])
			if err != nil {
				return fmt.Errorf("make %s: %w", args[0], err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", args[0], hostkey.Describe(k))
			return nil
		},
	}
}

// makeAuthority makes a key and both of its files. The public one comes first: while
// there is no private one, nothing was made.
func makeAuthority(file string) (k hostkey.Key, err error) {
	if k, err = hostkey.Generate("ed25519"); err != nil {
		return k, err
	}
	k.Comment = filepath.Base(file)
	public, err := k.EncodePublic(hostkey.OpenSSH)
	if err != nil {
		return k, err
	}
	private, err := k.Encode(hostkey.OpenSSH, nil)
	if err != nil {
		return k, err
	}
	if err := privatefile.Create(file+".pub", public, 0o644); err != nil {
		return k, err
	}
	return k, privatefile.Create(file, private, 0o600)
}

func caRotateCommand() *cobra.Command {
	return configCommand("rotate", "Show how to replace the authority that issues",
		`Rotate shows the authority that issues certificates and the others that are accepted
beside it, and the next step to a new one. It changes nothing. Two are valid at a time:
the new one signs, and the certificates of the old one are accepted until they end.`, cobra.NoArgs, rotateAuthority)
}

func rotateAuthority(cmd *cobra.Command, cfg *config.Config, _ []string) error {
	file := cfg.Certificates.Issue.CAKey
	if file == "" {
		return fmt.Errorf("%s: certificates.issue.ca_key: missing: this server issues no certificates, so it has no authority to replace", cfg.Path)
	}
	all, issues, err := listAuthorities(cfg)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(a cert.Listed) bool { return a.Fingerprint == issues })
	if i < 0 {
		return fmt.Errorf("certificates.issue.ca_key: %s: its certificates are not accepted: add %s.pub to a file of ca_keys or authorities", file, strings.TrimSuffix(file, ".pub"))
	}
	var others []string
	for _, a := range all {
		if a.Directory == all[i].Directory && a.Fingerprint != issues && !slices.Contains(others, a.Fingerprint) {
			others = append(others, a.Fingerprint)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s issues: %s\n", issues, file)
	for _, o := range others {
		fmt.Fprintf(cmd.OutOrStdout(), "%s is accepted\n", o)
	}
	if len(others) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), oneAuthority, nextFile(file), all[i].File, cfg.Certificates.Issue.Lifetime.Round(time.Second))
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), twoAuthorities, strings.Join(others, ", "), cfg.Certificates.Issue.Lifetime.Round(time.Second), all[i].File)
	return nil
}

// generation matches the number at the end of a name that nextFile returned.
var generation = regexp.MustCompile(`-\d+$`)

// nextFile returns a name for the key after that in file that is free: ca, ca-2, ca-3.
func nextFile(file string) string {
	base := generation.ReplaceAllString(strings.TrimSuffix(file, ".pub"), "")
	for n := 2; ; n++ {
		name := fmt.Sprintf("%s-%d", base, n)
		if _, err := os.Lstat(name + ".pub"); err != nil {
			return name
		}
	}
}

// What to do with one authority, and with several.
const (
	oneAuthority = `
To replace it:
  1. Make another one:  sudo -u berth berth ca make %[1]s
  2. Accept it, on every server:  cat %[1]s.pub >> %[2]s
  3. Set certificates.issue.ca_key to %[1]s, and restart the server.
  4. After %[3]v the last certificate of the old one has ended. Run this command again.
`
	twoAuthorities = `
Beside the one that issues, %[1]s is accepted.
  - If that is the new one: set certificates.issue.ca_key to its private key, and restart the server.
  - If it is the old one: when it has issued nothing for %[2]v, remove its line from %[3]s on
    every server, and delete its private key.
  - If it issues elsewhere, leave it.
`
)
