package main

// beforeLogin does the same for messages before the login. It also accepts a second
// request for the authentication service, because paramiko (Ansible, Airflow, pysftp,
// fsspec) sends one before each try. A login may have maxAuthServerAttempts such
// messages. Without the patch, each of them ends the connection.
//
// Upstream: golang.org/issue/75268. Remove the patch when that is solved.
var beforeLogin = patch{
	name: "before_login",
	edits: []edit{
		{"connection.go", "type connection struct", "*mux", "*mux\n\n\tpushed []byte\n\tstrays int"},
		{"server.go", "func (s *connection) serverHandshake", "packet, err = s.transport.readPacket()", "packet, err = s.authPacket(msgServiceRequest)"},
		{"server.go", "func (s *connection) serverAuthenticate", "packet, err := s.transport.readPacket(); err", "packet, err := s.authPacket(msgUserAuthRequest); err"},
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
