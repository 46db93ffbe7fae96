package test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// BenchmarkLogins logs in to the built server in front of slapd with 5,000
// people in 500 nested groups, each time as somebody else, eight at once for
// each processor. It reports logins a second, and the CPU time of the server and
// of slapd for each.
//
//	go test -run - -bench Logins -benchtime 3000x ./test
func BenchmarkLogins(b *testing.B) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		b.Fatal(err)
	}
	peers.Need(b, "openldap")
	p, err := peers.StartOpenLDAP(b.TempDir(), peers.Company(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Kill)
	methods := map[string]func(user string) ssh.AuthMethod{
		"password": func(user string) ssh.AuthMethod { return ssh.Password(peers.Password(user)) },
		"key":      func(string) ssh.AuthMethod { return ssh.PublicKeys(signer) },
		"certificate": func(user string) ssh.AuthMethod { // signer is its own authority
			c := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, KeyId: user, ValidPrincipals: []string{user}, ValidBefore: ssh.CertTimeInfinity}
			err := c.SignCert(rand.Reader, signer)
			if err != nil {
				b.Fatal(err)
			}
			certified, err := ssh.NewCertSigner(c, signer)
			if err != nil {
				b.Fatal(err)
			}
			return ssh.PublicKeys(certified)
		},
	}
	authority := filepath.Join(b.TempDir(), "ca.pub")
	if err := os.WriteFile(authority, ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"password", "key", "certificate"} {
		b.Run(name, func(b *testing.B) { benchmarkLogins(b, p, authority, methods[name]) })
	}
}

func benchmarkLogins(b *testing.B, p *peers.Peer, authority string, method func(user string) ssh.AuthMethod) {
	s := serveCompany(b, p, "certificates: {ca_keys: ["+authority+"]}\n")
	var next atomic.Int64
	login := func() error {
		user := fmt.Sprint("u", next.Add(1)*7%peers.CompanyUsers)
		c, err := ssh.Dial("tcp", s.addr, &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{method(user)}, Timeout: time.Minute,
			HostKeyCallback: ssh.InsecureIgnoreHostKey(),
			Config:          ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519}},
		})
		if err != nil {
			return fmt.Errorf("log in as %s: %w", user, err)
		}
		return c.Close()
	}
	if err := login(); err != nil { // connections of the pool, tables of the start
		b.Fatal(err)
	}
	ours, theirs := cpuTime(b, s.cmd.Process.Pid), cpuTime(b, p.PID())
	b.ResetTimer()
	b.SetParallelism(8) // times GOMAXPROCS
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := login(); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(b.N) }
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "logins/s")
	b.ReportMetric(each(cpuTime(b, s.cmd.Process.Pid)-ours), "berth-cpu-ms/login")
	b.ReportMetric(each(cpuTime(b, p.PID())-theirs), "slapd-cpu-ms/login")
}

// serveCompany starts the server with rules for groups that only nesting leads to,
// and more settings.
func serveCompany(b *testing.B, p *peers.Peer, settings ...string) *server {
	b.Helper()
	return serveDirectory(b, plain, p, companyRules+strings.Join(settings, ""))
}

const companyRules = `
  - {name: all, when: {groups: [bench*]}, home: {host: "DIR/home", create: true}}
  - {name: some, when: {groups: [bench9, bench19, bench499]}, folders: [{path: /shared, host: "DIR/home", permissions: [list]}]}
admin: {listen: "127.0.0.1:0"}
events: {file: "DIR/events.jsonl"}
`

// serveDirectory starts a server without the race detector for the people of a directory.
// The settings begin with the rules. DIR in them is a new folder.
func serveDirectory(b testing.TB, program string, p *peers.Peer, settings string) *server {
	b.Helper()
	dir := b.TempDir()
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [DIR/ssh_host_ed25519_key]
directories:
  - {name: company, kind: openldap, urls: [%s], ca_file: %s, base: "%s", bind_dn: "%s", bind_password: %s}
log: {level: warn}
rules:
`, p.LDAPS, p.CAFile, p.Base, p.BindDN, p.BindPassword) + settings
	config := filepath.Join(dir, "berth.yaml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := startServer("env", dir, "BERTH_LOG_LEVEL=warn", program, "serve", "--config", config) // not "trace", as in tests
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.stop)
	return s
}

// cpuTime is what a process has used of the processors (proc(5)).
func cpuTime(b testing.TB, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// The name, in brackets, may hold blanks; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ
}
