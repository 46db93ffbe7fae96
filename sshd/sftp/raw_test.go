package sftp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"berth/fs"
	"berth/sshd/sftp"
)

// Packet types, flags and codes of the draft, written down a second time on
// purpose: these tests do not believe the server's own.
const (
	fxInit, fxVersion                     = 1, 2
	fxOpen, fxClose, fxRead, fxWrite      = 3, 4, 5, 6
	fxLstat, fxFstat, fxSetstat           = 7, 8, 9
	fxFsetstat, fxOpendir, fxReaddir      = 10, 11, 12
	fxRemove, fxMkdir, fxRmdir            = 13, 14, 15
	fxRealpath, fxStat, fxRename          = 16, 17, 18
	fxReadlink, fxSymlink                 = 19, 20
	fxStatus, fxHandle, fxData            = 101, 102, 103
	fxName, fxAttrs, fxExtended, fxXReply = 104, 105, 200, 201
)

const (
	rd, wr, app, creat, trunc, excl = 1, 2, 4, 8, 16, 32
)

// noAttrs is an empty ATTRS structure.
const noAttrs = uint32(0)

// raw bytes are put into a packet without a length.
type raw string

// packet builds a packet out of its type and fields.
func packet(kind byte, fields ...any) []byte {
	b := []byte{0, 0, 0, 0, kind}
	for _, f := range fields {
		switch f := f.(type) {
		case int: // ids, flags and counts
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, f)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, f)
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		case raw:
			b = append(b, f...)
		default:
			panic(fmt.Sprintf("no field %T", f))
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

var hello = packet(fxInit, 3)

// handleAt is the handle at a place, the nth opened there.
func handleAt(place, nth int) string {
	return string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(place)), uint32(nth)))
}

// first is the handle of the first open of a session.
var first = handleAt(0, 0)

// script is a client that sends everything before it reads.
type script struct {
	io.Reader
	bytes.Buffer
	writes int
}

func (s *script) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s *script) Write(b []byte) (int, error) { s.writes++; return s.Buffer.Write(b) }

// converse sends INIT and the packets and returns the answers after VERSION, each
// as show writes it, and the result of Serve.
func converse(t testing.TB, files fs.FS, opt sftp.Options, packets ...[]byte) ([]string, error) {
	t.Helper()
	s := &script{Reader: bytes.NewReader(append(bytes.Clone(hello), bytes.Join(packets, nil)...))}
	err := sftp.Serve(s, files, opt)
	answers := split(t, s.Bytes())
	if len(answers) == 0 || answers[0][0] != fxVersion {
		t.Fatalf("the session began with %q, want VERSION", answers)
	}
	var told []string
	for _, a := range answers[1:] {
		told = append(told, show(t, a))
	}
	return told, err
}

// split cuts a stream into packets without their lengths.
func split(t testing.TB, b []byte) (packets [][]byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 5 {
			t.Fatalf("the stream ends with %x", b)
		}
		n := int(binary.BigEndian.Uint32(b))
		if n > 256<<10 || n > len(b)-4 {
			t.Fatalf("a packet of %d bytes, with %d left", n, len(b)-4)
		}
		packets, b = append(packets, b[4:4+n]), b[4+n:]
	}
	return packets
}

// fields takes a packet apart as the tests need it.
type fields struct {
	t testing.TB
	b []byte
}

func (f *fields) take(n int) []byte {
	f.t.Helper()
	if n > len(f.b) {
		f.t.Fatalf("an answer has %d bytes where %d should be", len(f.b), n)
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) u32() uint32    { f.t.Helper(); return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64    { f.t.Helper(); return binary.BigEndian.Uint64(f.take(8)) }
func (f *fields) string() string { f.t.Helper(); return string(f.take(int(f.u32()))) }

// attrs reads an ATTRS structure and shows size and mode.
func (f *fields) attrs() string {
	f.t.Helper()
	flags := f.u32()
	s := ""
	if flags&1 != 0 {
		s += fmt.Sprintf(" size %d", f.u64())
	}
	if flags&2 != 0 {
		f.u32()
		f.u32()
	}
	if flags&4 != 0 {
		s += fmt.Sprintf(" mode %o", f.u32())
	}
	if flags&8 != 0 {
		f.u32()
		f.u32()
	}
	return strings.TrimSpace(s)
}

// show writes an answer as one line: "ID kind …".
func show(t testing.TB, answer []byte) string {
	t.Helper()
	f := &fields{t, answer[1:]}
	id := f.u32()
	switch answer[0] {
	case fxStatus:
		return fmt.Sprintf("%d status %d %s", id, f.u32(), f.string())
	case fxHandle:
		h := fields{t, []byte(f.string())}
		if len(h.b) == 4 { // OpenSSH's
			return fmt.Sprintf("%d handle %d", id, h.u32())
		}
		return fmt.Sprintf("%d handle %d.%d", id, h.u32(), h.u32())
	case fxData:
		return fmt.Sprintf("%d data %q", id, f.string())
	case fxAttrs:
		return fmt.Sprintf("%d attrs %s", id, f.attrs())
	case fxName:
		var names []string
		for n := f.u32(); n > 0; n-- {
			names = append(names, f.string())
			f.string()
			f.attrs()
		}
		return fmt.Sprintf("%d name %q", id, names)
	case fxXReply:
		return fmt.Sprintf("%d reply %s", id, hex.EncodeToString(f.b))
	}
	t.Fatalf("an answer of type %d", answer[0])
	return ""
}
