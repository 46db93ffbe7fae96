package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/sshd/hostkey"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, show and convert SSH keys",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(keysMakeCommand(), keysShowCommand(), keysConvertCommand(), keysRotateCommand())
	return cmd
}

func keysMakeCommand() *cobra.Command {
	var secret string
	cmd := &cobra.Command{
		Use:   "make FILE...",
		Short: "Make host keys",
		Long: `Make makes a private key in each FILE, which only its owner may read, and the public
key in FILE.pub. The name of the file must contain the type: ed25519, ecdsa or rsa.
Make never overwrites a file.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, file := range args {
				if err := hostkey.Make(file, passphraseFrom(secret)); err != nil {
					return fmt.Errorf("make %s: %w", file, err)
				}
				k, err := readKey(file+".pub", nil)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", file, hostkey.Describe(k))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&secret, "passphrase-file", "", "encrypt the keys with the first line of `file`")
	return cmd
}

func keysShowCommand() *cobra.Command {
	var secret string
	var art bool
	var host string
	cmd := &cobra.Command{
		Use:   "show FILE...",
		Short: "Show fingerprints",
		Long: `Show prints the bits, SHA-256 fingerprint, comment and type of the key in each FILE,
as ssh-keygen -l does. The key may be private or public, in the format of OpenSSH,
PEM, PKCS#8, RFC 4716 or PuTTY. FILE may be - for standard input.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, file := range args {
				k, err := readKey(file, passphraseOf(file, secret))
				if err != nil {
					return err
				}
				if host != "" {
					record, err := hostkey.SSHFP(k.Public)
					if err != nil {
						return fmt.Errorf("%s: %w", file, err)
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s IN SSHFP %s\n", host, record)
					continue
				}
				if len(args) > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: ", file)
				}
				fmt.Fprintln(cmd.OutOrStdout(), hostkey.Describe(k))
				if art {
					fmt.Fprintln(cmd.OutOrStdout(), hostkey.Randomart(k.Public))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&secret, "passphrase-file", "", "read the passphrase of encrypted keys from the first line of `file`")
	cmd.Flags().BoolVar(&art, "randomart", false, "also draw the fingerprint")
	cmd.Flags().StringVar(&host, "sshfp", "", "print records for the DNS `name` of the server")
	cmd.MarkFlagsMutuallyExclusive("randomart", "sshfp")
	return cmd
}
