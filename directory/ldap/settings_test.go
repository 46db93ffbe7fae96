package ldap

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// good are settings without a mistake.
func good() Settings {
	return Settings{URLs: []string{"ldaps://dc1.corp.example"}, Base: "dc=corp,dc=example"}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := func(name string, mode os.FileMode) string {
		path := write(name, "secret")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name string
		edit func(*Settings)
		want []string // parts of the lines of the error
	}{
		{"good", func(*Settings) {}, nil},
		{"nothing", func(s *Settings) { *s = Settings{} }, []string{"base: missing", "urls: missing"}},
		{"kind", func(s *Settings) { s.Kind = "AD" }, []string{`kind: "AD": must be one of 389ds, active_directory, embedded, freeipa, generic, openldap`}},
		{"scheme", func(s *Settings) { s.URLs = []string{"dc1.corp.example"} }, []string{"urls: "}},
		{"path", func(s *Settings) { s.URLs = []string{"ldaps://dc1/dc=corp"} }, []string{"urls: "}},
		{"user", func(s *Settings) { s.URLs = []string{"ldaps://me@dc1"} }, []string{"urls: "}},
		{"cleartext", func(s *Settings) { s.URLs = []string{"ldap://dc1"} }, []string{"in the clear"}},
		{"cleartext, wanted", func(s *Settings) { s.URLs, s.Insecure = []string{"ldap://dc1"}, true }, nil},
		{"StartTLS", func(s *Settings) { s.URLs, s.StartTLS = []string{"ldap://dc1:3890/"}, true }, nil},
		{"StartTLS twice", func(s *Settings) { s.StartTLS = true }, []string{"start_tls is for ldap://"}},
		{"domain", func(s *Settings) { *s = Settings{Domain: "corp.example", Resolver: "10.0.0.53"} }, nil},
		{"domain beside URLs", func(s *Settings) { s.Domain, s.Resolver = "_a.b-c.corp.example", "[fd00::53]:5353" }, nil},
		{"domain with a scheme", func(s *Settings) { s.Domain = "ldaps://corp.example" }, []string{`domain: "ldaps://corp.example": must be the name of a domain in DNS, such as corp.example`}},
		{"domain that is an address", func(s *Settings) { s.Domain = "10.0.0.1" }, []string{"domain: "}},
		{"domain with a wildcard", func(s *Settings) { s.Domain = "*.example" }, []string{"domain: "}},
		{"bind beside bind_dn", func(s *Settings) { s.BindDN, s.BindPassword, s.Bind.Certificate = "cn=svc", "x", "/gone" }, []string{"bind: must not be set together with bind_dn", "bind.certificate: /gone: no such file"}},
		{"bind with bind_as", func(s *Settings) { s.BindAs, s.Bind.Keytab = "%u@x", "/gone" }, []string{"bind_as: ", "bind.keytab: /gone: no such file"}},
		{"bind with both", func(s *Settings) { s.Bind = Bind{Keytab: "/gone", Certificate: "/gone"} }, []string{"bind: must hold a keytab or a certificate, not both", "bind.certificate: ", "bind.keytab: "}},
		{"bind with neither", func(s *Settings) { s.Bind.Principal = "svc" }, []string{"bind: must hold keytab, or certificate and key"}},
		{"keytab that is none", func(s *Settings) { s.Bind.Keytab = write("keytab", "x") }, []string{"bind.keytab: " + filepath.Join(dir, "keytab") + ": is not a keytab, or is damaged"}},
		{"keytab for everybody", func(s *Settings) { s.Bind.Keytab = open("open-keytab", 0o644) }, []string{"bind.keytab: " + filepath.Join(dir, "open-keytab") + ": mode 0644 gives other users too much access: chmod 0640"}},
		{"certificate without key", func(s *Settings) { s.Bind.Certificate = write("pem", "x") }, []string{"bind.key: "}},
		{"seal and another port", func(s *Settings) { s.URLs, s.Bind = []string{"ldaps://dc1:6360"}, Bind{Keytab: "/gone", Seal: true} }, []string{`bind.seal: "ldaps://dc1:6360": where the port without TLS is cannot be known`, "bind.keytab: "}},
		{"key change by ticket", func(s *Settings) { s.KeyChange, s.Bind.Keytab = "service", "/gone" }, []string{"bind.keytab: "}},
		{"resolver by name", func(s *Settings) { s.Resolver = "ns1.corp.example" }, []string{`resolver: "ns1.corp.example": must be the IP address of a name server, such as 10.0.0.53 or 10.0.0.53:5353`}},
		{"embedded", func(s *Settings) { s.Kind, s.URLs = "embedded", nil }, nil},
		{"embedded with an address", func(s *Settings) { s.Kind, s.URLs = "embedded", []string{"ldap://127.0.0.1"} }, []string{"in the clear"}},
		{"base", func(s *Settings) { s.Base = "corp.example" }, []string{`base: "corp.example": must be a DN`, `group_base: "corp.example": must be a DN`}},
		{"no CA file", func(s *Settings) { s.CAFile = filepath.Join(dir, "gone") }, []string{"ca_file: " + filepath.Join(dir, "gone") + ": no such file"}},
		{"empty CA file", func(s *Settings) { s.CAFile = write("ca", "x") }, []string{"ca_file: "}},
		{"bind without password", func(s *Settings) { s.BindDN = "cn=svc" }, []string{`bind_password: missing for bind_dn "cn=svc"`}},
		{"bind with a file", func(s *Settings) { s.BindDN, s.BindPasswordFile = "cn=svc", write("pw", "secret\r\nmore\n") }, nil},
		{"bind with an empty file", func(s *Settings) { s.BindDN, s.BindPasswordFile = "cn=svc", write("pw", "\n") }, []string{"bind_password_file: " + filepath.Join(dir, "pw") + ": the first line is empty"}},
		{"bind with no file", func(s *Settings) { s.BindDN, s.BindPasswordFile = "cn=svc", filepath.Join(dir, "gone") }, []string{"bind_password_file: " + filepath.Join(dir, "gone") + ": no such file"}},
		{"bind with a file for everybody", func(s *Settings) { s.BindDN, s.BindPasswordFile = "cn=svc", open("open", 0o644) }, []string{"bind_password_file: " + filepath.Join(dir, "open") + ": mode 0644 gives other users too much access: chmod 0640"}},
		{"CA file that others can write", func(s *Settings) { s.CAFile = open("ca", 0o666) }, []string{"ca_file: " + filepath.Join(dir, "ca") + ": mode 0666"}},
		{"both passwords", func(s *Settings) { s.BindDN, s.BindPassword, s.BindPasswordFile = "cn=svc", "x", write("pw", "y") }, []string{"must not be set together"}},
		{"file with a mark", func(s *Settings) { s.BindDN, s.BindPasswordFile = "cn=svc", write("bom", "\ufeffsecret\n") }, []string{"begins with a byte order mark: must be plain UTF-8 without one"}},
		{"file in UTF-16", func(s *Settings) { s.BindDN, s.BindPasswordFile = "cn=svc", write("utf16", "\xff\xfes\x00") }, []string{"byte order mark"}},
		{"bare name on AD", func(s *Settings) { s.Kind, s.BindDN, s.BindPassword = "active_directory", "svc", "x" }, []string{`bind_dn: "svc": must be a DN, name@domain or DOMAIN\name`}},
		{"name on AD", func(s *Settings) { s.Kind, s.BindDN, s.BindPassword = "active_directory", "svc@corp.example", "x" }, nil},
		{"old name on AD", func(s *Settings) { s.Kind, s.BindDN, s.BindPassword = "active_directory", `CORP\svc`, "x" }, nil},
		{"bare name on OpenLDAP", func(s *Settings) { s.Kind, s.BindDN, s.BindPassword = "openldap", "svc@corp.example", "x" }, []string{`bind_dn: "svc@corp.example": must be a DN, such as`}},
		{"bind_as and bind_dn", func(s *Settings) { s.BindDN, s.BindPassword, s.BindAs = "cn=svc", "x", "%u@x" }, []string{"bind_as: "}},
		{"bind_as", func(s *Settings) { s.BindAs = "uid=alice" }, []string{"must hold %u"}},
		{"filter", func(s *Settings) { s.UserFilter = "(uid=%u" }, []string{"user_filter: "}},
		{"attribute", func(s *Settings) { s.NameAttribute = "uid)(x" }, []string{"name_attribute: "}},
		{"secrets of codes", func(s *Settings) { s.TOTPAttribute, s.Attributes = "oathSecret", []string{"OATHSecret"} }, []string{`attributes: "OATHSecret": holds secrets`}},
		{"secrets of codes in passwords", func(s *Settings) { s.TOTPAttribute = "userPassword" }, []string{"totp_attribute: "}},
		{"attributes", func(s *Settings) { s.Attributes = []string{"mail", ""} }, []string{"attributes: "}},
		{"secret", func(s *Settings) { s.Attributes = []string{"userPassword"} }, []string{"holds passwords"}},
		{"OID", func(s *Settings) { s.KeyAttribute = "1.3.6.1.4.1.24552.500.1.1.1.13" }, nil},
		{"choices", func(s *Settings) { s.GroupWalk, s.UnreadableState, s.PasswordChange = "x", "y", "z" }, []string{"group_walk: ", "password_change: ", "unreadable_state: "}},
		{"keys nowhere", func(s *Settings) { s.KeyChange, s.KeyAttribute = "service", "none" }, []string{"key_change: \"service\": needs a key_attribute"}},
		{"keys by nobody", func(s *Settings) { s.KeyChange = "service" }, []string{"key_change: \"service\": needs a service account"}},
		{"keys", func(s *Settings) { s.KeyChange, s.BindDN, s.BindPassword = "service", "cn=svc", "x" }, nil},
		{"keys by the user", func(s *Settings) { s.KeyChange, s.MaxKeys = "self", 101 }, []string{"key_change: ", "max_keys: 101: must be 1 to 100"}},
		{"numbers", func(s *Settings) {
			s.PoolSize, s.WarnDays, s.MinUID, s.Cache, s.ConnectTimeout, s.Shield.Threshold = -1, -1, -1, -1, -time.Second, -2
		}, []string{"cache: ", "connect_timeout: ", "min_uid: ", "pool_size: ", "shield.threshold: ", "warn_days: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := good()
			tt.edit(&s)
			err := s.Check()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Check = %v, want %q", err, tt.want)
			}
			if err == nil {
				return
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(tt.want) {
				t.Errorf("Check = %d mistakes, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Check = %v, want a line with %q", err, want)
				}
			}
			if c, err := Open(s, nil); err == nil {
				t.Errorf("Open = %v, want the same mistakes", c)
			}
		})
	}
}

func TestComplete(t *testing.T) {
	s := Settings{Kind: "active_directory", Base: "OU=People,DC=corp,DC=example"}.Complete()
	if s.NameAttribute != "sAMAccountName" || s.KeyAttribute != "altSecurityIdentities" || s.KeyPrefix != "SSHKey:" || s.GroupBase != "DC=corp,DC=example" || s.Name != "active_directory" {
		t.Errorf("got %+v, want Active Directory's defaults", s)
	}
	s = Settings{Kind: "active_directory", KeyAttribute: "sshPublicKey", Base: "o=corp"}.Complete()
	if s.KeyPrefix != "" || s.GroupBase != "o=corp" {
		t.Errorf("got prefix %q and group base %q, want none and o=corp", s.KeyPrefix, s.GroupBase)
	}
	if again := s.Complete(); !reflect.DeepEqual(again, s) {
		t.Errorf("Complete of complete settings differs: %+v", again)
	}
}

// TestKinds holds the tables to what Check says of them.
func TestKinds(t *testing.T) {
	for _, name := range Kinds() {
		s := good()
		s.Kind = name
		if err := s.Check(); err != nil {
			t.Errorf("defaults of %s: %v", name, err)
		}
		if len(kinds[name].state) == 0 {
			t.Errorf("%s reads no account state", name)
		}
		c, err := Open(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		filter, err := c.userFilter(t.Context(), nil, `al*)(uid=\00`[:5], c.settings.LoginAttributes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ldap.CompileFilter(filter); err != nil {
			t.Errorf("%s: filter %s: %v", name, filter, err)
		}
		_ = c.Close()
	}
}

// TestSettingsTags checks that every field can be set from a file, under its
// own name.
func TestSettingsTags(t *testing.T) {
	typ := reflect.TypeFor[Settings]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag := f.Tag.Get("mapstructure")
		if strings.ReplaceAll(tag, "_", "") != strings.ToLower(f.Name) {
			t.Errorf("field %s has the key %q, want its own name in snake case", f.Name, tag)
		}
	}
}

// FuzzUserFilter proves that no name gets out of its value.
func FuzzUserFilter(f *testing.F) {
	for _, name := range []string{"alice", "*", ")(uid=*", `a\b`, "a@corp.example", "é"} {
		f.Add(name)
	}
	s := good()
	s.Domains = []string{"d"}
	c, err := Open(s, nil)
	if err != nil {
		f.Fatal(err)
	}
	s.UserFilter = "(&(objectClass=person)(uid=%u))"
	whole, err := Open(s, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, c := range []*Client{c, whole} {
			filter, err := c.userFilter(t.Context(), nil, name, c.settings.LoginAttributes)
			if err != nil {
				continue
			}
			p, err := ldap.CompileFilter(filter)
			if err != nil {
				t.Fatalf("filter %s: %v", filter, err)
			}
			if back, err := ldap.DecompileFilter(p); err != nil || strings.Count(back, "(") != strings.Count(filter, "(") || strings.Contains(back, "=*") {
				t.Errorf("name %q makes the filter %s (%v)", name, back, err)
			}
		}
	})
}
