package main

// abandonedMethods lets a client abandon a method before its end and begin another
// one (RFC 4252 section 5). The server then sends no answer to the first method.
// PuTTY and JSch do so when gssapi-with-mic is offered and they have no ticket.
// Without the patch they are disconnected before they can ask for a password. A client
// may also leave a dialogue of keyboard-interactive. This counts as a failure, because
// the client may have learned something from the dialogue. What the callback of an
// abandoned method returns has no effect.
//
// Upstream: golang.org/issue/75268. Remove the patch when that is solved.
var abandonedMethods = patch{
	name: "abandoned_methods",
	edits: []edit{
		{"berth_before_login.go", "func (s *connection) authPacket", "default:", `case packet[0] == msgUserAuthRequest && want != msgServiceRequest, packet[0] == msgServiceRequest:
			s.pushed = packet
			return nil, errAbandoned
		default:`},
		{"server.go", "func (c *sshClientKeyboardInteractive) Challenge", "c.transport.readPacket()", "c.authPacket(msgUserAuthInfoResponse)"},
		{"server.go", "func gssExchangeToken", "break\n\t\t}\n\t\tpacket, err := s.transport.readPacket()", "break\n\t\t}\n\t\tpacket, err := s.authPacket(msgUserAuthGSSAPIToken)"},
		{"server.go", "func gssExchangeToken", "\n\tpacket, err := s.transport.readPacket()", "\n\tpacket, err := s.authPacket(msgUserAuthGSSAPIMIC)"},
		{"server.go", "func (s *connection) serverAuthenticate", "\n\t\t\tpacket, err := s.transport.readPacket()\n\t\t\tif err != nil {", "\n\t\t\tpacket, err := s.authPacket(msgUserAuthGSSAPIToken)\n\t\t\tif err == errAbandoned {\n\t\t\t\tcontinue userAuthLoop\n\t\t\t}\n\t\t\tif err != nil {"},
		{"server.go", "func (s *connection) serverAuthenticate", "userAuthReq)\n\t\t\tif err != nil {", "userAuthReq)\n\t\t\tif err != nil && err != errAbandoned {"},
		{"server.go", "func (s *connection) serverAuthenticate", "// The source-address critical option is enforced on", "if s.pushed != nil {\n\t\t\tif userAuthReq.Method == \"keyboard-interactive\" {\n\t\t\t\tauthFailures++\n\t\t\t}\n\t\t\tcontinue userAuthLoop\n\t\t}\n\n\t\t// The source-address critical option is enforced on"},
	},
	code: `
import "errors"

var errAbandoned = errors.New("ssh: the client has abandoned the authentication method")
`,
}
