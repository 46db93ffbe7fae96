package main

// packets moves a packet with less work. It is written with one system call, of the
// pieces that the cipher made, where the library copies to a buffer of 4 KiB and
// writes twice. It is read from the connection without a second buffer in between if
// the connection reads ahead itself (ReadsAhead). A big packet of AES keeps the buffer
// it was decrypted in until its data has been read, where the library allocates 32 KiB
// for each and copies it. Idle connections hold 8 KiB less.
//
// Upstream: golang.org/issue/39117, open since 2020. The patch goes when that is solved.
var packets = patch{
	name: "packets",
	edits: []edit{
		{"transport.go", "import (", "\t\"bufio\"\n", ""},
		{"transport.go", "type transport struct", "bufReader *bufio.Reader\n\tbufWriter *bufio.Writer", "bufReader io.Reader\n\tbufWriter *packetWriter"},
		{"transport.go", "func newTransport", "bufio.NewReader(rwc),\n\t\tbufWriter: bufio.NewWriter(rwc)", "packetReader(rwc),\n\t\tbufWriter: &packetWriter{w: rwc}"},
		{"transport.go", "func (s *connectionState) writePacket", "w *bufio.Writer", "w *packetWriter"},
		{"transport.go", "func (s *connectionState) readPacket", "r *bufio.Reader", "r io.Reader"},
		{"transport.go", "func (s *connectionState) readPacket", "\t// The packet may point", `	if c, ok := s.packetCipher.(interface{ detach() }); ok && len(packet) >= bigPacket {
		c.detach()
		return packet, err
	}

	// The packet may point`},
		{"cipher.go", "func (s *streamPacketCipher) readCipherPacket", "make([]byte, length-1+macSize)", "takeBuffer(int(length - 1 + macSize))"},
		{"cipher.go", "func (c *gcmCipher) readCipherPacket", "make([]byte, length+gcmTagSize)", "takeBuffer(int(length + gcmTagSize))"},
		{"buffer.go", "type element struct", "buf  []byte", "buf   []byte\n\twhole []byte // what buf is a part of"},
		{"buffer.go", "func (b *buffer) write", "e := &element{buf: buf}", "e := &element{buf: buf, whole: buf}"},
		{"buffer.go", "func (b *buffer) Read", "n += r\n", `n += r
			if len(b.head.buf) == 0 {
				freeBuffer(b.head.whole)
				b.head.buf, b.head.whole = nil, nil
			}
`},
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

// A packet of bigPacket bytes or more keeps its buffer, so that little of the buffer
// is empty.
const bigPacket = 16 << 10

// buffers are not in use. They hold the largest packet of data, and become some
// bytes shorter each time, by what stands before the data.
var buffers = make(chan []byte, 64)

func takeBuffer(n int) []byte {
	if n < bigPacket {
		return make([]byte, n, max(n, 512))
	}
	select {
	case b := <-buffers:
		if cap(b) >= n {
			return b[:n]
		}
	default:
	}
	return make([]byte, n, max(n, channelMaxPacket+8<<10))
}

func freeBuffer(b []byte) {
	if cap(b) < channelMaxPacket+512 {
		return
	}
	select {
	case buffers <- b:
	default:
	}
}

func (c *gcmCipher) detach()          { c.buf = nil }
func (s *streamPacketCipher) detach() { s.packetData = nil }
`,
}
