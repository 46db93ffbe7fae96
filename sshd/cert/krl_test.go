package cert

import (
	"crypto/ed25519"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestRevoked compares with ssh-keygen -Q, for lists that ssh-keygen made of a
// specification and for the specification itself.
func TestRevoked(t *testing.T) {
	w := newWorkshop(t)
	certificate := func(ca, user, id, serial string) *ssh.Certificate {
		return w.sign(ca, user, "-I", id, "-z", serial, "-n", "alice")
	}
	certs := map[string]*ssh.Certificate{
		"7":         certificate("ca", "user", "laptop", "7"),
		"8":         certificate("ca", "user", "desk", "8"),
		"1000":      certificate("ca", "mate", "desk", "1000"),
		"0":         certificate("ca", "user", "desk", "0"),
		"other's 7": certificate("other", "user", "desk", "7"),
		"other's":   certificate("other", "mate", "laptop", "9"),
	}
	fingerprint := ssh.FingerprintSHA256(w.public("mate.pub"))
	many := ""
	for n := 6; n < 300; n += 2 {
		many += "serial: " + strconv.Itoa(n) + "\n"
	}
	tests := []struct {
		name, spec string
		krl        string // which certificates a list of it revokes; "-": ssh-keygen makes none of it
		text       string // which the text itself revokes
	}{
		{"nothing", "# nothing\n", "", ""},
		{"serial", "serial: 7\n", "7", "7, other's 7"},
		{"hexadecimal", "serial: 0x7\n", "7", "7, other's 7"},
		{"range", "serial: 8-2000\n", "8, 1000", "8, 1000, other's"},
		{"bitmap", many, "8", "8"},
		{"serials far apart", "serial: 7\nserial: 1000\nserial: 18446744073709551615\n", "7, 1000", "7, 1000, other's 7"},
		{"zero is no number", "serial: 0-3\n", "-", ""},
		{"id", "id: laptop\n", "7", "7, other's"},
		{"key", w.text("mate.pub"), "1000, other's", "1000, other's"},
		{"key with its word", "key: " + w.text("mate.pub"), "1000, other's", "1000, other's"},
		{"sha1", "sha1: " + w.text("mate.pub"), "1000, other's", "1000, other's"},
		{"sha256", "sha256: " + w.text("mate.pub"), "1000, other's", "1000, other's"},
		{"hash", "hash: " + fingerprint + "\n", "1000, other's", "1000, other's"},
		{"fingerprint", fingerprint + " mate at work\n", "-", "1000, other's"},
		{"authority", w.text("other.pub"), "other's 7, other's", "other's 7, other's"},
	}
	names := []string{"7", "8", "1000", "0", "other's 7", "other's"}
	revoked := func(r *revocations) string {
		var all []string
		for _, name := range names {
			if r.of(certs[name]) != "" {
				all = append(all, name)
			}
		}
		return strings.Join(all, ", ")
	}
	for _, tt := range tests {
		spec := w.write("spec", tt.spec)
		text, err := parseRevocations([]byte(tt.spec))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := revoked(text); got != tt.text {
			t.Errorf("%s as text: got %q, want %q", tt.name, got, tt.text)
		}
		if tt.krl == "-" {
			continue
		}
		w.keygen("-k", "-s", w.path("ca.pub"), "-f", w.path("krl"), spec)
		list, err := parseRevocations([]byte(w.text("krl")))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := revoked(list); got != tt.krl {
			t.Errorf("%s as a list: got %q, want %q", tt.name, got, tt.krl)
		}
	}
}

// list builds a key revocation list by hand.
func list(sections ...[]byte) []byte {
	b := append([]byte(krlMagic), 0, 0, 0, krlVersion)
	b = append(b, make([]byte, 3*8+2*4)...)
	for _, s := range sections {
		b = append(b, s...)
	}
	return b
}

// section is a type and a string.
func section(kind byte, body ...[]byte) []byte {
	var all []byte
	for _, b := range body {
		all = append(all, b...)
	}
	return append([]byte{kind}, str(all)...)
}

func str(s []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

func uint64s(n ...uint64) (b []byte) {
	for _, v := range n {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func TestKRLRefuses(t *testing.T) {
	none := []byte{0, 0, 0, 0}
	extension := func(critical byte) []byte { return append(append(str([]byte("x@example.com")), critical), none...) }
	for _, tt := range []struct {
		name string
		data []byte
		want string // part of the error; "": none
	}{
		{"empty", list(), ""},
		{"signature", list(section(sectionSignature, []byte("key")), none), ""},
		{"extension", list(section(sectionExtension, extension(0))), ""},
		{"extension of certificates", list(section(sectionCertificates, none, none, section(certExtension, extension(0)))), ""},
		{"critical extension", list(section(sectionExtension, extension(1))), `critical extension "x@example.com"`},
		{"critical extension of certificates", list(section(sectionCertificates, none, none, section(certExtension, extension(1)))), "critical extension"},
		{"magic alone", []byte(krlMagic), "too early"},
		{"version", append([]byte(krlMagic), 0, 0, 0, 2), "version 2"},
		{"unknown section", list(section(9)), "section 9: is not known"},
		{"unknown section of certificates", list(section(sectionCertificates, none, none, section(0x24))), "section 0x24: is not known"},
		{"cut", list(section(sectionKeys, str([]byte("key")))[:10]), "too early"},
		{"cut inside", list(section(sectionKeys, []byte{0, 0, 0, 9, 1})), "too early"},
		{"length beyond all", list([]byte{sectionKeys, 255, 255, 255, 255}), "too early"},
		{"short fingerprint", list(section(sectionSHA256, str(make([]byte, 20)))), "fingerprint of 20 bytes"},
		{"half a serial", list(section(sectionCertificates, none, none, section(certSerialList, []byte{1}))), "too early"},
		{"three in a range", list(section(sectionCertificates, none, none, section(certSerialRange, uint64s(1, 2, 3)))), "more than belongs"},
	} {
		_, err := parseRevocations(tt.data)
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestBitmap(t *testing.T) {
	b := bitmap{offset: 100, bits: []byte{0x80, 0x01}} // 100 and 115
	for serial, want := range map[uint64]bool{0: false, 99: false, 100: true, 101: false, 115: true, 116: false, 1<<64 - 1: false} {
		if got := b.has(serial); got != want {
			t.Errorf("%d: got %v, want %v", serial, got, want)
		}
	}
}

// FuzzRevocations: no input causes a panic, also when the list is used
// afterwards.
func FuzzRevocations(f *testing.F) {
	none := []byte{0, 0, 0, 0}
	f.Add(list(section(sectionCertificates, none, none,
		section(certSerialList, uint64s(1, 2)), section(certSerialRange, uint64s(5, 9)),
		section(certSerialBitmap, uint64s(100), str([]byte{1, 2})), section(certKeyID, str([]byte("id"))))))
	f.Add(list(section(sectionKeys, str([]byte("key"))), section(sectionSHA1, str(make([]byte, 20))), section(sectionSHA256, str(make([]byte, 32)))))
	f.Add(list(section(sectionSignature, []byte("key")), none, section(sectionExtension, none, []byte{1}, none)))
	f.Add([]byte("# text\nserial: 7-9\nid: laptop\nSHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"))
	key, err := ssh.NewPublicKey(edKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRevocations(data)
		if err != nil {
			return
		}
		for _, serial := range []uint64{0, 1, 7, 100, 1<<64 - 1} {
			r.of(&ssh.Certificate{Key: key, SignatureKey: key, Serial: serial, KeyId: "id"})
		}
	})
}

// edKey is a public key whose private half nobody has.
var edKey = make(ed25519.PublicKey, ed25519.PublicKeySize)
