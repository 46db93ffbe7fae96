package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"berth/config"
	"berth/sshd/cert"
	"berth/sshd/event"
	"berth/sshd/hostkey"
)

func caCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make, show and replace the authorities of certificates, and revoke certificates",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(configCommand("show", "Show the authorities",
		`Show prints the authorities whose certificates are accepted, and which of them
issues certificates for "ssh HOST certify".`, cobra.NoArgs, showAuthorities), caMakeCommand(), caRotateCommand())
	var r revocation
	revoke := configCommand("revoke [NAME]", "Revoke certificates or a key",
		`Revoke adds a line to the first text file in certificates.revoked. NAME is the id of
certificates; those from "ssh HOST certify" have the name of the person. A running
server uses the line from the next login on, and ends open sessions of such
certificates at the next re-check. Each revocation is an event.`, cobra.MaximumNArgs(1), r.run)
	revoke.Flags().Uint64Var(&r.serial, "serial", 0, "revoke the certificates with a serial `number`")
	revoke.Flags().StringVar(&r.key, "key", "", "revoke the public key in `file`, and all certificates of it")
	revoke.MarkFlagsMutuallyExclusive("serial", "key")
	cmd.AddCommand(revoke)
	return cmd
}

func showAuthorities(cmd *cobra.Command, cfg *config.Config, _ []string) error {
	all, issues, err := listAuthorities(cfg)
	if err != nil {
		return err
	}
	table := newList(cmd.OutOrStdout(), false, "AUTHORITY\tPEOPLE OF\tISSUES\tFILE", func(a cert.Listed) string {
		how := "no"
		if a.Fingerprint == issues {
			how = "for " + cfg.Certificates.Issue.Lifetime.String()
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s", a.Fingerprint, a.Directory, how, a.File)
	})
	return table.print(all, nil, "No authority is configured, so certificates are not accepted. Name its public key in certificates.ca_keys; berth ca make makes a new one.")
}

// listAuthorities returns the authorities whose certificates are accepted, and the
// fingerprint of the one that issues; empty if none does.
func listAuthorities(cfg *config.Config) (all []cert.Listed, issues string, err error) {
	if file := cfg.Certificates.Issue.CAKey; file != "" {
		key, err := hostkey.OpenSigner(file, hostkey.Agent(cfg.HostKeyAgent))
		if err != nil {
			return nil, "", fmt.Errorf("certificates.issue.ca_key: %s: %w", file, err)
		}
		issues = ssh.FingerprintSHA256(key.PublicKey())
	}
	authorities, err := cert.Open(cfg.Certificates, cfg.DirectoryNames()...)
	if err == nil {
		all, err = authorities.List()
	}
	if err != nil {
		return nil, "", fmt.Errorf("certificates: %w", err)
	}
	return all, issues, nil
}

// A revocation has the flags of berth ca revoke.
type revocation struct {
	serial uint64
	key    string
}

// line returns the line of the list, and the fields of the event.
func (r *revocation) line(args []string) (string, map[string]string, error) {
	switch {
	case len(args) == 1 && (r.serial != 0 || r.key != ""), len(args) == 0 && r.serial == 0 && r.key == "":
		return "", nil, errors.New("one of NAME, --serial and --key is needed")
	case len(args) == 1:
		return "id: " + args[0], map[string]string{"certificate": args[0]}, nil
	case r.serial != 0:
		n := strconv.FormatUint(r.serial, 10)
		return "serial: " + n, map[string]string{"certificate_serial": n}, nil
	}
	k, err := readKey(r.key, nil)
	if err != nil {
		return "", nil, err
	}
	public := k.Public
	if c, ok := public.(*ssh.Certificate); ok {
		public = c.Key
	}
	fingerprint := ssh.FingerprintSHA256(public)
	return fingerprint, map[string]string{"fingerprint": fingerprint}, nil
}

func (r *revocation) run(cmd *cobra.Command, cfg *config.Config, args []string) error {
	line, fields, err := r.line(args)
	if err != nil {
		return err
	}
	if len(cfg.Certificates.Revoked) == 0 {
		return fmt.Errorf("%s: certificates.revoked: missing: must name a text file for revocations, such as /etc/berth/revoked", cfg.Path)
	}
	file := cfg.Certificates.Revoked[0]
	err = recorded(cfg, event.Event{Type: event.RevocationAdded, Path: file, Fields: fields}, func() error {
		if err := cert.Revoke(file, line); err != nil {
			return fmt.Errorf("certificates.revoked: %s: %w", file, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: added %q. Open sessions of such certificates end within %v.\n", file, line, cfg.SSH.Recheck.Round(time.Second))
	return nil
}
