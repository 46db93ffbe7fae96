package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"berth/sshd/admin"
)

// TestOutputIsVisible: what clients and servers have sent cannot drive the terminal of who
// reads it.
func TestOutputIsVisible(t *testing.T) {
	const evil = "\x1b[2J\u009b2J\x7f\u202e"
	for name, print := range map[string]func(io.Writer) error{
		"printJSON": func(out io.Writer) error { return printJSON(out, admin.Status{NotReady: evil}) },
		"list": func(out io.Writer) error {
			return newList(out, true, "", func(admin.Session) string { return "" }).add(admin.Session{User: evil})
		},
		"probe": func(out io.Writer) error {
			p := &probe{out: out}
			p.note("login", time.Second, "SSH-2.0-"+evil, errors.New("ssh: disconnect, reason 11: "+evil))
			return nil
		},
	} {
		var b strings.Builder
		if err := print(&b); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 || b.Len() == 0 {
			t.Errorf("%s: %q", name, b.String())
		}
	}
}
