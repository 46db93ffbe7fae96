package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/sshd/hostkey"
)

// conversion is how a key is converted to another format.
type conversion struct {
	to, out         string
	public          bool
	secret          string // file with the passphrase
	newSecret       string // file with another one
	askNew, noneNew bool
}

func keysConvertCommand() *cobra.Command {
	c := conversion{}
	cmd := &cobra.Command{
		Use:   "convert FILE --to FORMAT",
		Short: "Convert a key to another file format",
		Long: `Convert reads the key in FILE, which may have any of these formats, and writes it in
another format:

  openssh   what ssh-keygen makes
  pem       PKCS#1 for RSA, SEC 1 for ECDSA; never encrypted
  pkcs8     PKCS#8
  rfc4716   public keys only
  ppk2      PuTTY before 0.75
  ppk3      PuTTY

An encrypted private key keeps its passphrase, unless you ask for another one. FILE
may be - for standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&c.to, "to", "", "`format` to write: openssh, pem, pkcs8, rfc4716, ppk2 or ppk3")
	f.BoolVar(&c.public, "public", false, "write the public key only")
	f.StringVar(&c.out, "out", "", "new `file` to write (default standard output)")
	f.StringVar(&c.secret, "passphrase-file", "", "read the passphrase from the first line of `file`")
	f.StringVar(&c.newSecret, "new-passphrase-file", "", "encrypt with the first line of `file`")
	f.BoolVar(&c.askNew, "new-passphrase", false, "ask for another passphrase")
	f.BoolVar(&c.noneNew, "no-passphrase", false, "do not encrypt")
	cmd.MarkFlagRequired("to")
	cmd.MarkFlagsMutuallyExclusive("new-passphrase-file", "new-passphrase", "no-passphrase", "public")
	return cmd
}

func (c *conversion) run(cmd *cobra.Command, file string) error {
	var secret []byte // what the key was encrypted with
	ask := passphraseOf(file, c.secret)
	k, err := readKey(file, func() (given []byte, err error) {
		secret, err = ask()
		return secret, err
	})
	if err != nil {
		return err
	}
	if c.public || k.Private == nil {
		text, err := k.EncodePublic(hostkey.Format(c.to))
		if err != nil {
			return fmt.Errorf("convert %s: %w", file, err)
		}
		return writeKey(c.out, cmd.OutOrStdout(), text, 0o644)
	}
	if secret, err = c.passphrase(secret); err != nil {
		return fmt.Errorf("new passphrase: %w", err)
	}
	text, err := k.Encode(hostkey.Format(c.to), secret)
	if err != nil {
		return fmt.Errorf("convert %s: %w", file, err)
	}
	return writeKey(c.out, cmd.OutOrStdout(), text, 0o600)
}

// passphrase returns the passphrase that the key will be encrypted with;
// before is its present one.
func (c *conversion) passphrase(before []byte) ([]byte, error) {
	switch {
	case c.noneNew:
		return nil, nil
	case c.askNew:
		return newPassphrase()
	case c.newSecret != "":
		return hostkey.PassphraseFile(c.newSecret)()
	}
	return before, nil
}
