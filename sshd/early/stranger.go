package early

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// strangers are other protocols that reach an SSH port, by their first bytes.
var strangers = []struct{ start, name string }{
	{"GET ", "HTTP"},
	{"HEAD ", "HTTP"},
	{"POST ", "HTTP"},
	{"PUT ", "HTTP"},
	{"OPTIONS ", "HTTP"},
	{"CONNECT ", "HTTP"},
	{"DELETE ", "HTTP"},
	{"PRI * HTTP/2", "HTTP/2"},
	{"\x16\x03", "TLS"},
	{"PROXY ", "the PROXY protocol, which is not expected from this address"},
	{"\r\n\r\n\x00\r\nQUIT\n", "the PROXY protocol, which is not expected from this address"},
	{"\x03\x00\x00", "RDP"},
	{"EHLO ", "SMTP"},
	{"HELO ", "SMTP"},
	{"USER ", "FTP"},
	{"AUTH TLS", "FTP"},
	{"RTSP/", "RTSP"},
	{"\x00\x00\x00", "SMB or another binary protocol"},
}

// prefixes begin an identification string: RFC 4253, sections 4.2 and 5.1.
var prefixes = []string{"SSH-2.0-", "SSH-1.99-"}

// check returns an error as soon as the first bytes of a connection cannot become an
// identification string.
func check(got []byte) error {
	for _, p := range prefixes {
		n := min(len(p), len(got))
		if string(got[:n]) == p[:n] {
			return nil
		}
	}
	for _, s := range strangers {
		if bytes.HasPrefix(got, []byte(s.start)) {
			return fmt.Errorf("%w: speaks %s", ErrNotSSH, s.name)
		}
	}
	if bytes.HasPrefix(got, []byte("SSH-1.")) {
		return fmt.Errorf("%w: speaks SSH 1", ErrNotSSH)
	}
	return fmt.Errorf("%w: says %q", ErrNotSSH, printable(got[:min(len(got), 32)]))
}

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(b))
}
