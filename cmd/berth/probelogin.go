package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

// probeLogin says who a probe is, and how it knows the server.
type probeLogin struct {
	identity, passphraseFile, passwordFile string
	knownHosts, fingerprint                string
}

// auth is the ways to log in: what was named, or a password that is asked for.
func (l *probeLogin) auth() ([]ssh.AuthMethod, error) {
	var methods []ssh.AuthMethod
	if l.identity != "" {
		signer, err := hostkey.ReadSigner(l.identity, passphraseOf(l.identity, l.passphraseFile))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.identity, err)
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	if l.identity != "" && l.passwordFile == "" {
		return methods, nil
	}
	password, err := readPassword("Password: ", "--identity or --password-file", l.passwordFile)
	if err != nil {
		return nil, err
	}
	answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
		if len(questions) > 1 {
			return nil, fmt.Errorf("the server asks for more than a password: %q", questions)
		}
		return slices.Repeat([]string{password}, len(questions)), nil
	}
	return append(methods, ssh.Password(password), ssh.KeyboardInteractive(answer)), nil
}

// readPassword returns the first line of file. If file is empty, it asks; without
// a terminal the error names the flags that give a password.
func readPassword(question, flags, file string) (string, error) {
	if file == "" {
		secret, err := prompt(question, flags)
		return string(secret), err
	}
	line, err := privatefile.FirstLine(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return line, nil
}

// hostKeys decides whether a host key is the right one.
type hostKeys struct {
	check      ssh.HostKeyCallback
	algorithms []string // to ask the server for, nil for any
}

// likely are the algorithms in the order in which OpenSSH's clients ask for host
// keys, so that a fingerprint that one of them has shown is that of our key.
var likely = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

func (l *probeLogin) hostKeys(addr string) (hostKeys, error) {
	if l.fingerprint != "" {
		if !strings.HasPrefix(l.fingerprint, "SHA256:") {
			return hostKeys{}, fmt.Errorf("--fingerprint: %q: want SHA256:…, as ssh-keygen -l and berth keys show print it", l.fingerprint)
		}
		return hostKeys{check: l.byFingerprint, algorithms: likely}, nil
	}
	file := l.knownHosts
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return hostKeys{}, err
		}
		file = filepath.Join(home, ".ssh", "known_hosts")
	}
	known, err := knownhosts.New(file)
	if errors.Is(err, os.ErrNotExist) && l.knownHosts == "" {
		return hostKeys{}, fmt.Errorf("%s is missing: give the host key's --fingerprint, or another file with --known-hosts", file)
	}
	if err != nil {
		return hostKeys{}, err
	}
	check := func(name string, remote net.Addr, key ssh.PublicKey) error {
		err := known(name, remote, key)
		var bad *knownhosts.KeyError
		switch {
		case !errors.As(err, &bad):
			return err
		case len(bad.Want) == 0:
			return fmt.Errorf("%s has no host key of %s; the server shows %s (%s)", file, name, ssh.FingerprintSHA256(key), key.Type())
		}
		return fmt.Errorf("the server shows the host key %s (%s); line %d of %s has another", ssh.FingerprintSHA256(key), key.Type(), bad.Want[0].Line, file)
	}
	return hostKeys{check: check, algorithms: knownAlgorithms(known, addr)}, nil
}

func (l *probeLogin) byFingerprint(_ string, _ net.Addr, key ssh.PublicKey) error {
	if got := ssh.FingerprintSHA256(key); got != l.fingerprint {
		return fmt.Errorf("the server's %s key has the fingerprint %s, not %s", key.Type(), got, l.fingerprint)
	}
	return nil
}

// knownAlgorithms are those of the known host keys of addr. The server must show one of
// these keys, not another one. The library lists them only in the error for an unknown
// key.
func knownAlgorithms(known ssh.HostKeyCallback, addr string) []string {
	var wrong *knownhosts.KeyError
	if err := known(addr, &net.TCPAddr{}, noKey{}); !errors.As(err, &wrong) {
		return nil
	}
	var algorithms []string
	for _, w := range wrong.Want {
		if w.Key.Type() == ssh.KeyAlgoRSA {
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		algorithms = append(algorithms, w.Key.Type())
	}
	return algorithms
}

// noKey is nobody's key.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// mostVersion is more than a VERSION packet of SFTP has, in bytes.
const mostVersion = 8 << 10

// A head keeps what is written to it until the first packet is whole. Then it is
// not written any more, because others read it.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	if n := len(*h); n < 4 || n < mostVersion && n < 4+int(binary.BigEndian.Uint32(*h)) {
		*h = append(*h, p[:min(len(p), mostVersion)]...)
	}
	return len(p), nil
}

// extensions returns the pairs of name and version in a VERSION packet, which b
// begins with.
func extensions(b []byte) map[string]string {
	found := map[string]string{}
	if len(b) < 4 {
		return found
	}
	b = b[4:][:min(len(b)-4, int(binary.BigEndian.Uint32(b)))]
	b = b[min(5, len(b)):] // type and version
	for {
		var pair struct {
			Name, Version string
			Rest          []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(b, &pair) != nil {
			return found
		}
		found[pair.Name], b = pair.Version, pair.Rest
	}
}
