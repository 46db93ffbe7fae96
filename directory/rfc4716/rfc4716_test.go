package rfc4716

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestParse(t *testing.T) {
	pub, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		t.Fatal(err)
	}
	blob := base64.StdEncoding.EncodeToString(pub.Marshal())
	for _, tt := range []struct {
		name, text    string
		comment, fail string
		rest          []string
	}{
		{name: "plain", text: blob + "\n" + End, rest: []string{}},
		{name: "wrapped and indented", text: "  " + blob[:40] + " \n\t" + blob[40:] + "\n " + End + " ", rest: []string{}},
		{name: "CRLF", text: "Comment: me\r\n" + blob + "\r\n" + End + "\r\nnext\r\n", comment: "me", rest: []string{"next", ""}},
		{name: "CR", text: "Comment: me\r" + blob + "\r" + End + "\rnext", comment: "me", rest: []string{"next"}},
		{name: "quoted", text: "comment: \"me \"\n" + blob + "\n" + End, comment: "me ", rest: []string{}},
		{name: "one quotation mark", text: "Comment: \"\n" + blob + "\n" + End, comment: `"`, rest: []string{}},
		{name: "over three lines", text: "Comment: \"a \\\nb\\\n c\"\n" + blob + "\n" + End, comment: "a b c", rest: []string{}},
		{name: "other headers", text: "Subject: \\\nalice\nX-y: z\n" + blob + "\n" + End, rest: []string{}},
		{name: "no end", text: blob + "\nnext", fail: "without an end"},
		{name: "continued for ever", text: "A: \\\n\\\n\\", fail: "without an end"},
		{name: "the end continued", text: blob + "\n" + End + "\\\nnext", fail: "without an end"},
		{name: "not base64", text: "!!\n" + End + "\nnext", fail: "not base64", rest: []string{"next"}},
		{name: "no key", text: "AAAA\n" + End + "\nnext", fail: "no public key", rest: []string{"next"}},
		{name: "nothing", text: "", fail: "without an end"},
	} {
		key, comment, rest, err := Parse(Lines(tt.text))
		if tt.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fail) || key != nil || !slices.Equal(rest, tt.rest) {
				t.Errorf("%s: got %v, %q, %v, want %q and %q", tt.name, key, rest, err, tt.fail, tt.rest)
			}
			continue
		}
		if err != nil || string(key.Marshal()) != string(pub.Marshal()) || comment != tt.comment || !slices.Equal(rest, tt.rest) {
			t.Errorf("%s: got comment %q, rest %q, %v, want %q, %q", tt.name, comment, rest, err, tt.comment, tt.rest)
		}
	}
}
