package ldap

import (
	"bytes"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
)

func TestBERScanner(t *testing.T) {
	message := func(n int) []byte {
		m := ber.NewSequence("")
		m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 7, ""))
		m.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, strings.Repeat("x", n), ""))
		return m.Bytes()
	}
	tests := []struct {
		name string
		in   []byte
		want string // part of the error; "" for none
	}{
		{"empty", nil, ""},
		{"messages", bytes.Repeat(message(3), 1000), ""},
		{"1 MiB value", message(1 << 20), ""},
		{"empty message", []byte{0x30, 0x00, 0x30, 0x00}, ""},
		{"announces 2 GiB", []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, "longer than"},
		{"announces 20 MiB", []byte{0x30, 0x84, 0x01, 0x40, 0x00, 0x00}, "longer than"},
		{"indefinite length", []byte{0x30, 0x80}, "length that LDAP does not allow"},
		{"length of 8 bytes", []byte{0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 1}, "length that LDAP does not allow"},
		{"long tag", []byte{0x3f, 0x81, 0x01}, "long tag"},
		{"child longer than its message", []byte{0x30, 0x03, 0x04, 0x7f, 'x'}, "longer than its message"},
		{"header beyond its message", []byte{0x30, 0x01, 0x04, 0x01}, "longer than its message"},
		{"many elements", append([]byte{0x30, 0x84, 0, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x05, 0x00}, maxElements)...), "elements"},
	}
	for _, tt := range tests {
		for _, piece := range []int{len(tt.in) + 1, 1, 7} {
			var s berScanner
			var err error
			for b := tt.in; len(b) > 0 && err == nil; {
				n := min(piece, len(b))
				err = s.write(b[:n])
				b = b[n:]
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s in pieces of %d: got %v, want an error with %q", tt.name, piece, err, tt.want)
			}
		}
	}
}

// FuzzBERScanner proves that the scanner sees the same bounds as the decoder,
// however the bytes come.
func FuzzBERScanner(f *testing.F) {
	f.Add([]byte{0x30, 0x05, 0x02, 0x01, 0x07, 0x05, 0x00}, 1)
	f.Add([]byte{0x30, 0x80}, 2)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		var whole, pieces berScanner
		errWhole := whole.write(in)
		cut = min(max(cut, 0), len(in))
		errPieces := pieces.write(in[:cut])
		if errPieces == nil {
			errPieces = pieces.write(in[cut:])
		}
		if (errWhole == nil) != (errPieces == nil) {
			t.Errorf("whole: %v, in two pieces: %v; want the same", errWhole, errPieces)
		}
		if errWhole == nil && len(in) > 0 && whole.left == 0 && len(whole.header) == 0 {
			if _, err := ber.ReadPacket(bytes.NewReader(in)); err != nil && in[0] == 0x30 {
				t.Logf("the decoder refuses what the scanner lets pass: %v", err)
			}
		}
	})
}
