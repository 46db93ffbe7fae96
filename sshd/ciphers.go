package sshd

import (
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// identification is our SSH identification string (RFC 4253, section 4.2).
func (s *Server) identification() string { return "SSH-2.0-Berth" }

// ciphers is what is offered. "auto" is everything that is sound, AES-GCM
// first where the CPU knows AES.
func (s *Server) ciphers() []string {
	if !slices.Contains(s.Ciphers, cipherAuto) {
		return s.Ciphers
	}
	gcm := []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	ctr := []string{ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR}
	if hasAES() {
		return slices.Concat(gcm, ctr, []string{ssh.CipherChaCha20Poly1305})
	}
	return slices.Concat([]string{ssh.CipherChaCha20Poly1305}, gcm, ctr)
}

// hasAES reports whether AES-GCM runs in hardware.
func hasAES() bool {
	return (cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ) || (cpu.ARM64.HasAES && cpu.ARM64.HasPMULL) || cpu.S390X.HasAESGCM
}
