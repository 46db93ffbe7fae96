package mail

import (
	"bytes"
	"context"
	"errors"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/directory"
)

// written returns a mail to u as it is sent.
func written(t *testing.T, o *office, u *directory.User, kind, fingerprint string) (*netmail.Message, []byte) {
	t.Helper()
	var raw bytes.Buffer
	o.send = func(_ context.Context, m *message) error {
		msg, err := o.settings.compose(m)
		if err == nil {
			_, err = msg.WriteTo(&raw)
		}
		return err
	}
	if err := o.write(t.Context(), u, kind, "one", facts{Fingerprint: clean(fingerprint), Days: 3, CanChange: true, Date: "2000-01-04"}); err != nil {
		if !errors.Is(err, errFinal) {
			t.Fatal(err)
		}
		return nil, nil
	}
	text := raw.Bytes()
	parsed, err := netmail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return parsed, text
}

// TestHeaders: the headers are always the same ones.
func TestHeaders(t *testing.T) {
	o := open(t, t.TempDir())
	u := person("alice", oneDay, directory.StatusActive)
	first, _ := written(t, o, u, "key_added", "SHA256:abc")
	u.Attrs["displayname"] = []string{"Ægir \"X\" <eve@evil.test>\r\nBcc: eve@evil.test"}
	u.Name = "alice\nBcc: eve@evil.test"
	m, text := written(t, o, u, "key_added", "x\r\n.\r\nMAIL FROM")
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "Message-Id": first.Header.Get("Message-Id"), "Content-Type": "text/plain; charset=UTF-8",
		"Subject": "An SSH key was added to your account", "Bcc": "",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "alice@example.test" || !strings.HasPrefix(to[0].Name, `Ægir "X" <eve@`) {
		t.Errorf("To: %v, %v\n%s", to, err, text)
	}
	if _, domain, _ := strings.Cut(first.Header.Get("Message-Id"), "@"); domain != "example.test>" {
		t.Errorf("Message-ID %q, want the domain of the sender", first.Header.Get("Message-Id"))
	}
}

// FuzzAttributes: no attribute of a person makes another header, recipient or mail.
func FuzzAttributes(f *testing.F) {
	f.Add("alice@example.test", "Alice", "alice", "SHA256:x")
	f.Add("alice@example.test\r\nBcc: eve@evil.test", "A\r\nBcc: eve@evil.test", "a\n\nX: y", "\r\n.\r\n")
	f.Add(`"a b"@example.test`, "=?utf-8?q?A=0ABcc=3A_eve=40evil.test?=", "\u202eecila", "\x00")
	f.Add("a@b, eve@evil.test", strings.Repeat("é", 2000), "{{.Name}}", "<b>")
	f.Fuzz(func(t *testing.T, address, name, user, fingerprint string) {
		o := open(t, t.TempDir())
		u := &directory.User{Name: user, Attrs: map[string][]string{"mail": {address}, "displayname": {name}, "preferredlanguage": {name}}}
		for _, kind := range kinds() {
			m, text := written(t, o, u, kind, fingerprint)
			if m == nil {
				return
			}
			var names []string
			for name, values := range m.Header {
				if names = append(names, name); len(values) != 1 {
					t.Errorf("%s: %d times", name, len(values))
				}
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != "Auto-Submitted Content-Transfer-Encoding Content-Type Date From Message-Id Mime-Version Subject To X-Auto-Response-Suppress" {
				t.Errorf("headers: %s\n%s", got, text)
			}
			to, err := m.Header.AddressList("To")
			if err != nil || len(to) != 1 || to[0].Address != address {
				t.Errorf("To: %v, %v, want %q", to, err, address)
			}
			if bytes.Contains(text, []byte("\r\n.\r\n")) || bytes.ContainsAny(bytes.ReplaceAll(text, []byte("\r\n"), nil), "\r\n\x00") {
				t.Errorf("a bare line end or an end of the mail:\n%q", text)
			}
		}
	})
}

// TestTexts: a folder replaces texts and adds languages; mistakes are found at the start.
func TestTexts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("password_expiring.fr.txt", "Subject: Bonjour {{.Name}}\r\n\r\nDans {{.Days}} jours.\r\n")
	write("key_added.en.txt", "Subject: Ours\n\nText.\n")
	all, err := openTexts(dir, "en")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ wanted, kind, subject string }{
		{"", expiring, "Your password expires on D"},
		{"de-CH", expiring, "Ihr Passwort läuft am D ab"},
		{"fr-CA, de;q=0.9", expiring, "Bonjour N"},
		{"fr", "key_removed", "An SSH key was removed from your account"}, // there is no French one
		{"en-GB", "key_added", "Ours"},
		{"ja", "key_added", "Ours"},
		{"\x00;;q=", "key_added", "Ours"},
	} {
		if subject, _, err := all.write(tt.kind, all.language(tt.wanted), facts{Name: "N", Date: "D"}); subject != tt.subject || err != nil {
			t.Errorf("%s in %q: %q, %v, want %q", tt.kind, tt.wanted, subject, err, tt.subject)
		}
	}
	for _, kind := range kinds() {
		for _, tag := range []string{"en", "de"} {
			if all.of[kind][all.language(tag)] == nil {
				t.Errorf("no %s in %s is shipped", kind, tag)
			}
		}
	}
	if _, err := openTexts(dir, "fr"); err == nil || !strings.Contains(err.Error(), "fr.txt") {
		t.Errorf("French for everybody: %v, want which file is missing", err)
	}
	for name, text := range map[string]string{
		"password_expired.en.txt":  "Subject: a\n\nb\n",
		"password_expiring.en.tmp": "Subject: a\n\nb\n",
		"key_added.de.txt":         "Subject: {{.Password}}\n\nb\n",
		"key_removed.de.txt":       "Betreff: a\n\nb\n",
		"password_changed.de.txt":  "Subject: a\nBcc: b@example.test\n\nb\n",
		"login_shielded.de.txt":    "Subject: a\n\n",
	} {
		write(name, text)
		if _, err := openTexts(dir, "en"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want what is wrong with it", name, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openTexts(filepath.Join(dir, "none"), "en"); err == nil {
		t.Error("a folder that is missing is no error")
	}
}
