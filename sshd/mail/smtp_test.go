package mail

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	netmail "net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/peers"
)

func to(address string) *message {
	return &message{id: "berth-1", to: netmail.Address{Name: "Zoë", Address: address}, subject: "Grüße", body: "Zeile\n.\nEnde\n"}
}

// TestPostfix: a real server takes a mail, and no other than the right one gets it.
func TestPostfix(t *testing.T) {
	server, other := peers.Postfix(t, "zoe"), peers.Postfix(t)
	good := open(t, t.TempDir()).settings
	good.Server, good.CAFile, good.User, good.PasswordFile = server.Addr, server.CAFile, server.User, server.PasswordFile
	if err := good.Verify(t.Context()); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := good.send(t.Context(), to("zoe@example.test")); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for len(server.Mails(t, "zoe")) == 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond) // Postfix does not report when it has delivered
	}
	got := server.Mails(t, "zoe")
	if len(got) != 1 {
		t.Fatalf("%d mails, want 1:\n%s", len(got), server.Log())
	}
	for _, want := range []string{"Message-ID: <berth-1@example.test>", "Auto-Submitted: auto-generated", "Return-Path: <berth@example.test>", "\n.\n", "SMTPSA id"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("lacks %q:\n%s", want, got[0])
		}
	}

	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("wrong-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*Settings)
		to     string
		want   error
		text   string
	}{
		"another authority": {func(s *Settings) { s.CAFile = other.CAFile }, "zoe@example.test", errAway, "certificate"},
		"no authority":      {func(s *Settings) { s.CAFile = "" }, "zoe@example.test", errAway, "certificate"},
		"wrong password":    {func(s *Settings) { s.PasswordFile = wrong }, "zoe@example.test", errAway, "535"},
		"no password":       {func(s *Settings) { s.User, s.PasswordFile = "", "" }, "zoe@example.test", errFinal, "554"},
		"unknown":           {func(*Settings) {}, "unknown@example.test", errFinal, "550"},
	} {
		s := good
		tt.change(&s)
		err := s.send(t.Context(), to(tt.to))
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %v with %q", name, err, tt.want, tt.text)
		}
	}
	if n := len(server.Mails(t, "unknown")); n != 0 || len(server.Mails(t, "zoe")) != 1 {
		t.Errorf("%d mails for nobody, %d for Zoë", n, len(server.Mails(t, "zoe")))
	}
}

// smtp is a server that answers each command from a list, and others with 250. An
// answer "close" ends the connection.
func smtp(t *testing.T, plain bool, answers map[string]string) *Settings {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(web.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c, web.TLS, plain, answers)
		}
	}()
	s := open(t, t.TempDir()).settings
	s.Server, s.CAFile = l.Addr().String(), filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &s
}

func talk(c net.Conn, secure *tls.Config, plain bool, answers map[string]string) {
	defer func() { c.Close() }()
	text := textproto.NewConn(c)
	text.PrintfLine("220 ready")
	for {
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		answer, known := answers[verb]
		switch {
		case verb == "EHLO" && !plain:
			answer = "250-hello\r\n250 STARTTLS"
		case verb == "DATA" && !known:
			text.PrintfLine("354 go on")
			if _, err := text.ReadDotBytes(); err != nil {
				return
			}
			answer = answers["."]
		}
		if answer == "close" {
			return
		}
		switch {
		case answer == "" && verb == "STARTTLS":
			answer = "220 go on"
		case answer == "":
			answer = "250 fine"
		}
		text.PrintfLine("%s", answer)
		if strings.HasPrefix(answer, "220") {
			c = tls.Server(c, secure)
			text = textproto.NewConn(c)
		}
	}
}

// TestAnswers: what the server says decides whether the mail is tried again.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, verb, answer string
		want               error
	}{
		{"taken", ".", "250 queued", nil},
		{"broken after it was taken", "RSET", "close", nil},
		{"unconfirmed", ".", "close", errFinal},
		{"unknown person", "RCPT", "550 unknown", errFinal},
		{"grey list", "RCPT", "451 later", errors.New("")},
		{"too large", ".", "552 too large", errFinal},
		{"full disk", ".", "452 later", errors.New("")},
		{"no data", "DATA", "451 later", errors.New("")},
		{"sender refused", "MAIL", "550 no", errAway},
		{"no TLS now", "STARTTLS", "454 later", errAway},
	} {
		err := smtp(t, false, map[string]string{tt.verb: tt.answer}).send(t.Context(), to("zoe@example.test"))
		final, away := errors.Is(err, errFinal), errors.Is(err, errAway)
		if (err == nil) != (tt.want == nil) || final != (tt.want == errFinal) || away != (tt.want == errAway) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestNothingWithoutTLS: a server, or somebody on the way, that offers no STARTTLS gets
// nothing.
func TestNothingWithoutTLS(t *testing.T) {
	s := smtp(t, true, nil)
	if err := s.send(t.Context(), to("zoe@example.test")); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("got %v, want that there is no STARTTLS", err)
	}
}
