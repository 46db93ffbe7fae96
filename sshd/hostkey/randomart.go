package hostkey

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// kindNames is what ssh-keygen calls the types.
var kindNames = map[string]string{
	ssh.KeyAlgoED25519:    "ED25519",
	ssh.KeyAlgoSKED25519:  "ED25519-SK",
	ssh.KeyAlgoECDSA256:   "ECDSA",
	ssh.KeyAlgoECDSA384:   "ECDSA",
	ssh.KeyAlgoECDSA521:   "ECDSA",
	ssh.KeyAlgoSKECDSA256: "ECDSA-SK",
	ssh.KeyAlgoRSA:        "RSA",
}

// Describe is the line that ssh-keygen -l prints for k: bits, fingerprint,
// comment and type.
func Describe(k Key) string {
	comment := cmp.Or(oneLine(k.Comment), "no comment")
	return fmt.Sprintf("%d %s %s (%s)", bits(k.Public), ssh.FingerprintSHA256(k.Public), comment, kindName(k.Public))
}

func kindName(k ssh.PublicKey) string {
	return cmp.Or(kindNames[k.Type()], k.Type())
}

func bits(k ssh.PublicKey) int {
	if c, ok := k.(ssh.CryptoPublicKey); ok {
		switch pub := c.CryptoPublicKey().(type) {
		case *rsa.PublicKey:
			return pub.N.BitLen()
		case *ecdsa.PublicKey:
			return pub.Params().BitSize
		}
	}
	return 256
}

// The field of OpenSSH's "drunken bishop", and what a square looks like that
// was visited so many times; the last two are the start and the end.
const (
	artWidth  = 17
	artHeight = 9
	artMarks  = " .o+=*BOX@%&#/^SE"
)

// Randomart draws the SHA-256 fingerprint of k as ssh-keygen -lv does, ten
// lines and a last one without a line feed.
func Randomart(k ssh.PublicKey) string {
	const start, end = len(artMarks) - 2, len(artMarks) - 1
	var visits [artHeight][artWidth]int
	x, y := artWidth/2, artHeight/2
	for _, b := range sha256.Sum256(k.Marshal()) {
		for range 4 { // two bits a step: right or left, down or up
			x = min(max(x+int(b&1)*2-1, 0), artWidth-1)
			y = min(max(y+int(b>>1&1)*2-1, 0), artHeight-1)
			if visits[y][x] < start-1 {
				visits[y][x]++
			}
			b >>= 2
		}
	}
	visits[artHeight/2][artWidth/2] = start
	visits[y][x] = end

	var art strings.Builder
	art.WriteString(border(fmt.Sprintf("[%s %d]", kindName(k), bits(k))) + "\n")
	for _, row := range visits {
		art.WriteByte('|')
		for _, n := range row {
			art.WriteByte(artMarks[n])
		}
		art.WriteString("|\n")
	}
	art.WriteString(border("[SHA256]"))
	return art.String()
}

// border is a line with its title in the middle.
func border(title string) string {
	if len(title) > artWidth {
		title = title[:artWidth]
	}
	left := (artWidth - len(title)) / 2
	return "+" + strings.Repeat("-", left) + title + strings.Repeat("-", artWidth-left-len(title)) + "+"
}
