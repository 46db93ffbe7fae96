package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"berth/policy"

	"github.com/pkg/sftp"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
)

func probeCommand() *cobra.Command {
	p := &probe{}
	cmd := &cobra.Command{
		Use:   "probe [USER@]HOST[:PORT] [FOLDER]",
		Short: "Test a server as a client, and show how long each step takes",
		Long: `Probe connects to an SFTP server, Berth or another, logs in, and lists FOLDER.
Without FOLDER it lists the folder in which the login starts. With FOLDER it also
puts a file of random bytes there, gets it back, compares, renames and removes it.
It prints each step with its time, and what the server announces. The exit status is
1 if a step fails.

The host key must be in a known_hosts file, or have the given fingerprint.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.target(args[0]); err != nil {
				return err
			}
			if len(args) > 1 {
				p.folder, p.write = args[1], true
			}
			return p.run(cmd)
		},
	}
	cmd.Flags().StringVar(&p.identity, "identity", "", "log in with the private key in `file`")
	cmd.Flags().StringVar(&p.passphraseFile, "passphrase-file", "", "read the passphrase of the key from the first line of `file`")
	cmd.Flags().StringVar(&p.passwordFile, "password-file", "", "log in with the password in the first line of `file`; without it and a key, ask")
	cmd.Flags().StringVar(&p.knownHosts, "known-hosts", "", "`file` with host keys (default ~/.ssh/known_hosts)")
	cmd.Flags().StringVar(&p.fingerprint, "fingerprint", "", "SHA-256 `fingerprint` of the host key, instead of a known_hosts file")
	cmd.Flags().DurationVar(&p.timeout, "timeout", 30*time.Second, "time limit for the whole probe")
	cmd.Flags().IntVar(&p.size, "size", 0, "size of the file in `MiB`, 1024 at most (default 256 KiB)")
	cmd.Flags().BoolVar(&p.json, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("known-hosts", "fingerprint")
	return cmd
}

// A probe is one run of the command.
type probe struct {
	user, addr string
	folder     string // to work in; "": only listed, where the login ends up
	write      bool
	probeLogin
	timeout time.Duration
	size    int // MiB
	json    bool

	out    io.Writer
	shown  progressLine
	report report
	conn   net.Conn
	ssh    *ssh.Client
	files  *sftp.Client
}

// report is what --json prints.
type report struct {
	Address string   `json:"address"`
	User    string   `json:"user"`
	OK      bool     `json:"ok"`
	Server  announce `json:"server"`
	Steps   []step   `json:"steps"`
}

// announce has what the server announces.
type announce struct {
	Version     string            `json:"version,omitempty"` // identification string
	HostKey     string            `json:"host_key,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	KeyExchange string            `json:"key_exchange,omitempty"`
	Cipher      string            `json:"cipher,omitempty"`
	MAC         string            `json:"mac,omitempty"`
	Extensions  map[string]string `json:"extensions,omitempty"` // of SFTP, with their versions
}

type step struct {
	Name   string  `json:"step"`
	OK     bool    `json:"ok"`
	MS     float64 `json:"ms"`
	Detail string  `json:"detail,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// target reads USER@HOST:PORT. The user may be somebody@somewhere.
func (p *probe) target(text string) error {
	at := strings.LastIndexByte(text, '@')
	host := text[at+1:]
	if p.user = text[:max(at, 0)]; p.user == "" {
		return fmt.Errorf("%q: the user is missing: must be USER@HOST[:PORT]", text)
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "22")
	}
	if h, port, err := net.SplitHostPort(host); err != nil || h == "" || port == "" {
		return fmt.Errorf("%q: want USER@HOST or USER@HOST:PORT, an IPv6 address in brackets", text)
	}
	p.addr = host
	return nil
}

// run takes all steps up to the first that fails. An error before the first is
// one of the command line.
func (p *probe) run(cmd *cobra.Command) error {
	p.out, p.shown.out = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if p.size < 0 || p.size > 1024 {
		return fmt.Errorf("--size: %d: must be from 1 to 1024 MiB", p.size)
	}
	p.report = report{Address: p.addr, User: p.user}
	auth, err := p.auth()
	if err != nil {
		return err
	}
	hosts, err := p.hostKeys(p.addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), p.timeout)
	defer cancel()
	p.report.OK = p.steps(ctx, auth, hosts)
	if p.json {
		if err := printJSON(p.out, p.report); err != nil {
			return err
		}
	}
	if !p.report.OK {
		return errReported
	}
	return nil
}

func (p *probe) steps(ctx context.Context, auth []ssh.AuthMethod, hosts hostKeys) bool {
	ok := p.step("connect", func() (string, error) { return p.connect(ctx) }) && p.login(auth, hosts) && p.step("sftp", p.start) && p.step("list", p.list)
	if !ok || !p.write {
		return ok
	}
	return p.transfer()
}

// step does one thing and reports it, with what do returns.
func (p *probe) step(name string, do func() (string, error)) bool {
	begin := time.Now()
	detail, err := do()
	return p.note(name, time.Since(begin), detail, err)
}

func (p *probe) note(name string, took time.Duration, detail string, err error) bool {
	s := step{Name: name, OK: err == nil, MS: float64(took.Microseconds()) / 1000, Detail: detail}
	verdict := "ok"
	if err != nil {
		verdict, s.Error = "FAIL", err.Error()
	}
	p.report.Steps = append(p.report.Steps, s)
	if !p.json {
		fmt.Fprintf(p.out, "%-4s  %-12s  %9.1f ms  %s\n", verdict, name, s.MS, policy.Quote(strings.TrimSpace(detail+" "+s.Error)))
	}
	return s.OK
}

func (p *probe) connect(ctx context.Context) (string, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return "", err
	}
	p.conn = nc
	deadline, _ := ctx.Deadline()
	context.AfterFunc(ctx, func() { nc.Close() }) // Ctrl-C, or the end of the probe
	return nc.RemoteAddr().String(), nc.SetDeadline(deadline)
}

// login exchanges keys and authenticates. The library does both in one call: the first
// step ends when it has a host key to check.
func (p *probe) login(auth []ssh.AuthMethod, hosts hostKeys) bool {
	begin := time.Now()
	var checked time.Time
	var refused error
	c, channels, requests, err := ssh.NewClientConn(p.conn, p.addr, &ssh.ClientConfig{
		User: p.user, Auth: auth, HostKeyAlgorithms: hosts.algorithms,
		HostKeyCallback: func(name string, remote net.Addr, key ssh.PublicKey) error {
			checked = time.Now()
			p.report.Server.HostKey, p.report.Server.Fingerprint = key.Type(), ssh.FingerprintSHA256(key)
			refused = hosts.check(name, remote, key)
			return refused
		},
	})
	if err == nil {
		p.ssh = ssh.NewClient(c, channels, requests)
		p.agreed(c)
	}
	s := p.report.Server
	switch {
	case checked.IsZero():
		return p.note("key exchange", time.Since(begin), "", err)
	case refused != nil:
		return p.note("key exchange", checked.Sub(begin), "", refused)
	}
	p.note("key exchange", checked.Sub(begin), strings.Join([]string{s.KeyExchange, s.HostKey, s.Fingerprint}, " "), nil)
	return p.note("login", time.Since(checked), strings.Join([]string{s.Version, s.Cipher, s.MAC}, " "), err)
}

// agreed notes what both sides have agreed on.
func (p *probe) agreed(c ssh.Conn) {
	s := &p.report.Server
	s.Version = string(c.ServerVersion())
	if c, ok := c.(ssh.AlgorithmsConnMetadata); ok {
		a := c.Algorithms()
		s.KeyExchange, s.Cipher, s.MAC = a.KeyExchange, a.Read.Cipher, a.Read.MAC
	}
}

// start starts SFTP and reads along for the extensions, which the library does
// not list.
func (p *probe) start() (string, error) {
	session, err := p.ssh.NewSession()
	if err != nil {
		return "", err
	}
	in, err := session.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return "", fmt.Errorf("start SFTP: %w", err)
	}
	var first head
	if p.files, err = sftp.NewClientPipe(io.TeeReader(out, &first), in); err != nil {
		return "", fmt.Errorf("start SFTP: %w", err)
	}
	p.report.Server.Extensions = extensions(first)
	names := slices.Sorted(maps.Keys(p.report.Server.Extensions))
	return fmt.Sprintf("version 3 with %d extensions: %s", len(names), strings.Join(names, " ")), nil
}

func (p *probe) list() (string, error) {
	if p.folder == "" {
		dir, err := p.files.Getwd()
		if err != nil {
			return "", err
		}
		p.folder = dir
	}
	entries, err := p.files.ReadDir(p.folder)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.folder, err)
	}
	return fmt.Sprintf("%d entries in %s", len(entries), p.folder), nil
}

// transfer has a file there and back. It is removed whatever happens.
func (p *probe) transfer() bool {
	size := cmp.Or(p.size<<20, 256<<10) // several requests
	b := make([]byte, 4+size)
	rand.Read(b) // never fails
	name := path.Join(p.folder, "berth-probe-"+hex.EncodeToString(b[:4]))
	sent, renamed := b[4:], name+"-renamed"

	var got []byte
	ok := p.step("put", func() (string, error) { return name, p.put(name, sent) })
	if !ok {
		p.files.Remove(name) // if half of it is there
		return false
	}
	ok = p.step("get", func() (_ string, err error) {
		got, err = p.get(name, size)
		return fmt.Sprintf("%d bytes", len(got)), err
	}) && p.step("compare", func() (string, error) {
		if !bytes.Equal(got, sent) {
			return "", fmt.Errorf("%s: %d bytes came back that are not the %d sent", name, len(got), len(sent))
		}
		return "the same", nil
	}) && p.step("rename", func() (string, error) { return renamed, p.files.Rename(name, renamed) })
	if ok {
		name = renamed
	}
	return p.step("remove", func() (string, error) { return name, p.files.Remove(name) }) && ok
}

func (p *probe) put(name string, data []byte) error {
	f, err := p.files.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer p.shown.clear()
	sent := 0
	for piece := range slices.Chunk(data, 1<<20) {
		if _, err := f.Write(piece); err != nil {
			f.Close()
			return err
		}
		sent += len(piece)
		p.shown.show("put: %s of %s", mebibytes(int64(sent)), mebibytes(int64(len(data))))
	}
	return f.Close()
}

func (p *probe) get(name string, size int) ([]byte, error) {
	f, err := p.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer p.shown.clear()
	got := make([]byte, size+1) // one more than it should be
	n := 0
	for n < len(got) {
		m, err := f.Read(got[n:min(n+1<<20, len(got))])
		if n += m; errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return got[:n], err
		}
		p.shown.show("get: %s of %s", mebibytes(int64(n)), mebibytes(int64(size)))
	}
	return got[:n], nil
}
