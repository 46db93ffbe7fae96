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
	cmd.AddCommand(keysMakeCommand(), keysShowCommand(), keysConvertCommand())
	return cmd
}

func keysMakeCommand() *cobra.Command {
	var secret string
	cmd := &cobra.Command{
		Use:   "make FILE...",
		Short: "Make host keys",
		Long: `Make makes a key in each FILE, which only its owner may read, and its public half
in FILE.pub. The name of the file contains the type: ed25519, ecdsa or rsa. No
file is ever overwritten.`,
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
	cmd := &cobra.Command{
		Use:   "show FILE...",
		Short: "Show fingerprints",
		Long: `Show prints bits, SHA-256 fingerprint, comment and type of the key in each FILE, as
ssh-keygen -l does: private or public, in OpenSSH's, PEM, PKCS#8, RFC 4716 or
PuTTY's format. FILE may be - for standard input.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, file := range args {
				k, err := readKey(file, passphraseOf(file, secret))
				if err != nil {
					return err
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
	return cmd
}
