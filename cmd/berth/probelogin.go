package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
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
		k, err := readKey(l.identity, passphraseOf(l.identity, l.passphraseFile))
		if err != nil {
			return nil, err
		}
		if k.Private == nil {
			return nil, fmt.Errorf("%s: is a public key: name the private one", l.identity)
		}
		signer, err := ssh.NewSignerFromSigner(k.Private)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.identity, err)
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	if l.identity != "" && l.passwordFile == "" {
		return methods, nil
	}
	password, err := l.password()
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

func (l *probeLogin) password() (string, error) {
	return readPassword("Password: ", "--identity or --password-file", l.passwordFile)
}

// readPassword returns the first line of file. If file is empty, it asks; without
// a terminal the error names the flags that give a password.
func readPassword(question, flags, file string) (string, error) {
	if file == "" {
		secret, err := prompt(question, flags)
		return string(secret), err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: the first line is empty, and should be the password", file)
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

// knownAlgorithms are those of the keys that are known of addr, so that the
// server shows one of these and not another that it has. To be told them, one
// has to ask for a key that nobody has.
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

// firstPacket keeps the first packet that is read through it: VERSION of SFTP,
// which lists the server's extensions.
type firstPacket struct {
	io.Reader
	packet []byte // with its length; not touched any more when it is whole
}

const mostVersion = 8 << 10 // bytes of a VERSION packet

func (f *firstPacket) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	for rest := p[:n]; len(rest) > 0 && len(f.packet) < f.size(); {
		take := min(len(rest), f.size()-len(f.packet))
		f.packet, rest = append(f.packet, rest[:take]...), rest[take:]
	}
	return n, err
}

// size is how long the packet is as far as is known.
func (f *firstPacket) size() int {
	if len(f.packet) < 4 {
		return 4
	}
	return int(min(binary.BigEndian.Uint32(f.packet), mostVersion)) + 4
}

// extensions are the pairs of name and version behind the length, type and
// version of the packet.
func (f *firstPacket) extensions() map[string]string {
	var fields []string
	for b := f.packet[min(9, len(f.packet)):]; len(b) >= 4; {
		n := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			break
		}
		fields, b = append(fields, string(b[:n])), b[n:]
	}
	found := map[string]string{}
	for pair := range slices.Chunk(fields, 2) {
		if len(pair) == 2 {
			found[pair[0]] = pair[1]
		}
	}
	return found
}
