package embedded_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/directory/embedded"
	"berth/directory/ldap"
)

// BenchmarkFind searches 50,000 people by what a name begins with, as the web page for IT
// does, for at most 1,000. It does so through the client.
func BenchmarkFind(b *testing.B) {
	var text strings.Builder
	text.WriteString("dn: dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: org\no: Org\n\n")
	for i := range 50_000 {
		fmt.Fprintf(&text, `dn: uid=u%05[1]d,dc=org
objectClass: inetOrgPerson
objectClass: posixAccount
objectClass: ldapPublicKey
uid: u%05[1]d
cn: Given%[1]d Müller%[1]d
sn: Müller%[1]d
givenName: Given%[1]d
displayName: Given%[1]d Müller%[1]d
mail: u%05[1]d@example.org
uidNumber: %[1]d
gidNumber: 100
homeDirectory: /home/u%05[1]d
loginShell: /bin/bash
departmentNumber: %[1]d
sshPublicKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1pEn8ZrUlTsCFAyTslGOfgn3lY9Tes2fQBcYuDOYeB

`, i)
	}
	file := filepath.Join(b.TempDir(), "people.ldif")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	server, err := embedded.Open(embedded.Settings{LDIF: file}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	dn, secret := server.Service()
	c, err := ldap.OpenLocal(ldap.Settings{
		Kind: "embedded", Base: server.Base(), BindDN: dn, BindPassword: secret, RequestTimeout: time.Minute,
	}, server.Dial, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	for _, begin := range []string{"u0", "u49", "u01234", "müller4", "none"} {
		b.Run(begin, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, _, err := c.Find(b.Context(), begin, 1000); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()*1e3/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpuTime is what this process has used of CPUs. Other programs do not change it as much
// as the time that passes.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
