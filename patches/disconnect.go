package main

// disconnectReason gives a Conn a method to send DISCONNECT with a reason (RFC 4253
// section 11.1), so that the client shows why the server ends the connection. It
// does not close the connection, and blocks while the client does not read.
//
// Upstream: golang.org/issue/37913, open since 2020. The patch goes when Conn
// has such a method.
var disconnectReason = patch{
	name: "disconnect",
	code: `
func (c *connection) Disconnect(reason uint32, message string) error {
	return c.transport.writePacket(Marshal(&disconnectMsg{Reason: reason, Message: message}))
}
`,
}
