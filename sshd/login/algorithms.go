package login

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"berth/sshd/check"
	"berth/sshd/early"
)

// Identification is our SSH identification string (RFC 4253, section 4.2).
const Identification = "SSH-2.0-Berth"

var (
	gcmCiphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	ctrCiphers = []string{ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR}
)

// ciphers returns those offered to a client. "auto" is every strong cipher. But where
// the CPU has AES instructions, a client that knows AES-GCM is offered nothing else:
// the order of the client decides, and that of OpenSSH begins with ChaCha20, which
// takes three times as much CPU time here.
func (g *Gate) ciphers(hello early.Hello) []string {
	if !slices.Contains(g.Ciphers, cipherAuto) {
		return g.Ciphers
	}
	if !hasAES() {
		return slices.Concat([]string{ssh.CipherChaCha20Poly1305}, gcmCiphers, ctrCiphers)
	}
	all := slices.Concat(gcmCiphers, ctrCiphers, []string{ssh.CipherChaCha20Poly1305})
	return hello.Ciphers(all, gcmCiphers)
}

// hasAES reports whether AES-GCM runs in hardware.
func hasAES() bool {
	return (cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ) || (cpu.ARM64.HasAES && cpu.ARM64.HasPMULL) || cpu.S390X.HasAESGCM
}

// Legacy switches on weak algorithms, for partners that know no better ones.
type Legacy struct {
	Algorithms []string       `mapstructure:"algorithms"` // names of the algorithms in SSH
	From       []netip.Prefix `mapstructure:"from"`       // networks that get them; empty: everybody
}

// A weakness is a kind of algorithm that only Legacy switches on.
type weakness struct {
	names []string
	why   string
}

// weaknesses are all algorithms of the library that only Legacy switches on. The
// library does not call HMAC with SHA-1 insecure.
func weaknesses() []weakness {
	bad := ssh.InsecureAlgorithms()
	return []weakness{
		{bad.KeyExchanges, "can be broken with enough computers, or uses SHA-1: others could then read the whole session"},
		{bad.Ciphers, "reveals parts of what it encrypts"},
		{append([]string{ssh.HMACSHA1}, bad.MACs...), "uses SHA-1"},
		{bad.PublicKeyAuths, "uses SHA-1: somebody could forge a signature of a user or of the server"},
	}
}

// legacyNames returns the algorithms that Legacy can switch on.
func legacyNames() (all []string) {
	for _, w := range weaknesses() {
		all = append(all, w.names...)
	}
	return all
}

// check reports names that are not known, and lists without any.
func (l Legacy) check(key string) []error {
	var wrong check.Mistakes
	known := strings.Join(legacyNames(), ", ")
	wrong.If(len(l.Algorithms) == 0, "%s.algorithms: empty: must name some of %s", key, known)
	for _, name := range l.Algorithms {
		wrong.If(!slices.Contains(legacyNames(), name), "%s.algorithms: %q is not one of the old algorithms of this server: use some of %s", key, name, known)
	}
	return wrong
}

// Warnings returns why each weak algorithm that is switched on is weak, and for whom
// it is switched on.
func (s *Settings) Warnings() []string {
	var all []string
	for i, l := range s.Legacy {
		whom := "everybody"
		if len(l.From) > 0 {
			whom = strings.Trim(fmt.Sprint(l.From), "[]")
		}
		for _, w := range weaknesses() {
			for _, name := range l.Algorithms {
				if slices.Contains(w.names, name) {
					all = append(all, fmt.Sprintf("ssh.legacy[%d]: %s is on for %s: it %s", i, name, whom, w.why))
				}
			}
		}
	}
	return all
}

// legacy returns the weak algorithms for a client at remote.
func (g *Gate) legacy(remote netip.Addr) []string {
	var names []string
	for _, l := range g.Legacy {
		if len(l.From) == 0 || slices.ContainsFunc(l.From, func(p netip.Prefix) bool { return p.Contains(remote.Unmap().WithZone("")) }) {
			names = append(names, l.Algorithms...)
		}
	}
	return names
}

// weaken adds weak algorithms to those offered to a client. The client chooses, so a
// client that knows a better algorithm is offered no weak one.
func weaken(cfg *ssh.ServerConfig, names []string, hello early.Hello) {
	if len(names) == 0 {
		return
	}
	w := weaknesses()
	for i, list := range []struct {
		offered *[]string
		client  [][]string // each of both lists must have an algorithm in common with those offered
	}{
		{&cfg.KeyExchanges, [][]string{hello.KeyExchanges}},
		{&cfg.Ciphers, [][]string{hello.CiphersIn, hello.CiphersOut}},
		{&cfg.MACs, [][]string{hello.MACsIn, hello.MACsOut}},
		{&cfg.PublicKeyAuthAlgorithms, [][]string{nil}}, // the client has not sent this list yet
	} {
		if !slices.ContainsFunc(list.client, func(knows []string) bool { return !share(knows, *list.offered) }) {
			continue
		}
		for _, name := range names {
			if slices.Contains(w[i].names, name) {
				*list.offered = append(slices.Clip(*list.offered), name)
			}
		}
	}
}

// share reports whether a and b have something in common.
func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// hostKeys returns the keys offered to a client that gets some weak algorithms. An RSA
// key also signs with SHA-1 if that is one of them and the client lists no better
// algorithm.
func (g *Gate) hostKeys(names []string, hello early.Hello) []ssh.Signer {
	certified, err := g.Certificates.HostCertificates(g.HostKeys, time.Now())
	if err != nil {
		g.Log.Error("renew the certificates of host keys", "error", err)
	}
	keys := slices.Concat(g.HostKeys, certified)
	if !slices.Contains(names, ssh.KeyAlgoRSA) || slices.ContainsFunc(keys, func(k ssh.Signer) bool { return share(algorithms(k), hello.HostKeys) }) {
		return keys
	}
	for i, k := range keys {
		if old, ok := k.(interface{ WithSHA1() ssh.Signer }); ok {
			keys[i] = old.WithSHA1()
		}
	}
	return keys
}

// firstOfType returns the first key of each type. SSH can offer only one, and clients
// learn the others after the login.
func firstOfType(keys []ssh.Signer) []ssh.Signer {
	var first []ssh.Signer
	for _, k := range keys {
		if !slices.ContainsFunc(first, func(f ssh.Signer) bool { return f.PublicKey().Type() == k.PublicKey().Type() }) {
			first = append(first, k)
		}
	}
	return first
}

// algorithms returns those that a host key signs with.
func algorithms(k ssh.Signer) []string {
	if m, ok := k.(ssh.MultiAlgorithmSigner); ok {
		return m.Algorithms()
	}
	return []string{k.PublicKey().Type()}
}
