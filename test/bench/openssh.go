package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// startOpenSSH starts a private sshd with its own host key and defaults for
// all that bears on speed.
func (b *bench) startOpenSSH(ctx context.Context) (*target, error) {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // not in the PATH of ordinary users
	}
	dir := filepath.Join(b.dir, "openssh")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := writeKey(filepath.Join(dir, "host_key")); err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	config := filepath.Join(dir, "sshd_config")
	text := strings.NewReplacer("PORT", port, "DIR", dir, "USERKEY", b.key).Replace(sshdConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	who, scp, err := accounts()
	if err != nil {
		return nil, err
	}
	p, err := b.launch(filepath.Join(dir, "log"), sshd, "-D", "-e", "-f", config)
	if err != nil {
		return nil, err
	}
	t := &target{name: "OpenSSH", addr: addr, user: who, scpUser: scp, key: b.key, root: b.home, process: p, idle: 2}
	return t, ready(ctx, addr, p)
}

const sshdConfig = `ListenAddress 127.0.0.1
Port PORT
HostKey DIR/host_key
PidFile none
AuthorizedKeysFile USERKEY.pub
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 2000
MaxSessions 100
LogLevel ERROR
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
`

// accounts returns the system users that log in to sshd, for SFTP and for scp.
// An ordinary user can log in only as the same user. For root, sshd would
// leave out the process that lacks its rights, as no real session can: so SFTP
// is for nobody, who has no shell, and only scp, which needs one, for root.
func accounts() (sftp, scp string, err error) {
	me, err := user.Current()
	if err != nil {
		return "", "", err
	}
	if os.Geteuid() != 0 {
		return me.Username, me.Username, nil
	}
	// sshd wants this empty directory of its own; the init script makes it.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return "", "", err
	}
	if _, err := user.Lookup("nobody"); err != nil {
		return me.Username, me.Username, nil
	}
	return "nobody", me.Username, nil
}

const (
	curve25519 = "curve25519-sha256"
	mlkem768   = "mlkem768x25519-sha256"
)

// newestExchange is mlkem768 if the installed OpenSSH has it, from 9.9 on, and
// else curve25519, which costs it less.
func newestExchange(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "ssh", "-Q", "kex").Output()
	if err != nil {
		return "", fmt.Errorf("ssh -Q kex: %w", err)
	}
	if slices.Contains(strings.Fields(string(out)), mlkem768) {
		return mlkem768, nil
	}
	return curve25519, nil
}

// openSSHVersion names the release that is measured, and measured with.
func openSSHVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		return "OpenSSH of unknown version"
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), ",")
	return version
}
