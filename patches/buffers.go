package main

// keptBuffers lets a big packet of AES keep the buffer in which it was decrypted, until
// its data has been read. The library allocates 32 KiB for each packet and copies the
// packet.
//
// Upstream: golang.org/issue/39117, open since 2020. Remove the patch when that is solved.
var keptBuffers = patch{
	name: "kept_buffers",
	edits: []edit{
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
import "sync"

// Packets of at least bigPacket bytes keep their buffer: little of it is unused.
const bigPacket = 16 << 10

// buffers holds those that are not in use. Each has room for the largest packet of
// data. It becomes some bytes shorter each time, by the fields before the data.
var buffers sync.Pool

func takeBuffer(n int) []byte {
	if n < bigPacket {
		return make([]byte, n, max(n, 512))
	}
	if b, _ := buffers.Get().(*[]byte); b != nil && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n, max(n, channelMaxPacket+8<<10))
}

func freeBuffer(b []byte) {
	if cap(b) >= channelMaxPacket+512 {
		buffers.Put(&b)
	}
}

func (c *gcmCipher) detach()          { c.buf = nil }
func (s *streamPacketCipher) detach() { s.packetData = nil }
`,
}
