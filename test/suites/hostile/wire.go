package main

import (
	"encoding/binary"
	"errors"
)

// Packet types, draft-ietf-secsh-filexfer-02 section 3.
const (
	fxInit     = 1
	fxVersion  = 2
	fxOpen     = 3
	fxClose    = 4
	fxRead     = 5
	fxWrite    = 6
	fxLstat    = 7
	fxFstat    = 8
	fxSetstat  = 9
	fxFsetstat = 10
	fxOpendir  = 11
	fxReaddir  = 12
	fxRemove   = 13
	fxMkdir    = 14
	fxRmdir    = 15
	fxRealpath = 16
	fxStat     = 17
	fxRename   = 18
	fxReadlink = 19
	fxSymlink  = 20
	fxStatus   = 101
	fxHandle   = 102
	fxData     = 103
	fxName     = 104
	fxAttrs    = 105
	fxExtended = 200
)

// Flags of fxOpen.
const (
	forRead   = 1
	forWrite  = 2
	appending = 4
	creating  = 8
	truncate  = 16
	exclusive = 32
)

// Flags of attributes.
const (
	attrSize        = 1
	attrOwner       = 2
	attrPermissions = 4
	attrTimes       = 8
	attrExtended    = 0x80000000
)

// Status codes. The last one is ours: the connection was ended.
const (
	statusOK          = 0
	statusFailure     = 4
	statusBadMessage  = 5
	statusUnsupported = 8
	statusEnded       = 999
)

// A packet is encoded by appending to it.
type packet []byte

func str(s string) packet                { return packet(nil).str(s) }
func (p packet) u8(v byte) packet        { return append(p, v) }
func (p packet) u32(v uint32) packet     { return binary.BigEndian.AppendUint32(p, v) }
func (p packet) u64(v uint64) packet     { return binary.BigEndian.AppendUint64(p, v) }
func (p packet) str(s string) packet     { return append(p.u32(uint32(len(s))), s...) }
func (p packet) join(q packet) packet    { return append(p, q...) }
func (p packet) noAttributes() packet    { return p.u32(0) }
func (p packet) mode(bits uint32) packet { return p.u32(attrPermissions).u32(bits) }
func (p packet) size(n uint64) packet    { return p.u32(attrSize).u64(n) }

// request is the packet of a request, without its length.
func request(kind byte, id uint32, body packet) packet {
	return packet(nil).u8(kind).u32(id).join(body)
}

// framed puts the length before a packet.
func framed(p packet) packet { return packet(nil).str(string(p)) }

// extended is the body of an extended request.
func extended(name string) packet { return str(name) }

var errShort = errors.New("the server sent a packet that ends too early")

// A reply is what the server answers.
type reply struct {
	kind byte
	id   uint32
	body []byte
}

// status is the code of a status, and the packet's type plus 1000 of others.
func (r reply) status() uint32 {
	if r.kind == 0 {
		return statusEnded
	}
	if r.kind != fxStatus || len(r.body) < 4 {
		return 1000 + uint32(r.kind)
	}
	return binary.BigEndian.Uint32(r.body)
}

// refused reports whether the answer is that it does not work.
func (r reply) refused() bool {
	return r.kind == 0 || (r.kind == fxStatus && r.status() != statusOK)
}

// text is the handle or the data in a reply.
func (r reply) text() string {
	d := decoder{rest: r.body}
	return d.str()
}

// names are those of a listing.
func (r reply) names() ([]string, error) {
	d := decoder{rest: r.body}
	var names []string
	for n := d.u32(); n > 0 && !d.short; n-- {
		names = append(names, d.str())
		d.str() // as ls -l has it
		d.attributes()
	}
	if d.short {
		return nil, errShort
	}
	return names, nil
}

// A decoder takes values from the front of rest. Once there is not enough, short
// is set and all values are zero.
type decoder struct {
	rest  []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.short, d.rest = true, nil
		return make([]byte, min(n, 8))
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) u32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }

func (d *decoder) str() string { return string(d.take(int(d.u32()))) }

func (d *decoder) attributes() {
	flags := d.u32()
	for _, field := range []struct {
		flag uint32
		size int
	}{{attrSize, 8}, {attrOwner, 8}, {attrPermissions, 4}, {attrTimes, 8}} {
		if flags&field.flag != 0 {
			d.take(field.size)
		}
	}
	if flags&attrExtended != 0 {
		for n := d.u32(); n > 0 && !d.short; n-- {
			d.str()
			d.str()
		}
	}
}
