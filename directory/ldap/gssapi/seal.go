package gssapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jcmturner/gokrb5/v8/crypto/etype"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"
)

// maxSealed bounds a sealed message of the server, in bytes. Servers put many entries
// into one.
const maxSealed = 0xffffff

// A Conn is encrypted by Kerberos after a bind that has agreed on this (RFC
// 4752). Each message follows its length (RFC 4422, section 3.7).
type Conn struct {
	net.Conn
	layer atomic.Pointer[wrapping]

	writing sync.Mutex
	sealed  []byte // received, not opened yet
	plain   []byte // opened, not read yet
}

// Start encrypts all that follows. The server must not have sent anything after its
// answer to the bind, because it waits for a request.
func (s *Conn) Start(g *Context) {
	w := g.wrapping
	s.layer.Store(&w)
}

// Sealed reports whether Start was called.
func (s *Conn) Sealed() bool { return s.layer.Load() != nil }

func (s *Conn) Read(p []byte) (int, error) {
	for len(s.plain) == 0 {
		n, err := s.Conn.Read(p)
		layer := s.layer.Load() // encryption may have started while Read waited
		if layer == nil || err != nil {
			return n, err
		}
		s.sealed = append(s.sealed, p[:n]...)
		if err := s.open(layer); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

// open opens the messages that are complete.
func (s *Conn) open(layer *wrapping) error {
	const header = 4
	for len(s.sealed) >= header {
		length := int(binary.BigEndian.Uint32(s.sealed))
		if length > maxSealed {
			return fmt.Errorf("sealed message of %d bytes is longer than %d", length, maxSealed)
		}
		if len(s.sealed) < header+length {
			return nil
		}
		plain, err := layer.unwrap(s.sealed[header : header+length])
		if err != nil {
			return err
		}
		s.plain, s.sealed = append(s.plain, plain...), slices.Clone(s.sealed[header+length:])
	}
	return nil
}

func (s *Conn) Write(p []byte) (int, error) {
	layer := s.layer.Load()
	if layer == nil {
		return s.Conn.Write(p)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	written := 0
	for part := range slices.Chunk(p, max(1, layer.most-maxOverhead)) {
		token, err := layer.encrypt(part)
		if err != nil {
			return written, err
		}
		if _, err := s.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
			return written, err
		}
		written += len(part)
	}
	return written, nil
}

// A wrapping makes and opens the wrap tokens of RFC 4121, section 4.2. One goroutine may
// make them while another one opens them.
type wrapping struct {
	key            types.EncryptionKey
	etype          etype.EType
	bySubkey       byte   // flagSubkey if the server chose the key
	sent, received uint64 // the next sequence numbers
	most           int    // the most bytes that the server accepts at once
}

// Flags of a wrap token.
const (
	flagServer = 1
	flagSealed = 2
	flagSubkey = 4
)

const (
	tokenHeader = 16
	maxOverhead = 2*tokenHeader + 64 // of a wrap token: headers, confounder and checksum
)

var errForgedToken = errors.New("a sealed message of the server was changed, repeated or left out")

func (w *wrapping) header(flags byte, checksum int) []byte {
	h := binary.BigEndian.AppendUint16([]byte{5, 4, flags | w.bySubkey, 0xff}, uint16(checksum))
	h = binary.BigEndian.AppendUint64(append(h, 0, 0), w.sent)
	w.sent++
	return h
}

// sign returns a token with a readable text.
func (w *wrapping) sign(text []byte) ([]byte, error) {
	size := w.etype.GetHMACBitLength() / 8
	header := w.header(0, size)
	signed := slices.Concat(header[:4], make([]byte, 4), header[8:])
	sum, err := w.etype.GetChecksumHash(w.key.KeyValue, slices.Concat(text, signed), keyusage.GSSAPI_INITIATOR_SEAL)
	return slices.Concat(header, text, sum), err
}

// encrypt returns a token with an encrypted text.
func (w *wrapping) encrypt(text []byte) ([]byte, error) {
	header := w.header(flagSealed, 0)
	_, sealed, err := w.etype.EncryptMessage(w.key.KeyValue, slices.Concat(text, header), keyusage.GSSAPI_INITIATOR_SEAL)
	return append(header, sealed...), err
}

// unwrap returns the text of the next token of the server. The library panics on
// tokens that are too short.
func (w *wrapping) unwrap(token []byte) (text []byte, err error) {
	defer func() {
		if recover() != nil {
			text, err = nil, errForgedToken
		}
	}()
	if len(token) < tokenHeader || token[0] != 5 || token[1] != 4 || token[3] != 0xff {
		return nil, errForgedToken
	}
	header, body := slices.Clone(token[:tokenHeader]), token[tokenHeader:]
	extra, rotated := int(binary.BigEndian.Uint16(header[4:])), int(binary.BigEndian.Uint16(header[6:]))
	if header[2]&^flagSealed != flagServer|w.bySubkey || binary.BigEndian.Uint64(header[8:]) != w.received || len(body) == 0 {
		return nil, errForgedToken
	}
	w.received++
	rotated %= len(body)
	body = slices.Concat(body[rotated:], body[:rotated])
	clear(header[6:8])
	if header[2]&flagSealed == 0 {
		clear(header[4:8])
		if extra > len(body) {
			return nil, errForgedToken
		}
		readable, sum := body[:len(body)-extra], body[len(body)-extra:]
		if !w.etype.VerifyChecksum(w.key.KeyValue, slices.Concat(readable, header), sum, keyusage.GSSAPI_ACCEPTOR_SEAL) || w.most > 0 {
			return nil, errForgedToken // also when all must be encrypted
		}
		return readable, nil
	}
	plain, err := w.etype.DecryptMessage(w.key.KeyValue, body, keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil || len(plain) < tokenHeader+extra || !bytes.Equal(plain[len(plain)-tokenHeader:], header) {
		return nil, errForgedToken
	}
	return plain[:len(plain)-tokenHeader-extra], nil
}
