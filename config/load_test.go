package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/directory/ldap"
	"berth/policy"
	"berth/sshd/totp"
)

var update = flag.Bool("update", false, "write what is got as what is wanted: testdata and docs/configuration.md")

// TestBadConfigs loads every file of testdata/bad and compares the errors with
// the file beside it. They are in the order of the lines.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := Load(file)
			if err == nil {
				t.Fatalf("Load = %+v, want mistakes", cfg)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
			for _, err := range split(err) {
				var m *Mistake
				if !errors.As(err, &m) || m.File != file {
					t.Errorf("%#v is not a *Mistake of %s", err, file)
				}
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := Load("testdata/none.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of no file: %v, want ErrNotExist", err)
	}
}

// small is the least that Load accepts.
const small = `
directories:
  - {name: corp, kind: generic, urls: [ldaps://ldap.corp.example], base: "dc=corp,dc=example"}
rules:
  - name: all
`

// load loads text.
func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "berth.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file)
}

func TestDefaults(t *testing.T) {
	cfg, err := load(t, small)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path, want.Directories, want.Rules = cfg.Path, cfg.Directories, cfg.Rules
	if !reflect.DeepEqual(*cfg, want) {
		t.Errorf("Load = %+v\nwant the defaults %+v", *cfg, want)
	}
	if got := cfg.Directories[0].Cache; got != 15*time.Second {
		t.Errorf("a directory's default cache is %s, want 15s", got)
	}
}

// TestEmptySections sees that a section whose keys are all commented out has
// the defaults.
func TestEmptySections(t *testing.T) {
	cfg, err := load(t, small+"    folders:\n    limits:\nssh:\n  # idle: 5m\nevents:\nlisten:\nlog: {level: }\nadmin: ~\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Path, want.Directories, want.Rules = cfg.Path, cfg.Directories, cfg.Rules
	if !reflect.DeepEqual(*cfg, want) {
		t.Errorf("Load = %+v\nwant the defaults %+v", *cfg, want)
	}
}

func TestValues(t *testing.T) {
	cfg, err := load(t, `
listen: ":2022"
ssh: {login_grace: 0h1m30s, max_tries: 3, checksums: true, ciphers: [aes128-ctr], idle: 0}
events: {max_size: 1GB, keep: 0}
mail: {days: 3}
directories:
  - {name: corp, kind: generic, urls: [ldaps://ldap.corp.example], base: "dc=Corp,dc=example", cache: 0, outage: {keep: 4h}}
rules:
  - name: a
    when: {groups: "CN=Staff,OU=Groups,DC=corp,DC=example", from: [10.0.0.0/8], hours: "Mon-Fri 06:00-20:00 Europe/Berlin"}
    home: {host: "/srv/%u", umask: "007", permissions: []}
    require: [publickey, password]
    limits: {quota: 10GiB, quota_files: 1000, max_file: 0, upload_rate: "20 MiB", idle: 15m}
  - name: b
    require: [[publickey], [password]]
    services: []
    access: [{path: /in, permissions: [drop_box], names: {deny: ["*.exe"]}, hide: true}]
  - name: c
    require: password
`)
	if err != nil {
		t.Fatal(err)
	}
	r := cfg.Rules
	tests := []struct {
		what      string
		got, want any
	}{
		{"listen", cfg.Listen, []string{":2022"}},
		{"login_grace", cfg.SSH.LoginGrace, 90 * time.Second},
		{"ciphers", cfg.SSH.Ciphers, []string{"aes128-ctr"}}, // replaces the default
		{"max_tries", cfg.SSH.MaxTries, 3},
		{"checksums", cfg.SSH.Checksums, true},
		{"max_size", cfg.Events.MaxSize, int64(1e9)},
		{"keep", cfg.Events.Keep, 0}, // not the default
		{"days", cfg.Mail.Days, []int{3}},
		{"cache", cfg.Directories[0].Cache, time.Duration(0)},
		{"outage", cfg.Directories[0].Outage.Keep, 4 * time.Hour},
		{"base", cfg.Directories[0].Base, "dc=Corp,dc=example"}, // case is kept
		{"groups", r[0].When.Groups, []string{"CN=Staff,OU=Groups,DC=corp,DC=example"}},
		{"umask", r[0].Home.Umask, "007"},
		{"no permissions", r[0].Home.Permissions, []string{}},
		{"permissions left out", r[2].Home, (*policy.Home)(nil)},
		{"all of", r[0].Require, policy.Require{{"publickey", "password"}}},
		{"one of", r[1].Require, policy.Require{{"publickey"}, {"password"}}},
		{"one", r[2].Require, policy.Require{{"password"}}},
		{"quota", *r[0].Limits.Quota.Value, int64(10 << 30)},
		{"quota_files", *r[0].Limits.QuotaFiles.Value, int64(1000)},
		{"no limit", *r[0].Limits.MaxFile.Value, int64(0)},
		{"rate", *r[0].Limits.UploadRate.Value, int64(20 << 20)},
		{"idle", *r[0].Limits.Idle.Value, 15 * time.Minute},
		{"limit left out", r[0].Limits.Sessions, (*policy.Amount[int])(nil)},
		{"no services", r[1].Services, []string{}},
		{"services left out", r[0].Services, []string(nil)},
		{"names", r[1].Access[0].Names.Deny, []string{"*.exe"}},
		{"hide", r[1].Access[0].Hide, true},
	}
	for _, tt := range tests {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %#v, want %#v", tt.what, tt.got, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("BERTH_LOG_LEVEL", "debug")
	t.Setenv("BERTH_SSH_MAX_TRIES", "4")
	t.Setenv("BERTH_SSH_LOGIN_GRACE", "45s")
	t.Setenv("BERTH_SSH_CHECKSUMS", "true")
	t.Setenv("BERTH_EVENTS_MAX_SIZE", "5MiB")
	t.Setenv("BERTH_LISTEN", "127.0.0.1:2200")
	t.Setenv("BERTH_MAIL_DAYS", "7")
	t.Setenv("BERTH_ADMISSION_BLOCKED", "::ffff:10.0.0.0/104")
	t.Setenv("BERTH_PORT_2022_TCP_ADDR", "10.0.0.7") // set by Kubernetes beside a service with the name berth
	t.Setenv("BERTH_SERVICE_HOST", "10.0.0.7")
	t.Setenv("BERTH_PORT", "tcp://10.0.0.7:2022")
	t.Setenv("BERTH_DIRECTORIES_CORP_BIND_PASSWORD", "s3cret")
	cfg, err := load(t, "log: {level: warn, format: json}\n"+small+`
`)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{
		cfg.Log.Level, cfg.Log.Format, cfg.SSH.MaxTries, cfg.SSH.LoginGrace, cfg.SSH.Checksums, cfg.Events.MaxSize, cfg.Listen[0], fmt.Sprint(cfg.Admission.Blocked),
		cfg.Directories[0].BindPassword, cfg.Mail.Days,
	}
	want := []any{"debug", "json", 4, 45 * time.Second, true, int64(5 << 20), "127.0.0.1:2200", "[10.0.0.0/8]", "s3cret", []int{7}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("with the environment: %v, want %v", got, want)
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Setenv("BERTH_SSH_MAX_TRIES", "six")
	t.Setenv("BERTH_LOG_LEVEL", "loud")
	_, err := load(t, small)
	want := `environment: BERTH_SSH_MAX_TRIES: "six": must be a number
environment: BERTH_LOG_LEVEL: "loud": must be one of trace, debug, info, warn, error`
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v\nwant %s", err, want)
	}
}

// TestAddresses sees which protocol each address is of.
func TestAddresses(t *testing.T) {
	cfg := Config{Listen: []string{":22", "0.0.0.0:23", "[::]:23", "[::]:24", "127.0.0.1:25", "[::]:25", "[::1]:25", "localhost:25", "[::ffff:127.0.0.1]:26"}}
	want := "[{listen tcp :22} {listen tcp4 0.0.0.0:23} {listen tcp6 [::]:23} {listen tcp [::]:24} {listen tcp4 127.0.0.1:25} {listen tcp6 [::]:25} {listen tcp [::1]:25} {listen tcp localhost:25} {listen tcp4 [::ffff:127.0.0.1]:26}]"
	if got := fmt.Sprint(cfg.Addresses()); got != want {
		t.Errorf("Addresses = %s\nwant %s", got, want)
	}
}

// TestVariablesThatSetNothing has the configuration without the variable loaded
// as well: only the variable may be the mistake.
func TestVariablesThatSetNothing(t *testing.T) {
	blocked := "admission: {blocked: [192.0.2.0/24]}\nevents: {file: /var/log/berth.jsonl}\n" + small
	tests := []struct{ name, value, want string }{
		{"BERTH_ADMISSION", "1", "is a section"},
		{"BERTH_EVENTS", "1", "is a section"},
		{"BERTH_EVENTS_SYSLOG", "tls://x", "is a section"},
		{"BERTH_DIRECTORIES", "corp", "is a section"},
		{"BERTH_RULES", "all", "is a section or a list of sections"},
		{"BERTH_SSH_LEGACY", "x", "is a section or a list of sections"},
		{"BERTH_LOG_LEVLE", "debug", `is "BERTH_LOG_LEVEL" meant?`},
		{"BERTH_BIND_PASSWORD", "x", "there is no such key"},
		{"BERTH_DIRECTORIES_CROP_BIND_PASSWORD", "x", `is "BERTH_DIRECTORIES_CORP_BIND_PASSWORD" meant?`},
		{"BERTH_DIRECTORIES_CORP_BASE", "dc=x", "there is no such key"},
		{"BERTH_", "x", "there is no such key"},
		{"BERTH_LOG_LEVEL", "", "empty"},
		{"BERTH_ADMIN_LISTEN", "", "empty"},
		{"BERTH_DIRECTORIES_CORP_BIND_PASSWORD", "", "empty"},
		{"BERTH_SSH_MAX_TRIES", "010", "whole number"},
		{"BERTH_SSH_MAX_TRIES", "2.9", "whole number"},
		{"BERTH_SSH_CHECKSUMS", "1", "true or false"},
		{"BERTH_ADMISSION_EXEMPT", "home", "network"},
		{"BERTH_LISTEN", ":99999", "port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := load(t, blocked); err != nil {
				t.Fatal(err)
			}
			t.Setenv(tt.name, tt.value)
			_, err := load(t, blocked)
			var m *Mistake
			if !errors.As(err, &m) || len(split(err)) != 1 || m.File != "environment" || m.Key != tt.name || !strings.Contains(m.Err.Error(), tt.want) {
				t.Errorf("%s=%s: %v\nwant one mistake: %s", tt.name, tt.value, err, tt.want)
			}
		})
	}
}

// TestPasswords sees which password of a service account is used.
func TestPasswords(t *testing.T) {
	const directories = `
directories:
  - {name: corp-2, kind: generic, urls: [ldaps://a.example], base: "dc=a", bind_dn: "cn=a", bind_password_file: /nowhere}
  - {kind: openldap, urls: [ldaps://b.example], base: "dc=b", bind_dn: "cn=b", bind_password: file}
rules: [{name: all}]
`
	t.Setenv("BERTH_DIRECTORIES_CORP_2_BIND_PASSWORD", "one")
	t.Setenv("BERTH_DIRECTORIES_OPENLDAP_BIND_PASSWORD", "two")
	cfg, err := load(t, directories)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"one", "two"} {
		if d := cfg.Directories[i]; d.BindPassword != want || d.BindPasswordFile != "" {
			t.Errorf("directory %d has password %q and file %q, want %q and none", i, d.BindPassword, d.BindPasswordFile, want)
		}
	}
	_, err = load(t, strings.Replace(directories, "kind: openldap", "kind: openldap, name: CORP_2", 1))
	if err == nil || !strings.Contains(err.Error(), "BERTH_DIRECTORIES_CORP_2_BIND_PASSWORD: is the variable of several directories") {
		t.Errorf("two directories of one variable: %v", err)
	}
}

// TestEmptyConditions gives every condition of a rule every kind of nothing.
func TestEmptyConditions(t *testing.T) {
	for field := range reflect.TypeFor[policy.When]().Fields() {
		name := field.Tag.Get("mapstructure")
		for _, nothing := range []string{"", "~", "null", `""`, `" "`, "[]", "{}", `[""]`, "[~]", `["\t"]`, "!!str ''"} {
			cfg, err := load(t, small+"    when: {"+name+": "+nothing+"}\n")
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("when: {%s: %s}: %v, %v, want a mistake", name, nothing, cfg, err)
			}
		}
	}
}

// TestEverySectionIsChecked has one value in each section that its package
// refuses.
func TestEverySectionIsChecked(t *testing.T) {
	for key, text := range map[string]string{
		"ssh.max_tries":                 "ssh: {max_tries: 0}",
		"admission.ipv4_prefix":         "admission: {ipv4_prefix: 33}",
		"certificates.ca_keys":          "certificates: {principal_attributes: [mail]}",
		"kerberos.keytab":               "kerberos: {rc4_tickets: true}",
		"totp.key_file":                 "totp: {file: /x}",
		"events.keep":                   "events: {keep: -1}",
		"events.syslog.address":         "events: {syslog: {address: nonsense}}",
		"admin.listen":                  "admin: {listen: ':9'}",
		"log.level":                     "log: {level: loud}",
		"log.format":                    "log: {format: xml}",
		"host_keys":                     "host_keys: []",
		"host_keys[1]":                  "host_keys: [/a, /b.pub]",
		"listen":                        "listen: []",
		"directories[0].foreign_groups": "directories: [{name: a, kind: active_directory, domain: x.y, foreign_groups: a}]",
		"directories[1].foreign_groups": "directories: [{name: a, kind: generic, urls: [ldaps://x], base: dc=x}, {name: b, kind: active_directory, domain: x.y, foreign_groups: a}]",
		"directories[1].name":           "directories: [{name: a, kind: generic, urls: [ldaps://x], base: dc=x}, {name: A, kind: generic, urls: [ldaps://x], base: dc=x}]",
		"directories[0].base":           "directories: [{name: a, kind: embedded, ldif: /x, base: dc=x}]",
		"directories[0].ldif":           "directories: [{name: a, kind: embedded}]",
		"rules[0].name":                 "rules: [{deny: true}]",
		"rules[0].require":              "rules: [{name: a, require: [password, totp]}]",
		"rules":                         "rules: []",
		"directories":                   "directories: []",
	} {
		section, _, _ := strings.Cut(text, ":")
		rest := small
		if section == "directories" {
			rest = "rules: [{name: all}]\n"
		} else if section == "rules" {
			rest = strings.Split(small, "rules:")[0]
		}
		_, err := load(t, text+"\n"+rest)
		var m *Mistake
		if !errors.As(err, &m) || !slices.ContainsFunc(split(err), func(err error) bool { return strings.Contains(err.Error(), ": "+key+": ") }) {
			t.Errorf("%s: %v, want a mistake of %s", text, err, key)
		}
	}
}

func TestOneTimeCodes(t *testing.T) {
	file, attribute := totp.Settings{File: "/x"}, []ldap.Settings{{}, {TOTPAttribute: "totpSecret"}}
	for i, tt := range []struct {
		cfg  Config
		want bool
	}{{Config{}, false}, {Config{TOTP: file}, true}, {Config{Directories: attribute}, true}, {Config{TOTP: file, Directories: attribute}, true}, {Config{Directories: attribute[:1]}, false}} {
		if got := tt.cfg.OneTimeCodes(); got != tt.want {
			t.Errorf("configuration %d: one-time codes: %t, want %t", i, got, tt.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "0B": 0, "1": 1, "7 KiB": 7 << 10, "1MiB": 1 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40, "3kB": 3000, "1MB": 1e6, "1GB": 1e9, "1TB": 1e12,
		"4194304TiB": 1 << 62, "5B": 5,
	} {
		if n, err := policy.ParseSize(s); n != want || err != nil {
			t.Errorf("policy.ParseSize(%q) = %d, %v, want %d", s, n, err, want)
		}
	}
	for _, s := range []string{"", "B", "-1", "-1MiB", "1.5GiB", "1mib", "1 KB", "4194305TiB", "9223372036854775808", "0x10", "010", "1e3"} {
		if n, err := policy.ParseSize(s); err == nil {
			t.Errorf("policy.ParseSize(%q) = %d, want an error", s, n)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3}, {"nmae", "name", 2}, {"grups", "groups", 1}, {"groupss", "groups", 1}, {"kitten", "sitting", 3}, {"xabc", "abc", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestSecretsStayUnsaid checks that no error contains a password of the file,
// whether the password is valid or not.
func TestSecretsStayUnsaid(t *testing.T) {
	for _, value := range []string{`"hunter2hunter2"`, "8472398", "[hunter2, hunter2]", "{hunter2: 8472398}", "true"} {
		cfg, err := load(t, strings.Replace(small, "name: corp,", `name: corp, bind_dn: "cn=svc", bind_password: `+value+",", 1))
		var b bytes.Buffer
		if err != nil {
			b.WriteString(err.Error())
		} else if err := cfg.Write(&b); err != nil {
			t.Fatal(err)
		}
		if said := b.String(); strings.Contains(said, "hunter2") || strings.Contains(said, "8472398") {
			t.Errorf("bind_password: %s: is said in\n%s", value, said)
		}
	}
}

// TestWrite checks that a written configuration is equal when it is read
// again.
func TestWrite(t *testing.T) {
	text, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := load(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := cfg.Write(&b); err != nil {
		t.Fatal(err)
	}
	own, _, _ := strings.Cut(b.String(), "\nssh:") // the rest is defaults of other packages
	golden(t, "testdata/good.txt", own+"\n")
	again, err := load(t, b.String())
	if err != nil {
		t.Fatalf("what was written is not read: %v", err)
	}
	again.Path = cfg.Path
	network := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(cfg, again, cmpopts.EquateEmpty(), network); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
}

// TestWindow reads the size of a window, or auto, and writes what it has read.
func TestWindow(t *testing.T) {
	for text, want := range map[string]string{
		"auto": "window: auto", "4MiB": "window: 4MiB", "1MiB": "", "65MiB": "", "automatic": "", "-1": "",
	} {
		cfg, err := load(t, small+"\nssh: {window: "+text+"}\n")
		if (err == nil) != (want != "") || (err != nil && !strings.Contains(err.Error(), "window")) {
			t.Errorf("window: %s: %v, want it read: %t", text, err, want != "")
		}
		if err != nil {
			continue
		}
		var b bytes.Buffer
		if err := cfg.Write(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("window: %s is written without %q, %v", text, want, err)
		}
	}
}

// TestWriteHidesWebhook: what follows the host of a webhook may be a secret.
func TestWriteHidesWebhook(t *testing.T) {
	for url, want := range map[string]string{
		"https://siem.example":                 "https://siem.example",
		"https://siem.example:8443/":           "https://siem.example:8443/",
		"https://siem.example/services/S3cret": "https://siem.example/***",
		"https://siem.example?key=S3cret":      "https://siem.example/***",
		"https://siem.example/#S3cret":         "https://siem.example/***",
	} {
		cfg, err := load(t, small+"\nevents: {file: /var/log/berth/events.jsonl, webhook: {url: '"+url+"'}}\n")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := cfg.Write(&b); err != nil || !strings.Contains(b.String(), "url: "+want+"\n") || strings.Contains(b.String(), "S3cret") {
			t.Errorf("%s: %v, want %s:\n%s", url, err, want, b.String())
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(small)
	f.Add("listen: &a [*a]")
	f.Add("rules: [{name: {}}]")
	f.Add("ssh: 1\nlog: []\nrules: {}\ndirectories: [[]]")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := load(t, text)
		if (cfg == nil) == (err == nil) {
			t.Errorf("Load = %v, %v, want one of both", cfg, err)
		}
	})
}

// golden holds got to what file holds.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got:\n%s\nwant:\n%s", file, got, want)
	}
}

// TestWriteHasEveryKey checks that the written file has each key outside of
// lists, also those of structs that share a section.
func TestWriteHasEveryKey(t *testing.T) {
	cfg := Default()
	var b bytes.Buffer
	if err := cfg.Write(&b); err != nil {
		t.Fatal(err)
	}
	where, err := locate("written", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range settingsOf(reflect.TypeFor[Config]()) {
		if _, ok := where.lines[f.Name]; !ok {
			t.Errorf("%s is not written", f.Name)
		}
	}
}
