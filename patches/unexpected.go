package main

// unexpectedMessages continues after a message that the server does not expect. The
// server answers UNIMPLEMENTED (RFC 4253 section 11.4). It ignores an UNIMPLEMENTED, an
// EXT_INFO, a USERAUTH_REQUEST after the login (RFC 4252 section 5.1), and answers to
// requests on closed channels. Without the patch, each of these ends the connection.
// Malformed messages still end it.
//
// Upstream: golang.org/issue/75268. Remove the patch when that is solved.
var unexpectedMessages = patch{
	name: "unexpected_messages",
	edits: []edit{
		// Each message is passed on with its number, because the answer needs it.
		{"handshake.go", "type handshakeTransport struct", "incoming  chan []byte", "incoming  chan numbered\n\tcurrent numbered"},
		{"handshake.go", "func newHandshakeTransport", "make(chan []byte, chanSize)", "make(chan numbered, chanSize)"},
		{"handshake.go", "func (t *handshakeTransport) readLoop", "t.incoming <- p", "t.incoming <- t.numbered(p)"},
		{"handshake.go", "func (t *handshakeTransport) readPacket", "return p, nil", "t.current = p\n\treturn p.packet, nil"},
		{"mux.go", "func (m *mux) onePacket", "// assume a channel packet.", "if t, ok := m.conn.(*handshakeTransport); ok && (packet[0] < msgChannelOpen || packet[0] > msgChannelFailure) {\n\t\treturn t.stray(packet)\n\t}"},
		{"mux.go", "func (m *mux) handleUnknownChannelPacket", "default:", "case *channelRequestSuccessMsg, *channelRequestFailureMsg:\n\t\treturn nil\n\tdefault:"},
	},
	code: `
import "encoding/binary"

type numbered struct {
	packet []byte
	number uint32
}

func (t *handshakeTransport) numbered(packet []byte) numbered {
	n := numbered{packet: packet}
	if conn, ok := t.conn.(*transport); ok {
		n.number = conn.reader.seqNum - 1
	}
	return n
}

// stray handles packet, which was read last and which nobody expects.
func (t *handshakeTransport) stray(packet []byte) error {
	if packet[0] == msgUnimplemented || packet[0] == msgExtInfo || packet[0] == msgUserAuthRequest {
		return nil
	}
	return t.writePacket(binary.BigEndian.AppendUint32([]byte{msgUnimplemented}, t.current.number))
}
`,
}
