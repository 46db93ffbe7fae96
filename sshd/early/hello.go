package early

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
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
	var both []string
	for _, name := range offered {
		if slices.Contains(fast, name) && slices.Contains(h.CiphersIn, name) && slices.Contains(h.CiphersOut, name) {
			both = append(both, name)
		}
	}
	if len(both) == 0 {
		return offered
	}
	return both
}

const (
	msgKexInit = 20
	cookieSize = 16
)

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
	if len(payload) < 1+cookieSize || payload[0] != msgKexInit {
		return
	}
	rest := payload[1+cookieSize:]
	seen := Hello{Version: h.Version, KexInit: true}
	for _, list := range []*[]string{
		&seen.KeyExchanges, &seen.HostKeys,
		&seen.CiphersIn, &seen.CiphersOut,
		&seen.MACsIn, &seen.MACsOut,
	} {
		var ok bool
		if *list, rest, ok = nameList(rest); !ok {
			return
		}
	}
	*h = seen
}

// nameList reads one list of names: RFC 4251, section 5.
func nameList(b []byte) (names []string, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	if n > 0 {
		names = strings.Split(string(b[:n]), ",")
	}
	return names, b[n:], true
}
