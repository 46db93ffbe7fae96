package main

import (
	"cmp"
	"context"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"berth/config"
	"berth/directory"
	"berth/directory/ldap"
	"berth/sshd/admin"
	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

// initFile is the configuration that init writes.
//
//go:embed init/berth.yaml
var initFile string

const defaultState = "/var/lib/berth"

func initCommand() *cobra.Command {
	var s setup
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration, after a look at the directory",
		Long: `Init asks where the directory is, which account searches it, and which group gets
homes. It asks the directory what it is and shows what it found. Then it writes a
short configuration, the password file and a host key, and checks all of them as
"berth check" does. It overwrites no file. It does not ask for what a flag gives. Without
a terminal every answer must be a flag.

Call it as root: the new files get the group of their folder, and the host key
and the folder of the homes get its owner. A package has made these folders for
the user of the service.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.out = cmd.OutOrStdout()
			return s.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	configFlag(cmd, &s.config)
	flags.StringVar(&s.Settings.Kind, "kind", "", "`kind` of the directory: active_directory (ad), openldap, 389ds, freeipa, generic or embedded; found out if the server shows it")
	flags.StringSliceVar(&s.Settings.URLs, "url", nil, "`domain` of the directory, such as corp.example, or a URL of each server, such as ldaps://dc1.corp.example")
	flags.StringVar(&s.Settings.Resolver, "resolver", "", "`address` of the name server that knows the domain; default: those of the system")
	flags.StringVar(&s.Settings.LDIF, "ldif", "", "`file` with the people of an embedded directory, instead of --url")
	flags.StringVar(&s.Settings.CAFile, "ca-file", "", "`file` with the authority of the servers' certificates; default: the authorities of the system")
	flags.StringVar(&s.Settings.Base, "base", "", "`DN` below which people are; default: what the server names")
	flags.StringVar(&s.Settings.BindDN, "account", "", "service account that searches: its `DN`, or name@domain")
	flags.StringVar(&s.Settings.BindPasswordFile, "password-file", "", "`file` with its password; one that is missing is made with what is typed")
	flags.StringVar(&s.Group, "group", "", "`group` of those who may log in")
	flags.StringVar(&s.folder, "folder", "", "`folder` for their homes (default /srv/berth/home)")
	flags.StringVar(&s.Listen, "listen", "", "`address` to serve SSH on; default: port 22, or 2022 if 22 is taken")
	flags.StringVar(&s.Admin, "admin", admin.DefaultSettings().Listen, "`address` for health and metrics")
	flags.StringVar(&s.state, "state", defaultState, "`folder` of the host key; if it is another one, events, pid file and socket are in it, too")
	return cmd
}

// A setup is the answers to init, and what its file is filled with.
type setup struct {
	config, folder, state string
	terminal              bool   // there is one to ask on
	password              string // typed, for a password file that is missing
	out                   io.Writer

	Settings                                                    ldap.Settings
	Listen, PIDFile, HostKey, Home, Events, Admin, Socket, Rule string
	Group                                                       string
}

func (s *setup) run(ctx context.Context) error {
	if _, err := os.Lstat(s.config); err == nil {
		return fmt.Errorf("%s exists already, and init overwrites nothing: berth check says what is wrong with it; --config names another file", s.config)
	}
	if kind := s.Settings.Kind; kind == "ad" {
		s.Settings.Kind = "active_directory"
	} else if kind != "" && !slices.Contains(ldap.Kinds(), kind) {
		return fmt.Errorf("--kind: %q: must be ad or one of %s", kind, strings.Join(ldap.Kinds(), ", "))
	}
	if s.Settings.LDIF != "" && len(s.Settings.URLs) > 0 {
		return errors.New("--ldif and --url: an embedded directory has no URL: give one of them")
	}
	for flag, address := range map[string]string{"--listen": s.Listen, "--admin": s.Admin} {
		if _, err := net.ResolveTCPAddr("tcp", address); err != nil { // before anything is written
			return fmt.Errorf("%s: %q: must be host:port or :port, such as 127.0.0.1:2022", flag, address)
		}
	}
	if err := s.complete(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.findDirectory, s.findAccount, s.findGroup} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := s.choosePlaces(); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return err
	}
	cfg, err := config.Load(s.config)
	if err == nil {
		err = (&check{out: s.out}).run(ctx, cfg)
	}
	if err != nil {
		return fmt.Errorf("%s is written, but something is still wrong: repair it, and call berth check --config %[1]s: %w", s.config, err)
	}
	name, start := "", "systemctl enable --now berth"
	if s.config != defaultConfig {
		name, start = " --config "+s.config, "berth serve --config "+s.config
	}
	_, port, _ := net.SplitHostPort(s.Listen)
	fmt.Fprintf(s.out, "\nNext, with the name of somebody in the group in place of NAME:\n\n  berth explain NAME%s\n  %s\n  sftp -P %s NAME@localhost\n", name, start, port)
	return nil
}

// complete names every flag that is missing where nobody can be asked.
func (s *setup) complete() error {
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		s.terminal = true
		return tty.Close()
	}
	var missing []string
	need := func(there bool, flag string) {
		if !there {
			missing = append(missing, flag)
		}
	}
	if s.Settings.LDIF == "" {
		need(len(s.Settings.URLs) > 0, "--url or --ldif")
		need(s.Settings.BindDN != "", "--account")
		_, err := os.Stat(s.Settings.BindPasswordFile)
		need(err == nil, "--password-file with a file that exists")
	}
	need(s.Group != "", "--group")
	if len(missing) > 0 {
		return fmt.Errorf("there is no terminal to ask on, and flags are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// ask asks on the terminal. An empty answer is standard.
func ask(question, flag, standard string) (string, error) {
	if standard != "" {
		question += " [" + standard + "]"
	}
	answer, err := readLine(question+": ", flag)
	if answer = strings.TrimSpace(answer); answer == "" {
		answer = standard
	}
	if err == nil && answer == "" {
		err = fmt.Errorf("nothing was answered; %s is the flag for it", flag)
	}
	return answer, err
}

// findDirectory asks where the directory is, and the directory what it is.
func (s *setup) findDirectory(ctx context.Context) error {
	d := &s.Settings
	if d.LDIF == "" && len(d.URLs) == 0 {
		answer, err := ask("The directory: its domain (corp.example), the URL of a server (ldaps://dc1.corp.example), or an LDIF file", "--url", "")
		if err != nil {
			return err
		}
		if strings.HasSuffix(answer, ".ldif") || strings.HasPrefix(answer, "/") {
			d.LDIF = answer
		} else {
			d.URLs = strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' })
		}
	}
	if d.LDIF != "" {
		d.Kind, d.Name = "embedded", "local"
		return nil
	}
	if err := s.findServers(); err != nil {
		return err
	}
	found, err := ldap.Discover(ctx, *d)
	var authority x509.UnknownAuthorityError
	if d.CAFile == "" && errors.As(err, &authority) {
		fmt.Fprintf(s.out, "the system does not know the authority of the certificate: %v\n", err)
		if d.CAFile, err = ask("File with the certificate of the authority", "--ca-file", ""); err != nil {
			return err
		}
		found, err = ldap.Discover(ctx, *d)
	}
	if err != nil {
		return fmt.Errorf("ask the directory: %w", err)
	}
	if d.Kind = cmp.Or(d.Kind, found.Kind); d.Kind == "" {
		fmt.Fprintln(s.out, "the directory does not show what it is")
		if d.Kind, err = ask("Kind of the directory: "+strings.Join(ldap.Kinds(), ", "), "--kind", "generic"); err != nil {
			return err
		}
	}
	if d.Base == "" && len(found.Bases) == 1 {
		d.Base = found.Bases[0]
	} else if d.Base == "" {
		question := "DN below which people are"
		if len(found.Bases) > 0 {
			question += ", in one of " + strings.Join(found.Bases, ", ")
		}
		if d.Base, err = ask(question, "--base", ""); err != nil {
			return err
		}
	}
	d.Name = nameOf(d.Base)
	fmt.Fprintf(s.out, "found    %s at %s, people below %s\n", d.Kind, strings.Join(found.URLs, ", "), d.Base)
	return nil
}

// findServers finds out whether URLs or the domain of the directory was entered. Passwords
// are never sent in the clear: ldap:// is for StartTLS.
func (s *setup) findServers() error {
	var urls []string
	d := &s.Settings
	for _, name := range d.URLs {
		switch {
		case strings.Contains(name, "://"):
			urls = append(urls, name)
			d.StartTLS = d.StartTLS || strings.HasPrefix(name, "ldap://")
		case d.Domain != "":
			return fmt.Errorf("--url: %q and %q: only one can be the domain of the directory", d.Domain, name)
		default:
			d.Domain = name
		}
	}
	d.URLs = urls
	return nil
}

// nameOf returns the name of the directory for events: corp of dc=corp,dc=example.
func nameOf(base string) string {
	for dn := directory.DNOf(base); !dn.IsZero(); dn = dn.Parent() {
		for _, p := range dn.Own() {
			if strings.EqualFold(p.Name, "dc") {
				return p.Value
			}
		}
	}
	return "main"
}

// findAccount asks for the service account. The password of a new file is asked once
// more if it is wrong.
func (s *setup) findAccount(ctx context.Context) (err error) {
	d := &s.Settings
	if d.LDIF != "" {
		return nil
	}
	if d.BindDN == "" {
		example := "DN"
		if d.Kind == "active_directory" {
			example = "DN or name@domain"
		}
		if d.BindDN, err = ask("Service account that searches the directory ("+example+")", "--account", ""); err != nil {
			return err
		}
	}
	if d.BindPasswordFile == "" {
		if d.BindPasswordFile, err = ask("File with its password", "--password-file", filepath.Join(filepath.Dir(s.config), d.Name+"-password")); err != nil {
			return err
		}
	}
	if _, err := os.Stat(d.BindPasswordFile); !errors.Is(err, iofs.ErrNotExist) {
		return s.bind(ctx)
	}
	for {
		secret, err := prompt("Password of "+d.BindDN+": ", "--password-file")
		if err != nil {
			return err
		}
		s.password = string(secret)
		if err = s.bind(ctx); !errors.Is(err, directory.ErrBadPassword) {
			return err
		}
		fmt.Fprintf(s.out, "bad      %v\n", err)
	}
}

// looking is the settings before anything is written.
func (s *setup) looking() ldap.Settings {
	d := s.Settings
	if s.password != "" {
		d.BindPassword, d.BindPasswordFile = s.password, ""
	}
	return d
}

func (s *setup) bind(ctx context.Context) error {
	c, err := ldap.Open(s.looking(), nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

// findGroup asks for a group until the directory has it.
func (s *setup) findGroup(ctx context.Context) error {
	people, err := openDirectories([]ldap.Settings{s.looking()}, nil, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer people.Close()
	for asked := s.Group == ""; ; {
		if asked {
			if s.Group, err = ask("Group of those who may log in", "--group", ""); err != nil {
				return err
			}
		}
		found, err := people.clients[0].FindGroups(ctx, s.Group, 2)
		switch {
		case err != nil:
			return fmt.Errorf("look for the group %q: %w", s.Group, err)
		case len(found) == 1:
			s.Rule, s.Group = s.Group, found[0].DN
			fmt.Fprintf(s.out, "found    the group %s, which lists %s\n", s.Group, plural(found[0].Members, "member", "members"))
			return nil
		case len(found) == 0:
			err = fmt.Errorf("the directory has no group %q, or the service account may not see it", s.Group)
		default:
			err = fmt.Errorf("%q is the name of several groups, such as %s and %s: give the DN of the right one", s.Group, found[0].DN, found[1].DN)
		}
		if !asked {
			return fmt.Errorf("--group: %w", err)
		}
		fmt.Fprintf(s.out, "bad      %v\n", err)
	}
}

// choosePlaces asks for the folder of homes, and chooses the rest.
func (s *setup) choosePlaces() (err error) {
	const homes = "/srv/berth/home"
	switch {
	case s.folder != "":
	case s.terminal:
		if s.folder, err = ask("Folder for their homes", "--folder", homes); err != nil {
			return err
		}
	default:
		s.folder = homes
	}
	if s.Listen == "" {
		s.Listen = ":22"
		l, err := net.Listen("tcp", s.Listen)
		if err == nil {
			l.Close()
		} else if !errors.Is(err, syscall.EACCES) {
			s.Listen = ":2022"
		}
	}
	for _, path := range []*string{&s.config, &s.folder, &s.state, &s.Settings.LDIF, &s.Settings.CAFile, &s.Settings.BindPasswordFile} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	log, run := s.state, s.state
	if s.state == defaultState {
		log, run = "/var/log/berth", "/run/berth"
	}
	s.HostKey = filepath.Join(s.state, "ssh_host_ed25519_key")
	s.Events = filepath.Join(log, "events.jsonl")
	s.PIDFile, s.Socket = filepath.Join(run, "berth.pid"), filepath.Join(run, "berth.sock")
	s.Home = filepath.Join(strings.ReplaceAll(s.folder, "%", "%%"), "%u")
	return nil
}

// write makes the files. The configuration comes last: it exists only if what it
// names does.
func (s *setup) write() error {
	var text strings.Builder
	t := template.Must(template.New("berth.yaml").Funcs(template.FuncMap{"quote": strconv.Quote}).Parse(initFile))
	if err := t.Execute(&text, s); err != nil {
		return err
	}
	if _, err := os.Stat(s.HostKey); errors.Is(err, iofs.ErrNotExist) {
		if err := s.made(s.HostKey, true, hostkey.Make(s.HostKey, nil)); err != nil {
			return err
		}
		if err := s.made(s.HostKey+".pub", true, nil); err != nil {
			return err
		}
	}
	if _, err := os.Stat(s.folder); errors.Is(err, iofs.ErrNotExist) {
		if err := s.made(s.folder, true, os.MkdirAll(s.folder, 0o750)); err != nil {
			return err
		}
	}
	if s.password != "" {
		file := s.Settings.BindPasswordFile
		if err := s.made(file, false, privatefile.Create(file, []byte(s.password+"\n"), 0o640)); err != nil {
			return err
		}
	}
	return s.made(s.config, false, privatefile.Create(s.config, []byte(text.String()), 0o640))
}

// made reports what was made, and gives it the group of its folder: the service reads
// it. What the service owns gets the owner, too.
func (s *setup) made(path string, owner bool, err error) error {
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if os.Geteuid() == 0 {
		fi, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return err
		}
		of, uid := fi.Sys().(*syscall.Stat_t), 0
		if owner {
			uid = int(of.Uid)
		}
		if err := os.Lchown(path, uid, int(of.Gid)); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "made     %s\n", path)
	return nil
}
