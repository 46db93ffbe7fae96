package main

// clientSignature shows the signature of a login to VerifiedPublicKeyCallback:
// ConnMetadata gets a method Signature. Its field Rest has the flags of a FIDO key. They
// say whether the key has verified the person by a PIN or a fingerprint, which OpenSSH's
// option verify-required demands. The library checks only that the key was touched.
//
// Upstream: no issue is known (golang.org/issue/79566 is about the touch). Remove the
// patch when the flags are available.
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
