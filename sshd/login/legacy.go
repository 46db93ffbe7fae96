package login

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"berth/sshd/early"
)

// Legacy switches on algorithms that are weak, for partners that know nothing
// better.
type Legacy struct {
	Algorithms []string       `mapstructure:"algorithms"` // by the names they have in SSH
	From       []netip.Prefix `mapstructure:"from"`       // networks that get them; empty: everybody
}

// A weakness is a kind of algorithm that only Legacy switches on.
type weakness struct {
	names []string
	why   string
}

// weaknesses is all that the library has and that is not offered otherwise. It
// counts HMAC with SHA-1 among the good ones.
func weaknesses() []weakness {
	bad := ssh.InsecureAlgorithms()
	return []weakness{
		{bad.KeyExchanges, "can be broken by who has enough computers, or rests on SHA-1: the whole session can be read"},
		{bad.Ciphers, "leaks parts of what it encrypts"},
		{append([]string{ssh.HMACSHA1}, bad.MACs...), "rests on SHA-1"},
		{bad.PublicKeyAuths, "rests on SHA-1: a signature for a login or of the server might be forged"},
	}
}

// legacyNames are all names that Legacy takes.
func legacyNames() []string {
	var all []string
	for _, w := range weaknesses() {
		all = append(all, w.names...)
	}
	return all
}

// check reports names that are not known, and lists without any.
func (l Legacy) check(key string) []error {
	var errs []error
	if len(l.Algorithms) == 0 {
		errs = append(errs, fmt.Errorf("%s.algorithms: empty: must name some of %s", key, strings.Join(legacyNames(), ", ")))
	}
	for _, name := range l.Algorithms {
		if !slices.Contains(legacyNames(), name) {
			errs = append(errs, fmt.Errorf("%s.algorithms: %q is no old algorithm that there is here: use some of %s", key, name, strings.Join(legacyNames(), ", ")))
		}
	}
	return errs
}

// Warnings returns, for everything weak that is switched on, why it is weak and
// for whom it is on.
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

// legacy returns which old algorithms a client at remote gets.
func (g *Gate) legacy(remote netip.Addr) []string {
	var names []string
	for _, l := range g.Legacy {
		if len(l.From) == 0 || slices.ContainsFunc(l.From, func(p netip.Prefix) bool { return p.Contains(remote.Unmap().WithZone("")) }) {
			names = append(names, l.Algorithms...)
		}
	}
	return names
}

// weaken adds old algorithms to what a client is offered. The choice is the
// client's, so a client that knows something better is offered nothing weak.
func weaken(cfg *ssh.ServerConfig, names []string, hello early.Hello) {
	if len(names) == 0 {
		return
	}
	w := weaknesses()
	for i, list := range []struct {
		offered *[]string
		client  [][]string // both must have one in common with what is offered
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

// A sha1Signer is a host key that could also sign with SHA-1.
type sha1Signer interface {
	WithSHA1() (ssh.Signer, error)
}

// hostKeys are those offered to a client that gets some old algorithms: an RSA
// key signs with SHA-1 too if that is one of them, and the client lists
// nothing better.
func (g *Gate) hostKeys(names []string, hello early.Hello) []ssh.Signer {
	if !slices.Contains(names, ssh.KeyAlgoRSA) || slices.ContainsFunc(g.HostKeys, func(k ssh.Signer) bool { return share(algorithms(k), hello.HostKeys) }) {
		return g.HostKeys
	}
	keys := slices.Clone(g.HostKeys)
	for i, k := range keys {
		old, ok := k.(sha1Signer)
		if !ok {
			continue
		}
		weak, err := old.WithSHA1()
		if err != nil {
			g.Log.Error("let a host key sign with SHA-1", "error", err)
			continue
		}
		keys[i] = weak
	}
	return keys
}

// algorithms are those that a host key signs with.
func algorithms(k ssh.Signer) []string {
	if m, ok := k.(ssh.MultiAlgorithmSigner); ok {
		return m.Algorithms()
	}
	return []string{k.PublicKey().Type()}
}
