package main

// clientSignature shows the signature of a login to VerifiedPublicKeyCallback:
// ConnMetadata gets a method Signature. The flags of a FIDO key are in its Rest, and
// say whether the person was verified, by a PIN or a finger: verify-required of
// OpenSSH. The library checks only that the key was touched.
//
// Upstream: no issue is known (golang.org/issue/79566 is about the touch). The
// patch goes when flags are available.
var clientSignature = patch{
	name: "signature",
	edits: []edit{
		{"connection.go", "type connection struct", "*mux", "*mux\n\n\tsignature *Signature"},
		{"server.go", "func (s *connection) serverAuthenticate", "authErr = candidate.result\n\t\t\t\tperms = candidate.perms", "s.signature = sig\n\t\t\t\tauthErr = candidate.result\n\t\t\t\tperms = candidate.perms"},
	},
	code: `
func (c *connection) Signature() *Signature { return c.signature }
`,
}
