package main

// endedReader ends the goroutine that reads when a connection has failed. If the client
// had sent seventeen packets by then, this goroutine of the library waits for ever to
// pass on the last one. So does another goroutine, and the buffers of the connection are
// never freed. A client could cause this with each connection.
//
// Upstream: no issue is known. Remove the patch when nothing of such a connection is left.
var endedReader = patch{
	name: "ended_reader",
	edits: []edit{
		{"server.go", "func NewServerConn", "s.serverHandshake(&fullConf)\n\tif err != nil {\n", "s.serverHandshake(&fullConf)\n\tif err != nil {\n\t\tif t, ok := s.transport.(*handshakeTransport); ok {\n\t\t\tgo t.discard()\n\t\t}\n"},
		{"handshake.go", "func (t *handshakeTransport) Close", "err := t.conn.Close()\n", "err := t.conn.Close()\n\tgo t.discard()\n"},
	},
	code: `
// discard drops the packets that nobody reads any more, until the connection is closed.
func (t *handshakeTransport) discard() {
	for range t.incoming {
	}
}
`,
}
