package gssapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/krberror"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// testWrapping is one side of a context with a fixed key.
func testWrapping(t testing.TB) wrapping {
	t.Helper()
	key := types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: bytes.Repeat([]byte{3}, 32)}
	etype, err := crypto.GetEtype(key.KeyType)
	if err != nil {
		t.Fatal(err)
	}
	return wrapping{key: key, etype: etype, bySubkey: flagSubkey, sent: 7, received: 100, most: 1000}
}

// serverToken is a sealed token of the server: extra bytes of filler, rotated to the
// right, as servers may send them (RFC 4121, section 4.2.5). Windows rotates by 28.
func serverToken(t testing.TB, text string, number uint64, extra, rotated int) []byte {
	t.Helper()
	w := testWrapping(t)
	header := binary.BigEndian.AppendUint16([]byte{5, 4, flagServer | flagSealed | flagSubkey, 0xff}, uint16(extra))
	header = binary.BigEndian.AppendUint64(append(header, 0, 0), number)
	plain := slices.Concat([]byte(text), make([]byte, extra), header)
	_, sealed, err := w.etype.EncryptMessage(w.key.KeyValue, plain, keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		t.Fatal(err)
	}
	if rotated > 0 {
		binary.BigEndian.PutUint16(header[6:], uint16(rotated))
		at := len(sealed) - rotated%len(sealed)
		sealed = slices.Concat(sealed[at:], sealed[:at])
	}
	return append(header, sealed...)
}

func TestUnwrap(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tokens [][]byte
		fails  bool // the last one
	}{
		{"one", [][]byte{serverToken(t, "text", 100, 0, 0)}, false},
		{"as Windows", [][]byte{serverToken(t, "text", 100, 16, 28)}, false},
		{"rotated by more than its length", [][]byte{serverToken(t, "text", 100, 0, 1000)}, false},
		{"two", [][]byte{serverToken(t, "text", 100, 0, 0), serverToken(t, "text", 101, 0, 0)}, false},
		{"repeated", [][]byte{serverToken(t, "text", 100, 0, 0), serverToken(t, "text", 100, 0, 0)}, true},
		{"left out", [][]byte{serverToken(t, "text", 101, 0, 0)}, true},
		{"changed", [][]byte{change(serverToken(t, "text", 100, 0, 0), 20)}, true},
		{"number changed", [][]byte{change(serverToken(t, "text", 101, 0, 0), 15)}, true},
		{"filler changed", [][]byte{change(serverToken(t, "text", 100, 0, 0), 5)}, true},
		{"from this side", [][]byte{change(serverToken(t, "text", 100, 0, 0), 2)}, true},
		{"not encrypted", [][]byte{signedByServer(t, "text")}, true},
		{"short", [][]byte{{5, 4, 7, 0xff}}, true},
		{"shorter than a checksum", [][]byte{serverToken(t, "text", 100, 0, 0)[:18]}, true},
		{"empty", [][]byte{serverToken(t, "text", 100, 0, 0)[:16]}, true},
	} {
		w := testWrapping(t)
		for i, token := range tt.tokens {
			text, err := w.unwrap(token)
			fails := tt.fails && i == len(tt.tokens)-1
			if fails != errors.Is(err, errForgedToken) || !fails && string(text) != "text" {
				t.Errorf("%s: token %d is %q, %v; want an error: %t", tt.name, i, text, err, fails)
			}
		}
	}
	w := testWrapping(t)
	w.most = 0 // before the layer is agreed on
	if text, err := w.unwrap(signedByServer(t, "text")); err != nil || string(text) != "text" {
		t.Errorf("signed token during the bind is %q, %v", text, err)
	}
}

func change(token []byte, at int) []byte {
	token[at] ^= 1
	return token
}

// signedByServer is a token that is readable.
func signedByServer(t testing.TB, text string) []byte {
	t.Helper()
	w := testWrapping(t)
	header := []byte{5, 4, flagServer | flagSubkey, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100}
	sum, err := w.etype.GetChecksumHash(w.key.KeyValue, slices.Concat([]byte(text), header), keyusage.GSSAPI_ACCEPTOR_SEAL)
	if err != nil {
		t.Fatal(err)
	}
	header[5] = byte(len(sum))
	return slices.Concat(header, []byte(text), sum)
}

// TestSealable: a long write is sent in pieces that the server accepts, and data that
// arrives in any pieces is read correctly.
func TestSealable(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	s := &Conn{Conn: here}
	s.Start(&Context{wrapping: testWrapping(t)})
	go func() {
		_, _ = s.Write(bytes.Repeat([]byte("x"), 2500))
		here.Close()
	}()
	stream, err := io.ReadAll(there)
	if err != nil {
		t.Fatal(err)
	}
	server, text, pieces := testWrapping(t), 0, 0
	for len(stream) > 0 {
		n := int(binary.BigEndian.Uint32(stream))
		if n > server.most {
			t.Errorf("a piece of %d bytes, and the server takes %d", n, server.most)
		}
		header := bytes.Clone(stream[4:20])
		plain, err := server.etype.DecryptMessage(server.key.KeyValue, stream[20:4+n], keyusage.GSSAPI_INITIATOR_SEAL)
		if err != nil || !bytes.HasSuffix(plain, header) || binary.BigEndian.Uint64(header[8:]) != uint64(7+pieces) {
			t.Fatalf("piece %d with the header %x: %v", pieces, header, err)
		}
		text, pieces, stream = text+len(plain)-16, pieces+1, stream[4+n:]
	}
	if text != 2500 || pieces != 3 {
		t.Errorf("%d bytes in %d pieces, want 2500 in 3", text, pieces)
	}

	here, there = net.Pipe()
	s = &Conn{Conn: here}
	s.Start(&Context{wrapping: testWrapping(t)})
	go func() {
		var all []byte
		for i, text := range []string{"one ", "two ", "three"} {
			token := serverToken(t, text, uint64(100+i), 0, 0)
			all = append(binary.BigEndian.AppendUint32(all, uint32(len(token))), token...)
		}
		for b := range slices.Chunk(all, 7) {
			_, _ = there.Write(b)
		}
		there.Close()
	}()
	if got, err := io.ReadAll(s); err != nil || string(got) != "one two three" {
		t.Errorf("read %q, %v", got, err)
	}

	here, there = net.Pipe()
	s = &Conn{Conn: here}
	s.Start(&Context{wrapping: testWrapping(t)})
	go func() { _, _ = there.Write([]byte{1, 0, 0, 0}) }()
	if _, err := s.Read(make([]byte, 10)); err == nil || !strings.Contains(err.Error(), "is longer than") {
		t.Errorf("a message of 16 MiB = %v", err)
	}
}

func FuzzUnwrap(f *testing.F) {
	f.Add(serverToken(f, "text", 100, 16, 28))
	f.Add(signedByServer(f, "text"))
	f.Fuzz(func(t *testing.T, token []byte) {
		w := testWrapping(t)
		_, _ = w.unwrap(token)
	})
}

// TestTicketErrors has the codes as the library writes them.
func TestTicketErrors(t *testing.T) {
	of := &credentials{name: "svc", realm: "CORP.EXAMPLE"}
	for code, want := range map[int32]string{
		errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN: "no such account",
		errorcode.KDC_ERR_CLIENT_REVOKED:      "disabled, locked or expired",
		errorcode.KDC_ERR_KEY_EXPIRED:         "password of the account has expired",
		errorcode.KDC_ERR_PREAUTH_FAILED:      "key in the keytab is not that of the account",
		errorcode.KDC_ERR_ETYPE_NOSUPP:        "does not support AES",
		errorcode.KRB_AP_ERR_SKEW:             "clock here differs from that of the KDC by more than five minutes",
		errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN: "add this service name (SPN)",
	} {
		no := messages.NewKRBError(types.NewPrincipalName(1, "ldap/dc1"), "CORP.EXAMPLE", code, "text")
		err := ticketError(of, "ldap/dc1", krberror.Errorf(no, krberror.KDCError, "AS Exchange Error"))
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "svc@CORP.EXAMPLE") {
			t.Errorf("code %d = %v, want %q", code, err, want)
		}
		// Other servers are asked only if they may be known under another name.
		_, final := errors.AsType[*Refusal](err)
		if tryOthers := code == errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN; final == tryOthers {
			t.Errorf("code %d: other servers are asked: %t, want %t", code, !final, tryOthers)
		}
	}
}
