package early

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// A Hello is what a client sends before keys are exchanged. Nothing in it is verified.
type Hello struct {
	Version string // identification string, with unprintable characters replaced
	KexInit bool   // whether the lists below were seen

	// The client's lists, its first choice first: RFC 4253, section 7.1. In is for
	// what the client sends, Out for what the server sends.
	KeyExchanges, HostKeys []string
	CiphersIn, CiphersOut  []string
	MACsIn, MACsOut        []string
}

// Ciphers narrows offered to the ciphers of fast, if the client lists one of them for
// both directions. The client chooses among the ciphers that are offered, and its
// first choice may be a slow one.
func (h Hello) Ciphers(offered, fast []string) []string {
	both := slices.DeleteFunc(slices.Clone(offered), func(name string) bool {
		return !slices.Contains(fast, name) || !slices.Contains(h.CiphersIn, name) || !slices.Contains(h.CiphersOut, name)
	})
	if len(both) == 0 {
		return offered
	}
	return both
}

// firstPacket returns the payload of the packet that b begins with. It is not
// encrypted: RFC 4253, section 6. The error says that b does not begin with a packet.
func firstPacket(b []byte) (payload []byte, complete bool, err error) {
	if len(b) < 5 {
		return nil, false, nil
	}
	length := binary.BigEndian.Uint32(b)
	padding := uint32(b[4])
	if length > maxPacket || length < padding+2 {
		return nil, false, fmt.Errorf("%w: garbage after the identification string", ErrNotSSH)
	}
	if uint32(len(b)-4) < length {
		return nil, false, nil
	}
	return b[5 : 4+length-padding], true, nil
}

// parse reads a KEXINIT message into h. Any other message is ignored.
func (h *Hello) parse(payload []byte) {
	var m struct {
		Cookie [16]byte `sshtype:"20"`

		KeyExchanges, HostKeys []string
		CiphersIn, CiphersOut  []string
		MACsIn, MACsOut        []string
		Rest                   []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(payload, &m) == nil {
		*h = Hello{h.Version, true, m.KeyExchanges, m.HostKeys, m.CiphersIn, m.CiphersOut, m.MACsIn, m.MACsOut}
	}
}
