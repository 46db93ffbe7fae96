// Package rfc4716 reads SSH public keys in the format of RFC 4716, as values of a
// directory and key files hold them.
package rfc4716

import (
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The lines around a key.
const (
	Begin = "---- BEGIN SSH2 PUBLIC KEY ----"
	End   = "---- END SSH2 PUBLIC KEY ----"
)

// Lines splits a text whose lines end in LF, CRLF or CR.
func Lines(text string) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")
}

// Parse reads what follows the line Begin: headers that may go on over several
// lines, then base64, then the line End (section 3). It returns the lines after
// End too, also with an error; there are none if End is missing.
func Parse(lines []string) (key ssh.PublicKey, comment string, rest []string, err error) {
	var body strings.Builder
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimRight(lines[i], " \t")
		}
		name, value, header := strings.Cut(line, ":")
		switch {
		case line == End:
			blob, err := base64.StdEncoding.DecodeString(body.String())
			if err != nil {
				return nil, "", lines[i+1:], errors.New("RFC 4716 block is not base64")
			}
			if key, err = ssh.ParsePublicKey(blob); err != nil {
				return nil, "", lines[i+1:], errors.New("RFC 4716 block holds no public key")
			}
			return key, comment, lines[i+1:], nil
		case !header:
			body.WriteString(line)
		case strings.EqualFold(name, "Comment"):
			comment = strings.TrimSpace(value)
			// Most programs put quotation marks around it.
			if n := len(comment); n >= 2 && comment[0] == '"' && comment[n-1] == '"' {
				comment = comment[1 : n-1]
			}
		}
	}
	return nil, "", nil, errors.New("RFC 4716 block without an end")
}
