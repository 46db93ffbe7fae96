package cert

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

type revocations struct {
	keys  map[string]bool          // in wire form, or their sums by SHA-1 or SHA-256, which are shorter
	certs map[string]*revokedCerts // by the wire form of the authority's key; "": of all of them
}

// revokedCerts is what is revoked of one authority.
type revokedCerts struct {
	serials []span
	bitmaps []bitmap
	ids     map[string]bool // in lower case
}

type span struct{ low, high uint64 }

// A bitmap has a bit for each serial number from offset on, the lowest in the
// last byte.
type bitmap struct {
	offset uint64
	bits   []byte
}

func (b bitmap) has(serial uint64) bool {
	if serial < b.offset {
		return false
	}
	n := serial - b.offset
	if n/8 >= uint64(len(b.bits)) {
		return false
	}
	return b.bits[len(b.bits)-1-int(n/8)]>>(n%8)&1 == 1
}

func newRevocations() *revocations {
	return &revocations{keys: map[string]bool{}, certs: map[string]*revokedCerts{}}
}

// certsOf returns the certificates of one authority, to add to them.
func (r *revocations) certsOf(authority string) *revokedCerts {
	c := r.certs[authority]
	if c == nil {
		c = &revokedCerts{ids: map[string]bool{}}
		r.certs[authority] = c
	}
	return c
}

// of returns which part of cert is revoked, "" if none is.
func (r *revocations) of(cert *ssh.Certificate) string {
	authority := cert.SignatureKey.Marshal()
	switch {
	case r.hasKey(cert.Key.Marshal()):
		return "its key"
	case r.hasKey(authority):
		return "the key of its authority"
	}
	for _, name := range []string{string(authority), ""} {
		c := r.certs[name]
		switch {
		case c == nil:
		case c.ids[strings.ToLower(cert.KeyId)]:
			return fmt.Sprintf("its id %q", cert.KeyId)
		case c.hasSerial(cert.Serial):
			return fmt.Sprintf("its serial number %d", cert.Serial)
		}
	}
	return ""
}

func (r *revocations) hasKey(blob []byte) bool {
	short, long := sha1.Sum(blob), sha256.Sum256(blob)
	return r.keys[string(blob)] || r.keys[string(short[:])] || r.keys[string(long[:])]
}

// hasSerial never finds the serial number 0, as in OpenSSH: authorities that do not number
// their certificates use 0 for all of them.
func (c *revokedCerts) hasSerial(serial uint64) bool {
	within := func(s span) bool { return s.low <= serial && serial <= s.high }
	has := func(b bitmap) bool { return b.has(serial) }
	return serial != 0 && (slices.ContainsFunc(c.serials, within) || slices.ContainsFunc(c.bitmaps, has))
}

// Names and numbers of OpenSSH's PROTOCOL.krl.
const (
	krlMagic   = "SSHKRL\n\x00"
	krlVersion = 1

	sectionCertificates = 1
	sectionKeys         = 2
	sectionSHA1         = 3
	sectionSignature    = 4
	sectionSHA256       = 5
	sectionExtension    = 255

	certSerialList   = 0x20
	certSerialRange  = 0x21
	certSerialBitmap = 0x22
	certKeyID        = 0x23
	certExtension    = 0x39
)

// sumSizes are those of the fingerprints in a section, in bytes.
var sumSizes = map[byte]int{sectionSHA1: sha1.Size, sectionSHA256: sha256.Size}

// parseKRL reads a key revocation list (PROTOCOL.krl). An unknown section is
// an error, because it may revoke something. Signatures are skipped: the list
// is trusted because the settings name its file, as with OpenSSH.
func parseKRL(data []byte) (*revocations, error) {
	in := &reader{rest: data[len(krlMagic):]}
	if v := in.uint32(); in.err == nil && v != krlVersion {
		return nil, fmt.Errorf("a key revocation list of version %d, only %d is known", v, krlVersion)
	}
	in.uint64() // number of the list
	in.uint64() // date
	in.uint64() // flags, none is defined
	in.string() // reserved
	in.string() // comment
	r := newRevocations()
	for in.more() {
		kind, body := in.byte(), &reader{rest: in.string()}
		if in.err != nil {
			break
		}
		if kind == sectionSignature {
			in.string() // body is the key that signed
			continue
		}
		if err := r.section(kind, body); err != nil {
			return nil, fmt.Errorf("section %d: %w", kind, err)
		}
	}
	return r, in.err
}

func (r *revocations) section(kind byte, in *reader) error {
	switch kind {
	case sectionCertificates:
		return r.certificates(in)
	case sectionExtension:
		return extension(in)
	case sectionKeys, sectionSHA1, sectionSHA256:
	default:
		return errUnknown
	}
	for in.more() {
		entry := in.string()
		if size, sum := sumSizes[kind]; sum && len(entry) != size && in.err == nil {
			return fmt.Errorf("a fingerprint of %d bytes", len(entry))
		}
		r.keys[string(entry)] = true
	}
	return in.err
}

// certificates reads which certificates of one authority are revoked.
func (r *revocations) certificates(in *reader) error {
	c := r.certsOf(string(in.string()))
	in.string() // reserved
	for in.more() {
		kind, body := in.byte(), &reader{rest: in.string()}
		if in.err != nil {
			break
		}
		if err := c.section(kind, body); err != nil {
			return fmt.Errorf("certificates: section %#x: %w", kind, err)
		}
	}
	return in.err
}

func (c *revokedCerts) section(kind byte, in *reader) error {
	switch kind {
	case certSerialList:
		for in.more() {
			n := in.uint64()
			c.serials = append(c.serials, span{n, n})
		}
	case certSerialRange:
		c.serials = append(c.serials, span{in.uint64(), in.uint64()})
	case certSerialBitmap:
		c.bitmaps = append(c.bitmaps, bitmap{in.uint64(), in.string()})
	case certKeyID:
		for in.more() {
			c.ids[strings.ToLower(string(in.string()))] = true
		}
	case certExtension:
		return extension(in)
	default:
		return errUnknown
	}
	if in.err == nil && len(in.rest) > 0 {
		return errors.New("has more than belongs there")
	}
	return in.err
}

var (
	errUnknown = errors.New("is not known")
	errShort   = errors.New("the list ends too early")
)

// extension skips an extension that is not critical.
func extension(in *reader) error {
	name, critical := in.string(), in.byte()
	in.string()
	if in.err == nil && critical != 0 {
		return fmt.Errorf("critical extension %q: %w", name, errUnknown)
	}
	return in.err
}

// A reader reads the data types of RFC 4251, section 5. After the first error
// everything is empty.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) more() bool { return r.err == nil && len(r.rest) > 0 }

// take returns the next n bytes, or as many zeros up to eight.
func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.err = errShort
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

// string returns bytes of what is being read; empty after an error.
func (r *reader) string() []byte {
	n := r.uint32()
	if r.err != nil {
		return nil
	}
	return r.take(uint64(n))
}
