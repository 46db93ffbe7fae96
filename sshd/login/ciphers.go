package login

import (
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"berth/sshd/early"
)

// Identification is our SSH identification string (RFC 4253, section 4.2).
const Identification = "SSH-2.0-Berth"

var (
	gcmCiphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	ctrCiphers = []string{ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR}
)

// ciphers are those offered to a client. "auto" is everything
// that is sound; but where the CPU knows AES, a client that knows AES-GCM is
// offered nothing else. The protocol leaves the choice to the client's order,
// and OpenSSH's begins with ChaCha20, which takes three times the CPU here.
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
