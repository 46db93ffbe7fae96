package embedded

import (
	"os"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

func TestParseLDIF(t *testing.T) {
	const text = "# head\n" +
		"#  of two\n  lines\n" +
		"version: 1\n\n" +
		"# alice's\n" +
		"dn: uid=alice,dc=org\r\n" +
		"cn: Alice\n  Archer\n" +
		"sn:: QXJjaGVy\n" +
		"# inside\n" +
		"description:\n" +
		"cn;lang-de:   Älis\n\n\n" +
		"DN:: dWlkPWJvYixkYz1vcmc=\n" +
		"uid:bob\n\n" +
		"# the end"
	got, err := parseLDIF([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &document{
		header: []string{"# head", "#  of two lines"},
		records: []record{
			{comments: []string{"# alice's", "# inside"}, line: 7, dn: "uid=alice,dc=org", fields: []field{
				{8, "cn", "Alice Archer"}, {10, "sn", "Archer"}, {12, "description", ""}, {13, "cn;lang-de", "Älis"},
			}},
			{line: 16, dn: "uid=bob,dc=org", fields: []field{{17, "uid", "bob"}}},
		},
		footer: []string{"# the end"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(document{}, record{}, field{})); diff != "" {
		t.Errorf("parseLDIF: want - got +\n%s", diff)
	}
}

// TestBadLDIF reads files with mistakes. Each error must name the line and what
// would be right.
func TestBadLDIF(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no dn", "cn: Alice\n", "1: an entry begins with its dn"},
		{"no colon", "dn: dc=org\n\ndn: cn=a,dc=org\ncn\n", `4: want "name: value"`},
		{"fold lost", "dn: dc=org\ndescription: a long\ntext: here\nand here\n", `4: want "name: value"`},
		{"bad name", "dn: dc=org\nc n: a\n", `2: "c n" is not the name of an attribute`},
		{"bad base64", "dn: dc=org\ncn:: ???\n", "2: cn:: wants base64"},
		{"URL", "dn: dc=org\njpegPhoto:< file:///etc/passwd\n", "2: jpegPhoto:< reads a URL"},
		{"version 2", "version: 2\ndn: dc=org\n", "1: LDIF version \"2\""},
		{"change record", "dn: dc=org\nchangetype: delete\n", "2: this is a change record"},
		{"change step", "dn: dc=org\nadd: cn\ncn: a\n-\n", "4: this is a change record"},
		{"no blank line", "dn: dc=org\ndc: org\ndn: cn=a,dc=org\n", "3: a second dn in one entry"},
		{"Latin-1", "dn: dc=org\ncn: J\xf6rg\n", "2: the value of cn is not UTF-8"},
		{"NUL", "dn: dc=org\ncn: a\x00\n", "2: the value of cn is not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseLDIF([]byte(tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("parseLDIF(%q): got %v want %s…", tt.text, err, tt.want)
			}
		})
	}
}

// TestWriteField checks the rules of RFC 2849: safe text is unchanged,
// everything else is in base64, and lines have 76 characters.
func TestWriteField(t *testing.T) {
	tests := []struct{ value, want string }{
		{"plain", "a: plain\n"},
		{"", "a: \n"},
		{" blank before", "a:: IGJsYW5rIGJlZm9yZQ==\n"},
		{"blank after ", "a:: YmxhbmsgYWZ0ZXIg\n"},
		{":colon", "a:: OmNvbG9u\n"},
		{"<less", "a:: PGxlc3M=\n"},
		{"two\nlines", "a:: dHdvCmxpbmVz\n"},
		{"ä", "a:: w6Q=\n"},
		{strings.Repeat("x", 160), "a: " + strings.Repeat("x", 73) + "\n " + strings.Repeat("x", 75) + "\n " + strings.Repeat("x", 12) + "\n"},
	}
	for _, tt := range tests {
		d := &document{records: []record{{dn: "dc=org", fields: []field{{name: "a", value: tt.value}}}}}
		got := strings.TrimPrefix(string(d.bytes()), "version: 1\n\ndn: dc=org\n")
		if got != tt.want {
			t.Errorf("value %q: got %q want %q", tt.value, got, tt.want)
		}
	}
}

// FuzzLDIF checks that no input breaks the parser, and that a file that was
// read is equal after it is written and read again.
func FuzzLDIF(f *testing.F) {
	example, err := os.ReadFile("testdata/people.ldif")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("version: 1\n#c\n\n#d\ndn:: ZGM9b3Jn\na;b: c\n  d\n\n#e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := parseLDIF(data)
		if err != nil {
			return
		}
		second, err := parseLDIF(first.bytes())
		if err != nil {
			t.Fatalf("own file: %v\n%s", err, first.bytes())
		}
		if got, want := string(second.bytes()), string(first.bytes()); got != want {
			t.Errorf("second time: got %q want %q", got, want)
		}
	})
}

// TestDocumentedFile opens the file of the documentation, and finds what the
// page says of it.
func TestDocumentedFile(t *testing.T) {
	page, err := os.ReadFile("../../docs/embedded.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n```ldif\n")
	text, _, found := strings.Cut(text, "```")
	if !found {
		t.Fatal("docs/embedded.md has no block of LDIF")
	}
	s := open(t, Settings{LDIF: writeLDIF(t, text)})
	want := map[string]outcome{
		"alice choose-another-1": fine,
		"dave choose-another-2":  {ldap.LDAPResultUnwillingToPerform, int8(ldap.BeheraAccountLocked)},
		"erin choose-another-3":  {ldap.LDAPResultSuccess, int8(ldap.BeheraChangeAfterReset)},
	}
	for who, want := range want {
		uid, password, _ := strings.Cut(who, " ")
		if got, _ := tryBind(dial(t, s), "uid="+uid+","+people, password); got != want {
			t.Errorf("%s: got %+v want %+v", who, got, want)
		}
	}
	if got := attribute(t, asService(t, s), alice, "memberOf"); len(got) != 1 || got[0] != "cn=staff,ou=groups,"+base {
		t.Errorf("groups of alice: got %q want staff", got)
	}
	if text := readAll(t, s.store.file); strings.Contains(text, "choose-another") || !strings.Contains(text, "# left the company") {
		t.Errorf("the file holds passwords in the clear, or has lost a comment:\n%s", text)
	}
	if err := s.Writable(); err != nil {
		t.Errorf("Writable = %v want nil", err)
	}
}

func TestAttributeName(t *testing.T) {
	for name, want := range map[string]bool{"cn": true, "x-a0": true, "2.5.4.0": true, "cn;lang-de": true, "": false, "-a": false, "c n": false, "a_b": false, "ä": false} {
		if got := isAttributeName(name); got != want {
			t.Errorf("%q: got %t want %t", name, got, want)
		}
	}
}
