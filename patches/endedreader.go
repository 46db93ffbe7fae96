package main

// endedReader lets the goroutine that reads end when a connection has failed. In the
// library it waits for ever to hand on the seventeenth packet that the client had sent
// by then, with one more goroutine and the buffers of the connection: any client can
// leave such a pair behind at each connection.
//
// Upstream: no issue is known. The patch goes when nothing remains of such a connection.
var endedReader = patch{
	name: "ended_reader",
	edits: []edit{
		{"server.go", "func NewServerConn", "s.serverHandshake(&fullConf)\n\tif err != nil {\n", "s.serverHandshake(&fullConf)\n\tif err != nil {\n\t\tif t, ok := s.transport.(*handshakeTransport); ok {\n\t\t\tgo t.discard()\n\t\t}\n"},
		{"handshake.go", "func (t *handshakeTransport) Close", "err := t.conn.Close()\n", "err := t.conn.Close()\n\tgo t.discard()\n"},
	},
	code: `
// discard takes the packets that nobody reads any more, until the connection is closed.
func (t *handshakeTransport) discard() {
	for range t.incoming {
	}
}
`,
}
