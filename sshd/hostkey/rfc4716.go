package hostkey

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	rfc4716Begin = "---- BEGIN SSH2 PUBLIC KEY ----"
	rfc4716End   = "---- END SSH2 PUBLIC KEY ----"
)

// parseRFC4716 reads a public key as RFC 4716 section 3 has it: headers that may
// go on over several lines, then base64.
func parseRFC4716(text []byte) (Key, error) {
	var k Key
	var body strings.Builder
	ended := false
	lines := lines(text)[1:]
	for len(lines) > 0 && !ended {
		line := lines[0]
		lines = lines[1:]
		for strings.HasSuffix(line, `\`) && len(lines) > 0 {
			line = strings.TrimSuffix(line, `\`) + lines[0]
			lines = lines[1:]
		}
		name, value, header := strings.Cut(line, ":")
		switch {
		case line == rfc4716End:
			ended = true
		case header && strings.EqualFold(name, "Comment"):
			k.Comment = unquote(strings.TrimSpace(value))
		case !header:
			body.WriteString(line)
		}
	}
	if !ended {
		return Key{}, errors.New("the end line of an RFC 4716 key is missing")
	}
	blob, err := base64.StdEncoding.DecodeString(body.String())
	if err != nil {
		return Key{}, fmt.Errorf("RFC 4716 key: %w", err)
	}
	k.Public, err = ssh.ParsePublicKey(blob)
	return k, err
}

// unquote takes off the quotation marks that most programs put around a comment.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func encodeRFC4716(k Key) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintln(&b, rfc4716Begin)
	if comment := oneLine(k.Comment); comment != "" {
		for _, line := range fold(`Comment: "`+comment+`"`, 71) {
			fmt.Fprintln(&b, line)
		}
	}
	wrap(&b, k.Public.Marshal(), 70)
	fmt.Fprintln(&b, rfc4716End)
	return b.Bytes(), nil
}

// fold cuts a header into lines of at most width bytes and a backslash.
func fold(s string, width int) []string {
	var out []string
	for len(s) > width {
		out = append(out, s[:width]+`\`)
		s = s[width:]
	}
	return append(out, s)
}

// wrap writes data in base64, width characters a line, and returns how many
// lines that made.
func wrap(b *bytes.Buffer, data []byte, width int) (n int) {
	text := base64.StdEncoding.EncodeToString(data)
	for ; len(text) > 0; n++ {
		line := text[:min(width, len(text))]
		b.WriteString(line + "\n")
		text = text[len(line):]
	}
	return n
}

// lines splits a text whose lines end as on any system.
func lines(text []byte) []string {
	s := strings.ReplaceAll(string(text), "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(s, "\r", "\n"), "\n")
}
