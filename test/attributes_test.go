package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// TestHomeAndQuotaOfAttributes has the directory say where people are and how much they
// may store, rightly and wrongly, before a login and in a session.
func TestHomeAndQuotaOfAttributes(t *testing.T) {
	need(t, "ldapmodify")
	p, d := peers.OpenLDAP(t), domains["openldap"]
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	if err := os.WriteFile(filepath.Join(dir, "bind-password"), []byte(p.BindPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/ssh_host_ed25519_key]
directories:
  - {name: domain, kind: openldap, urls: [%[2]s], ca_file: %[3]s, base: "%[4]s", bind_dn: "%[5]s", bind_password_file: %[1]s/bind-password, cache: 0s}
rules:
  - name: all
    home: {host: "%%{homeDirectory}", below: %[6]s, create: true}
    limits: {quota: "%%{employeeNumber} or 1MiB", sessions: "%%{employeeType} or 100", session_time: "%%{title} or 8h"}
    services: [sftp, quota]
ssh: {refusal_delay: 0s, recheck: 1s}
events: {file: "%[1]s/events.jsonl"}
admin: {listen: "127.0.0.1:0"}
`, dir, p.LDAPS, p.CAFile, p.Base, p.BindDN, home)
	config := filepath.Join(dir, "berth.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	set := func(home, quota string) {
		d.modify(t, p, d.alice, "replace: homeDirectory\nhomeDirectory: "+home+"\n-\nreplace: employeeNumber\nemployeeNumber: "+quota+"\n")
	}
	dial := func() (*ssh.Client, error) {
		return ssh.Dial("tcp", s.addr, &ssh.ClientConfig{
			User: "alice", Auth: []ssh.AuthMethod{ssh.Password(peers.Password("alice"))}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
	}
	quota := func(c *ssh.Client) string {
		session, err := c.NewSession()
		if err != nil {
			return err.Error()
		}
		defer session.Close()
		out, err := session.CombinedOutput("quota")
		return fmt.Sprintf("%s%v", out, err)
	}
	alice := filepath.Join(home, "alice")
	var open *ssh.Client
	for _, tt := range []struct{ home, quota, want string }{
		{alice, "4096", "4.0 KiB"},
		{alice, "lots", "1.0 MiB"},
		{alice, "-1", "1.0 MiB"},
		{"/", "4096", `\"/\" is not below ` + home},
		{home, "4096", `\"` + home + `\" is not below ` + home},
		{alice + "/../../..", "4096", "is not an absolute path in its shortest form"},
	} {
		set(tt.home, tt.quota)
		c, err := dial()
		if err == nil {
			defer c.Close()
			open = c
			if got := quota(c); !strings.Contains(got, tt.want) {
				t.Errorf("home %s, quota %s: %s, want %s", tt.home, tt.quota, got, tt.want)
			}
			continue
		}
		recorded(t, dir, regexp.QuoteMeta(tt.want))
	}
	limits := func(sessions, time string) {
		d.modify(t, p, d.alice, "replace: employeeType\nemployeeType: "+sessions+"\n-\nreplace: title\ntitle: "+time+"\n")
	}
	set(alice, "65536")
	one, err := dial() // the re-checks may have ended those before
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	limits("1", "lots")
	if c, err := dial(); err == nil {
		c.Close()
		t.Error("a second session by an attribute with 1")
	}
	limits("many", "lots")
	if c, err := dial(); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
		open = c
	}
	set(alice, "8192")
	eventually(t, "the smaller quota in the session", func() bool { return strings.Contains(quota(open), "8.0 KiB") })
	set("/", "8192")
	eventually(t, "the session to end with its home", func() bool { _, err := open.NewSession(); return err != nil })
	set(alice, "8192")
	brief, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer brief.Close()
	limits("many", "2s")
	eventually(t, "the session to end with its time", func() bool { _, err := brief.NewSession(); return err != nil })
}
