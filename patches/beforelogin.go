package main

// beforeLogin does the same for messages before the login. It also accepts a second
// request for the authentication service, because paramiko (Ansible, Airflow, pysftp,
// fsspec) sends one before each try. A login may have maxAuthServerAttempts such
// messages. Without the patch, each of them ends the connection. Only KEXINIT, after the
// first, does not: an exchange of keys costs the server more time than it costs the
// client, and without the patch a client can repeat it as often as it likes.
//
// Upstream: golang.org/issue/75268. Remove the patch when that is solved.
var beforeLogin = patch{
	name: "before_login",
	edits: []edit{
		{"connection.go", "type connection struct", "*mux", "*mux\n\n\tpushed []byte\n\tstrays int"},
		{"server.go", "func (s *connection) serverHandshake", "packet, err = s.transport.readPacket()", "packet, err = s.authPacket(msgServiceRequest)"},
		{"server.go", "func (s *connection) serverAuthenticate", "packet, err := s.transport.readPacket(); err", "packet, err := s.authPacket(msgUserAuthRequest); err"},
		{"handshake.go", "type handshakeTransport struct", "bool // whether the user authentication phase is complete", "atomic.Int32 // of a server: 1 before the end of the authentication, 2 after it"},
		{"handshake.go", "func (t *handshakeTransport) writePacket", "t.userAuthComplete {", "t.userAuthComplete.Load() == 2 {"},
		{"handshake.go", "func (t *handshakeTransport) writePacket", "t.userAuthComplete = true", "t.userAuthComplete.Store(2)"},
		{"handshake.go", "func (t *handshakeTransport) readOnePacket", "if p[0] != msgKexInit {", "if p[0] != msgKexInit || t.sessionID != nil && t.userAuthComplete.Load() == 1 {"},
		{"server.go", "func (s *connection) serverHandshake", "s.serverVersion, config)\n", "s.serverVersion, config)\n\ts.transport.(*handshakeTransport).userAuthComplete.Store(1)\n"},
	},
	code: `
import "errors"

// authPacket reads the next message of the type want during authentication.
func (s *connection) authPacket(want byte) (packet []byte, err error) {
	for ; s.strays < maxAuthServerAttempts; s.strays++ {
		if packet, s.pushed = s.pushed, nil; packet == nil {
			if packet, err = s.transport.readPacket(); err != nil {
				return nil, err
			}
		}
		switch {
		case packet[0] == want:
			return packet, nil
		case packet[0] == msgServiceRequest && want == msgUserAuthRequest:
			var msg serviceRequestMsg
			if err = Unmarshal(packet, &msg); err == nil && msg.Service != serviceUserAuth {
				err = errors.New("ssh: only the authentication service can be requested before authenticating")
			}
			if err == nil {
				err = s.transport.writePacket(Marshal(&serviceAcceptMsg{Service: msg.Service}))
			}
		default:
			err = s.transport.(*handshakeTransport).stray(packet)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("ssh: too many unexpected messages before authentication")
}
`,
}
