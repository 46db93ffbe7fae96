package main

// oneWrite writes a packet with one system call, of the pieces that the cipher made.
// The library copies them to a buffer of 4 KiB, and writes a longer packet in two
// parts. It also reads without one more buffer from a connection that reads ahead
// itself (ReadsAhead). An idle connection holds 8 KiB less.
//
// Upstream: golang.org/issue/39117, open since 2020. The patch goes when that is solved.
var oneWrite = patch{
	name: "one_write",
	edits: []edit{
		{"transport.go", "import (", "\t\"bufio\"\n", ""},
		{"transport.go", "type transport struct", "bufReader *bufio.Reader\n\tbufWriter *bufio.Writer", "bufReader io.Reader\n\tbufWriter *packetWriter"},
		{"transport.go", "func newTransport", "bufio.NewReader(rwc),\n\t\tbufWriter: bufio.NewWriter(rwc)", "packetReader(rwc),\n\t\tbufWriter: &packetWriter{w: rwc}"},
		{"transport.go", "func (s *connectionState) writePacket", "w *bufio.Writer", "w *packetWriter"},
		{"transport.go", "func (s *connectionState) readPacket", "r *bufio.Reader", "r io.Reader"},
	},
	code: `
import (
	"bufio"
	"bytes"
	"io"
	"net"
)

// packetReader reads from a connection that reads ahead without one more buffer.
func packetReader(conn io.Reader) io.Reader {
	if ahead, ok := conn.(interface{ ReadsAhead() bool }); ok && ahead.ReadsAhead() {
		return conn
	}
	return bufio.NewReader(conn)
}

// A packetWriter gathers the pieces of a packet, which the ciphers keep until the
// next one, and writes them at once.
type packetWriter struct {
	w      io.Writer
	pieces [][]byte
}

func (p *packetWriter) Write(piece []byte) (int, error) {
	p.pieces = append(p.pieces, piece)
	return len(piece), nil
}

func (p *packetWriter) Flush() (err error) {
	if w, ok := p.w.(interface{ WriteBuffers(net.Buffers) error }); ok {
		err = w.WriteBuffers(p.pieces)
	} else {
		_, err = p.w.Write(bytes.Join(p.pieces, nil))
	}
	p.pieces = p.pieces[:0]
	return err
}

`,
}
