package hostkey

import (
	"encoding/binary"
	"errors"
	"math/big"
)

var errShort = errors.New("the key's data ends too early")

// wire reads the data types of RFC 4251 section 5. After the first error
// everything is empty.
type wire struct {
	rest []byte
	err  error
}

// bytes reads a string.
func (w *wire) bytes() []byte {
	if w.err != nil || len(w.rest) < 4 {
		w.err = errShort
		return nil
	}
	n := binary.BigEndian.Uint32(w.rest)
	if uint64(n) > uint64(len(w.rest)-4) {
		w.err = errShort
		return nil
	}
	s := w.rest[4 : 4+n]
	w.rest = w.rest[4+n:]
	return s
}

// number reads an mpint; keys have no negative ones.
func (w *wire) number() *big.Int { return new(big.Int).SetBytes(w.bytes()) }

func appendBytes(b, s []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendNumber(b []byte, n *big.Int) []byte {
	s := n.Bytes()
	if len(s) > 0 && s[0]&0x80 != 0 {
		s = append([]byte{0}, s...)
	}
	return appendBytes(b, s)
}
