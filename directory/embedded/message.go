package embedded

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// maxRequest bounds what is read into memory. The decoder copies nested elements
// again for each level, so it bounds their cost, too.
const maxRequest = 256 << 10

// errProtocol means that the client has broken the protocol, so the
// connection ends.
var (
	errProtocol = errors.New("not an LDAP message")
	errElement  = fmt.Errorf("%w: an element is missing or of the wrong type", errProtocol)
)

// A message is one LDAPMessage (RFC 4511, section 4.1.1).
type message struct {
	id       int64
	op       *ber.Packet
	controls map[string]bool // by OID, whether each is critical; their values are not used
}

func readMessage(r *bufio.Reader) (*message, error) {
	data, err := readElement(r)
	if err != nil {
		return nil, err
	}
	p, err := decodeBER(data)
	if err != nil {
		return nil, err
	}
	f := partsOf(p)
	m := &message{id: f.integer(ber.TagInteger), op: f.any(), controls: map[string]bool{}}
	if f.err != nil || m.op.ClassType != ber.ClassApplication || m.id < 0 || m.id > 1<<31-1 {
		return nil, fmt.Errorf("%w: no message id and operation", errProtocol)
	}
	if f.more() {
		controls := partsOf(f.take(ber.ClassContext, 0))
		for controls.more() {
			c := partsOf(controls.any())
			oid := c.text()
			m.controls[oid] = m.controls[oid] || c.nextIs(ber.ClassUniversal, ber.TagBoolean) && c.boolean()
		}
	}
	return m, f.err
}

// readElement reads the bytes of one BER sequence. Its length must be definite
// (RFC 4511, section 5.1).
func readElement(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0] != 0x30 || head[1] == 0x80 || head[1] > 0x84 {
		return nil, fmt.Errorf("%w: begins with %#x", errProtocol, head)
	}
	size := int(head[1])
	header := 2
	if size > 0x80 {
		header += size - 0x80
		if head, err = r.Peek(header); err != nil {
			return nil, err
		}
		size = 0
		for _, b := range head[2:] {
			size = size<<8 | int(b)
		}
	}
	if size > maxRequest-header {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", errProtocol, size, maxRequest)
	}
	data := make([]byte, header+size)
	_, err = io.ReadFull(r, data)
	return data, err
}

func decodeBER(data []byte) (*ber.Packet, error) {
	p, err := ber.DecodePacketErr(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return p, nil
}

// parts takes the elements of a constructed one, one after another. The first
// that is not what was asked for sets err, and all after it are zero.
type parts struct {
	rest []*ber.Packet
	err  error
}

func partsOf(p *ber.Packet) *parts {
	if p == nil || p.TagType != ber.TypeConstructed {
		return &parts{err: errElement}
	}
	return &parts{rest: p.Children}
}

func (f *parts) more() bool { return f.err == nil && len(f.rest) > 0 }

// nextIs reports whether there is another element and it has this class and
// tag.
func (f *parts) nextIs(class ber.Class, tag ber.Tag) bool {
	return f.more() && f.rest[0].ClassType == class && f.rest[0].Tag == tag
}

// any takes the next element, whatever it is; nil after an error.
func (f *parts) any() *ber.Packet {
	if !f.more() {
		f.err = cmp.Or(f.err, errElement)
		return nil
	}
	p := f.rest[0]
	f.rest = f.rest[1:]
	return p
}

func (f *parts) take(class ber.Class, tag ber.Tag) *ber.Packet {
	if !f.nextIs(class, tag) {
		f.err = cmp.Or(f.err, errElement)
		return nil
	}
	return f.any()
}

func (f *parts) text() string { return content(f.take(ber.ClassUniversal, ber.TagOctetString)) }

// integer takes an INTEGER or ENUMERATED.
func (f *parts) integer(tag ber.Tag) int64 {
	p := f.take(ber.ClassUniversal, tag)
	if p == nil {
		return 0
	}
	n, err := ber.ParseInt64(p.Data.Bytes())
	if err != nil {
		f.err = cmp.Or(f.err, errElement)
	}
	return n
}

func (f *parts) boolean() bool {
	b := content(f.take(ber.ClassUniversal, ber.TagBoolean))
	return b != "" && b[0] != 0
}

// content is the bytes of a primitive element; "" for nil.
func content(p *ber.Packet) string {
	if p == nil {
		return ""
	}
	return p.Data.String()
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func sequence(children ...*ber.Packet) *ber.Packet {
	return constructed(ber.ClassUniversal, ber.TagSequence, children...)
}

func constructed(class ber.Class, tag ber.Tag, children ...*ber.Packet) *ber.Packet {
	p := ber.Encode(class, ber.TypeConstructed, tag, nil, "")
	for _, c := range children {
		p.AppendChild(c)
	}
	return p
}

func number(tag ber.Tag, n int64) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, tag, n, "")
}

// noPolicyError is the policy error of results that are not about the
// password policy.
const noPolicyError = -1

// A result is how an operation ended.
type result struct {
	code   int64 // one of RFC 4511, appendix A
	text   string
	policy int64 // error of the password policy control; sent only if the request had this control
}

func done(code int64) result { return answer(code, "") }

// answer is a result with a text for people.
func answer(code int64, text string) result {
	return result{code: code, text: text, policy: noPolicyError}
}

// because adds an error of the password policy.
func (r result) because(e int64) result {
	r.policy = e
	return r
}

// envelope is the message that carries r as an operation of type tag. withPolicy adds
// the password policy control (draft-behera-ldap-password-policy-10, section 6.2).
func (r result) envelope(id int64, tag ber.Tag, withPolicy bool) *ber.Packet {
	op := constructed(ber.ClassApplication, tag, number(ber.TagEnumerated, r.code), octets(""), octets(r.text))
	m := sequence(number(ber.TagInteger, id), op)
	if withPolicy {
		value := sequence()
		if r.policy != noPolicyError {
			value.AppendChild(ber.NewInteger(ber.ClassContext, ber.TypePrimitive, 1, r.policy, ""))
		}
		m.AppendChild(constructed(ber.ClassContext, 0, sequence(octets(ldap.ControlTypeBeheraPasswordPolicy), octets(string(value.Bytes())))))
	}
	return m
}
