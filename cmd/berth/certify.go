package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

func certifyCommand() *cobra.Command {
	var c certifier
	cmd := &cobra.Command{
		Use:   "certify [USER@]HOST [-- SSH-OPTION...]",
		Short: "Sign in once a day, and use any client (on the machine of a person)",
		Long: `Certify gets a certificate for some hours from a server that issues them, for use by
every client on this machine. It makes a key and calls ssh for "certify" at HOST, in
which the person signs in. It opens the link of a sign-in with the browser. Key and
certificate are in ~/.ssh/berth.d. ~/.ssh/config includes the lines about HOST from
there, and a running ssh-agent gets both until the certificate ends. Options of ssh,
such as -p 2022, follow after --.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.out, c.errs, c.options = cmd.OutOrStdout(), cmd.ErrOrStderr(), args[1:]
			return c.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&c.dir, "dir", "", "`folder` of the person's SSH files; default: .ssh in the home")
	cmd.Flags().BoolVar(&c.renew, "renew", false, "get a new certificate even if there is one that is still valid")
	return cmd
}

// A certifier gets a certificate for a person.
type certifier struct {
	dir     string
	renew   bool
	options []string // of ssh
	out     io.Writer
	errs    io.Writer
}

// still is how long a certificate must be valid so that no new one is needed.
const still = 30 * time.Minute

// aHost is a host that can be a name of a file and a pattern in ssh_config.
var aHost = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)

func (c *certifier) run(ctx context.Context, at string) error {
	host := at[strings.LastIndexByte(at, '@')+1:]
	if !aHost.MatchString(host) || strings.HasPrefix(at, "-") {
		return fmt.Errorf("%q: must be HOST or USER@HOST", at)
	}
	if c.dir == "" {
		who, err := user.Current() // ssh ignores HOME, too
		if err != nil {
			return err
		}
		c.dir = filepath.Join(who.HomeDir, ".ssh")
	}
	var err error
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	key := filepath.Join(c.dir, "berth.d", host+"-ed25519")
	public, err := c.key(key)
	if err != nil {
		return err
	}
	last, _ := os.ReadFile(key + "-cert.pub")
	cert, _ := parseCertificate(last, public) // of which nothing is used but whether it is good
	if c.renew || cert == nil || time.Until(validUntil(cert)) < still {
		if cert, err = c.get(ctx, at, key, public); err != nil {
			return err
		}
	}
	if err := c.configure(host, key); err != nil {
		return err
	}
	until := validUntil(cert)
	if err := c.addToAgent(ctx, key, until); err != nil {
		fmt.Fprintln(c.errs, "berth: the ssh-agent did not accept the key:", err)
	}
	fmt.Fprintf(c.out, "%s: the certificate is valid until %s. Now: sftp %s\n", host, until.Format("2006-01-02 15:04 MST"), at)
	return nil
}

func validUntil(c *ssh.Certificate) time.Time { return time.Unix(int64(min(c.ValidBefore, 1<<40)), 0) }

// key returns the public key of the person for one host, and makes it if it is missing.
func (c *certifier) key(file string) (ssh.PublicKey, error) {
	if err := hostkey.Make(file, nil); err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", file, err)
	}
	k, err := readKey(file+".pub", nil)
	if err != nil {
		return nil, err
	}
	return k.Public, nil
}

func parseCertificate(text []byte, key ssh.PublicKey) (*ssh.Certificate, error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey(text)
	cert, ok := public.(*ssh.Certificate)
	if err != nil || !ok || !bytes.Equal(cert.Key.Marshal(), key.Marshal()) {
		return nil, fmt.Errorf("the server answered %.60q: must be a certificate of the key that was sent", text)
	}
	return cert, nil
}

// get has ssh call the service certify. ssh offers no certificate for that: a login with the
// last one would not get the next one.
func (c *certifier) get(ctx context.Context, at, key string, public ssh.PublicKey) (*ssh.Certificate, error) {
	args := append([]string{"-T", "-o", "PubkeyAcceptedAlgorithms=-*cert*"}, c.options...)
	cmd := exec.CommandContext(ctx, "ssh", append(args, at, "certify")...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(ssh.MarshalAuthorizedKey(public)), &linkOpener{to: c.errs}
	answer, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ssh %s certify: %w", at, err)
	}
	cert, err := parseCertificate(answer, public)
	if err != nil {
		return nil, err
	}
	_, err = privatefile.Replace(key+"-cert.pub", answer)
	return cert, err
}

// A linkOpener prints the output of ssh, and opens the first link in a browser, if
// this machine has one.
type linkOpener struct {
	to   io.Writer
	seen bytes.Buffer
	done bool
}

// aLink is the link of a sign-in, alone in its line.
var aLink = regexp.MustCompile(`(?m)^  (https://[!-~]+)\r?\n`)

func (l *linkOpener) Write(p []byte) (int, error) {
	if l.seen.Write(p); !l.done && l.seen.Len() < 64<<10 {
		if found := aLink.FindSubmatch(l.seen.Bytes()); found != nil {
			l.done = true
			if cmp.Or(os.Getenv("WAYLAND_DISPLAY"), os.Getenv("DISPLAY")) != "" {
				open := exec.Command("xdg-open", string(found[1]))
				if open.Start() == nil {
					go open.Wait() // if the browser fails, the person can still read the link
				}
			}
		}
	}
	return l.to.Write(p)
}

// configure writes what ssh and sftp need to know about the host.
func (c *certifier) configure(host, key string) error {
	lines := fmt.Sprintf("# Made by berth certify, and written anew each time.\nHost %s\n  IdentityFile %q\n", host, key)
	if _, err := privatefile.Replace(key+".conf", []byte(lines)); err != nil {
		return err
	}
	config := filepath.Join(c.dir, "config")
	if real, err := filepath.EvalSymlinks(config); err == nil {
		config = real
	}
	text, err := os.ReadFile(config)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	include := fmt.Sprintf("Include %q", filepath.Join(c.dir, "berth.d", "*.conf"))
	for line := range bytes.Lines(text) {
		if string(bytes.TrimSpace(line)) == include {
			return nil
		}
	}
	// At the beginning: after a Host line it would count for that host only.
	_, err = privatefile.Replace(config, append([]byte(include+"\n\n"), text...))
	return err
}

// addToAgent gives a running ssh-agent the key and its certificate.
func (c *certifier) addToAgent(ctx context.Context, key string, until time.Time) error {
	if os.Getenv("SSH_AUTH_SOCK") == "" {
		return nil
	}
	left := max(int(time.Until(until).Seconds()), 1)
	out, err := exec.CommandContext(ctx, "ssh-add", "-q", "-t", strconv.Itoa(left), key).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
