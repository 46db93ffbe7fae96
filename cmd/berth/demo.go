package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/template"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/sshd/admin"
	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

// demoFiles is the directory and the configuration of the demonstration.
//
//go:embed demo/people.ldif demo/berth.yaml
var demoFiles embed.FS

func demoCommand() *cobra.Command {
	d := demo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a server with sample people, to try Berth",
		Long: `Demo starts a directory with sample people and groups, and a server that uses it,
in one process. All files are in one folder. A second start uses the files that
exist.

The web page for IT is on the address of --console. With --busy, the sample people
transfer files all the time, so that there is something to look at.

With --ldap other programs, such as ldapsearch, can read that directory. Any
program on this machine can then try passwords there, and no event is written.

With --oidc there is also a sample identity provider, so that alice can sign in with
the browser. Its page has one button and asks for no password: any program on this
machine can press it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := d.prepare(); err != nil {
				return err
			}
			return d.run(cmd)
		},
	}
	cmd.Flags().StringVar(&d.Listen, "listen", "127.0.0.1:2022", "`address` to serve SSH on")
	cmd.Flags().StringVar(&d.Admin, "admin", "127.0.0.1:9022", "`address` for health and metrics")
	cmd.Flags().StringVar(&d.Console, "console", "127.0.0.1:9443", "loopback `address` for the web page for IT; empty: no page")
	cmd.Flags().BoolVar(&d.busy, "busy", false, "have the sample people transfer files all the time")
	cmd.Flags().StringVar(&d.LDAP, "ldap", "", "loopback `address` to serve LDAP on, such as 127.0.0.1:3890; empty: no LDAP")
	cmd.Flags().BoolVar(&d.OIDC, "oidc", false, "also run a sample identity provider, to sign in with the browser")
	cmd.Flags().StringVar(&d.Dir, "dir", "berth-demo", "`folder` for everything the demonstration makes")
	return cmd
}

// A demo is what its templates are filled with.
type demo struct {
	Listen, Admin, Console, LDAP, Dir string

	OIDC        bool
	Socket      string // empty if it would have too long a name
	Alice, Dave string // public keys
	busy        bool
}

// run serves the demonstration. The addresses on the command line take
// precedence over those of the file. Without --admin and --console, any free port will
// do if 9022 or 9443 is taken: two demonstrations may run side by side.
func (d *demo) run(cmd *cobra.Command) error {
	written, err := config.Load(filepath.Join(d.Dir, "berth.yaml"))
	if err != nil {
		return err
	}
	cfg := *written
	cfg.Listen, cfg.Admin.Listen, cfg.Console.Listen = []string{d.Listen}, d.Admin, d.Console
	for flag, address := range map[string]*string{"admin": &cfg.Admin.Listen, "console": &cfg.Console.Listen} {
		if cmd.Flags().Changed(flag) {
			continue
		}
		if free, err := net.Listen("tcp", *address); err != nil {
			*address = "127.0.0.1:0"
		} else {
			free.Close()
		}
	}
	for _, err := range cfg.Console.Check() {
		return fmt.Errorf("--console: %w", err)
	}
	var l net.Listener
	if d.LDAP != "" {
		addr, err := netip.ParseAddrPort(d.LDAP)
		if err != nil || !addr.Addr().IsLoopback() {
			return fmt.Errorf("--ldap: %q: must be a loopback address and a port, such as 127.0.0.1:3890: passwords are sent in the clear", d.LDAP)
		}
		if l, err = net.Listen("tcp", d.LDAP); err != nil {
			return fmt.Errorf("--ldap: %w", err)
		}
		defer l.Close()
	}
	var provider *sampleProvider
	if d.OIDC {
		if provider, cfg.OIDC, err = startSampleProvider(d.Dir); err != nil {
			return fmt.Errorf("--oidc: %w", err)
		}
		defer provider.Close()
	}
	busy, stop := context.WithCancel(cmd.Context())
	var people sync.WaitGroup
	defer people.Wait()
	defer stop()
	err = serve(cmd.Context(), written, &cfg, func(r *running) {
		d.welcome(cmd.OutOrStdout(), r)
		if d.busy {
			people.Go(func() {
				if err := d.beBusy(busy, r.listeners[0].Addr().String()); err != nil {
					fmt.Fprintln(cmd.ErrOrStderr(), "--busy:", err)
				}
			})
		}
		if provider != nil {
			provider.welcome(cmd.OutOrStdout(), r)
		}
		if l != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "LDAP: ldapsearch -x -H ldap://%s -D uid=alice,ou=people,dc=demo,dc=example -W -b dc=demo,dc=example\n", l.Addr())
			go func() { _ = r.people.embedded[0].Serve(l) }() // ends with the directory
		}
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; for another port: --listen 127.0.0.1:PORT", err)
	}
	return err
}

// prepare makes what is missing in the demonstration's folder.
func (d *demo) prepare() error {
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		return err
	}
	d.Dir = dir
	if socket := (admin.Settings{Socket: filepath.Join(dir, "berth.sock")}); len(socket.Check()) == 0 {
		d.Socket = socket.Socket
	}
	for _, sub := range []string{"home", "shared", "finance", "drop", "keys"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("make the demonstration's folder: %w", err)
		}
	}
	if d.Alice, err = d.key("alice"); err != nil {
		return err
	}
	if d.Dave, err = d.key("dave"); err != nil {
		return err
	}
	return errors.Join(
		writeMissing(filepath.Join(dir, "shared", "welcome.txt"), "Staff can read this, and nobody can change it here.\n"),
		writeMissing(filepath.Join(dir, "finance", "budget.csv"), "year,euros\n2026,1000000\n"),
		d.fill("people.ldif"),
		d.fill("berth.yaml"))
}

// fill writes one of the templates to the demonstration's folder, unless it is
// there: what the administrator or the server changed stays.
func (d *demo) fill(name string) error {
	t, err := template.ParseFS(demoFiles, "demo/"+name)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return err
	}
	return writeMissing(filepath.Join(d.Dir, name), b.String())
}

// writeMissing writes a file unless it exists.
func writeMissing(file, text string) error {
	err := privatefile.Create(file, []byte(text), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// key returns the public key of a sample person, and makes the pair if the
// private half is missing.
func (d *demo) key(name string) (string, error) {
	file := filepath.Join(d.Dir, "keys", name)
	k, err := readKey(file, nil)
	if errors.Is(err, fs.ErrNotExist) {
		if k, err = hostkey.Generate("ed25519"); err != nil {
			return "", err
		}
		k.Comment = name + "@demo"
		var text []byte
		if text, err = k.Encode(hostkey.OpenSSH, nil); err == nil {
			err = privatefile.Create(file, text, 0o600)
		}
	}
	if err != nil {
		return "", err
	}
	line, err := k.EncodePublic(hostkey.OpenSSH)
	return strings.TrimSpace(string(line)), err
}

// welcome says what to type.
func (d *demo) welcome(out io.Writer, r *running) {
	host, port, _ := net.SplitHostPort(r.listeners[0].Addr().String())
	dir := d.Dir
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, dir); err == nil && !strings.HasPrefix(rel, "..") {
			dir = rel
		}
	}
	page := "off"
	if r.console != nil {
		page = "http://" + r.console.Addr().String()
	}
	fmt.Fprintf(out, `Berth demonstration, listening on %[1]s port %[2]s. Try, from another terminal:

  sftp -P %[2]s -i %[3]s/keys/alice alice@%[1]s   her home, /shared (read only), /finance
  sftp -P %[2]s bob@%[1]s             password bob-demo-1: home and /shared
  scp  -P %[2]s FILE carol@%[1]s:     password carol-demo-1: a drop box
  ssh  -t -p %[2]s bob@%[1]s passwd   change bob's password in the directory
  ssh  -p %[2]s bob@%[1]s whoami      who he is here, and what he may do
  ssh  -p %[2]s bob@%[1]s keys add < FILE.pub    log in with a key from now on

Passwords are NAME-demo-1 for alice, bob, carol, dave (disabled), erin (must change
hers), ida (an administrator) and mallory (no rule lets her in). To see
why somebody may or may not:

  %[5]s explain alice --config %[3]s/berth.yaml

Who is logged in: %[5]s sessions --config %[3]s/berth.yaml   and kick, drain, reload
Events: %[3]s/events.jsonl   People: %[3]s/people.ldif   Rules: %[3]s/berth.yaml
The web page for IT, for ida: %[6]s
Health and metrics: http://%[4]s/readyz and /metrics.   Ctrl-C ends it.
`, host, port, dir, r.admin.Addr(), os.Args[0], page)
}
