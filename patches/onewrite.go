package main

// oneWrite writes the pieces of a packet that the cipher made with one system call.
// The library copies them to a buffer of 4 KiB, and writes a longer packet in two
// parts. If a connection reads ahead itself (ReadsAhead), the patch also reads from it
// without another buffer. An idle connection needs 8 KiB less.
//
// Upstream: golang.org/issue/39117, open since 2020. Remove the patch when that is solved.
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

// packetReader adds no buffer to a connection that reads ahead itself.
func packetReader(conn io.Reader) io.Reader {
	if ahead, ok := conn.(interface{ ReadsAhead() bool }); ok && ahead.ReadsAhead() {
		return conn
	}
	return bufio.NewReader(conn)
}

// A packetWriter collects the pieces of a packet and writes them together. The ciphers
// do not change the pieces before the next packet.
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
