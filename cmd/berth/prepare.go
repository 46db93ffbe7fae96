package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/config"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/event/audit"
	"berth/sshd/hostkey"
	"berth/sshd/kerberos"
	"berth/sshd/oidc"
	"berth/sshd/state/redis"
	"berth/sshd/totp"
)

// parts are what a server is made of, besides its directories, its events and
// its ports.
type parts struct {
	rules       *policy.Set
	keys        []ssh.Signer
	authorities *cert.Authority  // nil: no certificates
	keytab      *kerberos.Keytab // nil: no tickets
	provider    *oidc.Provider   // nil: no sign-in with the browser
	codes       *totp.Codes      // nil: no one-time codes
}

// prepare makes the parts of a server. The error joins everything that is wrong
// with them. Of the host keys it loads those that are named, and makes the ones
// that are missing.
func prepare(cfg *config.Config, hostKeys []string) (*parts, error) {
	p := &parts{}
	var errs []error
	failed := func(err error) bool {
		errs = append(errs, err)
		return err != nil
	}
	var err error
	p.rules, err = cfg.Compile()
	failed(err)
	p.keys, err = hostkey.Load(hostKeys, passphraseFrom(cfg.HostKeyPassphraseFile), hostkey.Agent(cfg.HostKeyAgent))
	if !failed(err) && len(hostKeys) == len(cfg.HostKeys) {
		p.keys, err = hostkey.Certify(p.keys, cfg.HostCertificates)
		failed(err)
	}
	if cfg.Certificates.Enabled() || len(cfg.Certificates.Revoked) > 0 {
		if p.authorities, err = cert.Open(cfg.Certificates, cfg.DirectoryNames()...); err != nil {
			failed(fmt.Errorf("certificates: %w", err))
		} else if issue := cfg.Certificates.Issue; issue.CAKey != "" {
			key, err := hostkey.OpenSigner(issue.CAKey, hostkey.Agent(cfg.HostKeyAgent))
			if err == nil {
				err = p.authorities.IssueWith(issue, key)
			}
			if err != nil {
				failed(fmt.Errorf("certificates.issue.ca_key: %s: %w", issue.CAKey, err))
			}
		}
	}
	if cfg.Kerberos.Enabled() {
		p.keytab, err = kerberos.Open(cfg.Kerberos, cfg.DirectoryNames()...)
		failed(err)
	}
	if cfg.OIDC.Enabled() {
		if p.provider, err = oidc.Open(cfg.OIDC, cfg.DirectoryNames()...); err != nil {
			failed(fmt.Errorf("oidc: %w", err))
		}
	}
	p.codes, err = openCodes(cfg)
	failed(err)
	for key, file := range map[string]string{"ssh.banner": cfg.SSH.Banner, "ssh.motd": cfg.SSH.MOTD} {
		if file == "" {
			continue
		}
		if text, err := os.ReadFile(file); err != nil {
			failed(fmt.Errorf("%s: %w", key, err))
		} else if !utf8.Valid(text) {
			failed(fmt.Errorf("%s: %s: is not UTF-8, which clients need: convert it, for example with iconv", key, file))
		}
	}
	return p, errors.Join(errs...)
}

// rehearse does what serve does before it serves, and leaves nothing behind:
// it makes no file and closes the ports.
func rehearse(cfg *config.Config) error {
	var errs []error
	failed := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", key, err))
		}
	}
	made := func(key, file string) { // must exist, or serve must be able to make it
		failed(key+": "+file+": ", folderFor(file))
	}
	var keys []string
	for _, file := range cfg.HostKeys {
		if _, err := os.Stat(file); errors.Is(err, iofs.ErrNotExist) {
			made("host_keys", file)
			_, err := hostkey.KindOf(file)
			failed("host key "+file+": ", err)
		} else {
			keys = append(keys, file)
		}
	}
	p, err := prepare(cfg, keys)
	errs = append(errs, err)
	ctx, cancel := context.WithTimeout(context.Background(), directoryWithin)
	defer cancel()
	if p.provider != nil {
		failed("oidc.issuer: ", p.provider.Check(ctx))
	}
	if len(cfg.State.Redis.URLs) > 0 {
		failed("state.redis: ", redis.Ping(cfg.State.Redis))
	}
	if cfg.Events.Syslog.Enabled() {
		syslog, err := audit.OpenSyslog(cfg.Events, hclog.NewNullLogger())
		if failed("events.", err); err == nil {
			syslog.Close()
		}
	}
	if cfg.Mail.Enabled() {
		failed("mail.", cfg.Mail.Verify(ctx))
		if len(cfg.State.Redis.URLs) == 0 {
			made("mail.state_file", cfg.Mail.StateFile)
		}
	}
	if cfg.Events.Webhook.Enabled() {
		failed("events.", cfg.Events.CheckWebhook())
	}
	if file := cfg.Events.OnDisk(); file != "" {
		made("events.file", file)
		if fi, err := os.Stat(file); err == nil && fi.Mode()&(iofs.ModeNamedPipe|iofs.ModeSocket) != 0 {
			errs = append(errs, fmt.Errorf("events.file: %s: is a pipe or a socket, not a file", file))
		} else if err == nil {
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
			if failed("events.file: ", err); err == nil {
				f.Close()
			}
		}
	}
	for key, file := range map[string]string{"pid_file": cfg.PIDFile, "admin.socket": cfg.Admin.Socket} {
		dir := filepath.Dir(file)
		if above := filepath.Dir(dir); file == "" || above == "/run" || above == "/var/run" {
			continue // systemd makes such a folder when it starts the service
		}
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			errs = append(errs, fmt.Errorf("%s: %s: there is no folder %s", key, file, dir))
		}
	}
	return errors.Join(append(errs, ports(cfg)...)...)
}

// folderFor reports whether the folder of file is there or can be made.
func folderFor(file string) error {
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		switch {
		case err == nil && !fi.IsDir():
			return fmt.Errorf("%s is not a folder", dir)
		case err == nil:
			return nil
		case !errors.Is(err, iofs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) || dir == filepath.Dir(dir):
			return err
		}
	}
}

// ports listens on everything that serve would listen on. What a running server
// of the same pid_file has is free for the next one. Whether this user may have
// a port below 1024 says nothing about the service.
func ports(cfg *config.Config) (errs []error) {
	server, err := runningServer(cfg.PIDFile)
	if err != nil {
		errs = append(errs, err)
	}
	for _, a := range addresses(cfg) {
		l, err := net.Listen(a.Network, a.Address)
		switch {
		case err == nil:
			defer l.Close()
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRINUSE) && server != 0 && listens(server, a.Address):
		default:
			errs = append(errs, listenError(a, err))
		}
	}
	return errs
}

// listens reports whether a process listens on the port of address. It is true
// where this user may not know.
func listens(pid int, address string) bool {
	_, name, _ := net.SplitHostPort(address)
	port, _ := net.LookupPort("tcp", name)
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(fds)
	if err != nil {
		return true
	}
	own := map[string]bool{}
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(fds, e.Name()))
		own[target] = true
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			// number, local address, remote address, state, 5 more, inode
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				continue
			}
			if own["socket:["+f[9]+"]"] {
				return true
			}
		}
	}
	return false
}
