package main

// disconnectReason gives a Conn a method to send DISCONNECT with a reason (RFC 4253
// section 11.1). The client can then show why the server ends the connection. The
// method does not close the connection. It blocks while the client does not read.
//
// Upstream: golang.org/issue/37913, open since 2020. Remove the patch when Conn has
// such a method.
var disconnectReason = patch{
	name: "disconnect",
	code: `
func (c *connection) Disconnect(reason uint32, message string) error {
	return c.transport.writePacket(Marshal(&disconnectMsg{Reason: reason, Message: message}))
}
`,
}
