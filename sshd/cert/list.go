package cert

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keySet is public keys by their wire form.
type keySet map[string]ssh.PublicKey

// parseAuthorities reads the public keys of authorities, one a line.
func parseAuthorities(text []byte) (keySet, error) {
	keys := keySet{}
	err := eachLine(text, func(line string) error {
		key, err := publicKey(line)
		if err != nil {
			return err
		}
		keys[string(key.Marshal())] = key
		return strong(key)
	})
	if err == nil && len(keys) == 0 {
		err = errors.New("holds no public key")
	}
	return keys, err
}

// publicKey reads a key as in a .pub file.
func publicKey(line string) (ssh.PublicKey, error) {
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return nil, errors.New("is not a public key in OpenSSH's format")
	case len(options) > 0:
		return nil, fmt.Errorf("options such as %s have no effect here", options[0])
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return nil, errors.New("is a certificate, not a key")
	}
	return key, nil
}

// parseRevocations reads a key revocation list, or a text.
func parseRevocations(text []byte) (*revocations, error) {
	if bytes.HasPrefix(text, []byte(krlMagic)) {
		return parseKRL(text)
	}
	r := newRevocations()
	return r, eachLine(text, r.line)
}

// line reads one line of a text. Those with a word and a colon are as in the
// specification of a list in ssh-keygen(1).
func (r *revocations) line(line string) error {
	word, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	if !ok {
		word, value = "key", line
	}
	switch strings.ToLower(word) {
	case "serial":
		s, err := parseSpan(value)
		if err != nil {
			return err
		}
		of := r.certsOf("")
		of.serials = append(of.serials, s)
		return nil
	case "id":
		if value == "" {
			return errors.New("an id is missing")
		}
		r.certsOf("").ids[strings.ToLower(value)] = true
		return nil
	case "key", "sha1", "sha256":
		if strings.HasPrefix(line, "SHA256:") {
			return r.fingerprint(line)
		}
		key, err := publicKey(value)
		if err == nil {
			r.keys[string(key.Marshal())] = true
		}
		return err
	case "hash":
		return r.fingerprint(value)
	}
	return errors.New(`is neither a public key, a fingerprint, "serial: 7", nor "id: NAME"`)
}

// fingerprint revokes a key by the fingerprint that ssh-keygen -l shows. Words
// after it are a comment.
func (r *revocations) fingerprint(s string) error {
	s, _, _ = strings.Cut(s, " ")
	s, ok := strings.CutPrefix(s, "SHA256:")
	sum, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if !ok || err != nil || len(sum) != sha256.Size {
		return errors.New("is not a fingerprint such as SHA256:…")
	}
	r.keys[string(sum)] = true
	return nil
}

// parseSpan reads 7 or 7-9.
func parseSpan(s string) (span, error) {
	low, high, ok := strings.Cut(s, "-")
	if !ok {
		high = low
	}
	l, err := strconv.ParseUint(strings.TrimSpace(low), 0, 64)
	h, err2 := strconv.ParseUint(strings.TrimSpace(high), 0, 64)
	if err != nil || err2 != nil || l > h {
		return span{}, fmt.Errorf("%q is not a serial number or a range of them, such as 7-9", s)
	}
	return span{l, h}, nil
}

// eachLine calls do for each line that is not empty and no comment.
func eachLine(text []byte, do func(string) error) error {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}
