package main

// passwordChange lets the callback of the password method ask for a new password
// (RFC 4252 section 8). Its error says so by a method:
//
//	PasswordChange() (prompt string, change func(meta ConnMetadata, old, new []byte) (*Permissions, error))
//
// The client then sends both passwords, and change decides about the login. It may ask
// for another password again. Without the patch, a request to change a password ends the
// connection. PuTTY, plink and many graphical clients have no other way to change an
// expired password during a login.
//
// Upstream: no issue is known. Remove the patch when the library has such a callback.
var passwordChange = patch{
	name: "password_change",
	edits: []edit{
		{"server.go", "func (s *connection) serverAuthenticate", "partialSuccessReturned := false", "partialSuccessReturned := false\n\tvar change changeFunc"},
		{"server.go", "func (s *connection) serverAuthenticate", "len(payload) < 1 || payload[0] != 0", "len(payload) < 1"},
		{"server.go", "func (s *connection) serverAuthenticate", "payload = payload[1:]\n\t\t\tpassword, payload, ok := parseString(payload)\n", `changes := payload[0] != 0
			password, payload, ok := parseString(payload[1:])
			var newPassword []byte
			if ok && changes {
				newPassword, payload, ok = parseString(payload)
			}
`},
		{"server.go", "func (s *connection) serverAuthenticate", "perms, authErr = authConfig.PasswordCallback(s, password)", `if !changes {
				perms, authErr = authConfig.PasswordCallback(s, password)
			} else if change != nil {
				perms, authErr = change(s, password, newPassword)
			} else {
				authErr = errors.New("ssh: a change of the password was not asked for")
			}
			change = nil
			var wanted wantsChange
			if errors.As(authErr, &wanted) {
				var prompt string
				prompt, change = wanted.PasswordChange()
				if err := s.transport.writePacket(Marshal(&passwordChangeMsg{Prompt: prompt})); err != nil {
					return nil, err
				}
				continue userAuthLoop
			}`},
	},
	code: `
type changeFunc = func(meta ConnMetadata, old, new []byte) (*Permissions, error)

type wantsChange interface {
	error
	PasswordChange() (prompt string, change changeFunc)
}

// passwordChangeMsg is PASSWD_CHANGEREQ.
type passwordChangeMsg struct {
	Prompt   string ` + "`sshtype:\"60\"`" + `
	Language string
}
`,
}
