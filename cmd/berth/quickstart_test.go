package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"berth/config"
	"berth/test/peers"
)

// The password of the service account in the pages.
const quickStartSecret = "choose-a-long-one"

// A quickStart adds the LDIF of a page to a real server and calls its berth init.
type quickStart struct {
	page   string
	server *strings.Replacer // names of the page -> those of the server
	add    []string          // adds LDIF on standard input to the directory
	config []string          // the same for cn=config
}

func (q quickStart) run(t *testing.T, blocks int) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/" + q.page)
	if err != nil {
		t.Fatal(err)
	}
	ldif := regexp.MustCompile("(?s)```ldif\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(ldif) != blocks {
		t.Errorf("%d blocks of LDIF, want %d", len(ldif), blocks)
	}
	for _, m := range ldif {
		args := q.add
		if strings.Contains(m[1], ",cn=config\n") {
			args = q.config
		}
		pipe(t, q.server.Replace(m[1]), args)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(quickStartSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^    berth init (.*)$`).FindStringSubmatch(string(page))
	if command == nil {
		t.Fatal("the page has no berth init")
	}
	out, err := initialize(t, append(strings.Fields(q.server.Replace(command[1])), "--password-file", password)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// pipe runs a command with text as its standard input.
func pipe(t *testing.T, text string, args []string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s\n%s", args, err, out, text)
	}
}

// company is a directory as somebody may have it before Berth comes.
const company = `dn: ou=people,%[1]s
objectClass: organizationalUnit
ou: people

dn: ou=groups,%[1]s
objectClass: organizationalUnit
ou: groups
`

const staff = `dn: ou=services,%[1]s
objectClass: organizationalUnit
ou: services

dn: uid=%[2]s,ou=people,%[1]s
objectClass: inetOrgPerson
uid: %[2]s
cn: Alice
sn: A
userPassword: Alice-Passw0rd

dn: cn=staff,ou=groups,%[1]s
objectClass: groupOfNames
cn: staff
member: uid=%[2]s,ou=people,%[1]s
`

// TestQuickStartOpenLDAP has a slapd with cn=config, as packages set it up.
func TestQuickStartOpenLDAP(t *testing.T) {
	certificates := peers.OpenLDAP(t)
	dir := t.TempDir()
	schema, err := filepath.Abs("../../test/fixtures/openldap/openssh-lpk.schema")
	if err != nil {
		t.Fatal(err)
	}
	const suffix = "dc=corp,dc=example"
	conf := strings.NewReplacer("DIR", dir, "CERTS", certificates.Dir+"/tls", "SCHEMA", schema).Replace(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include SCHEMA
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
TLSCACertificateFile CERTS/ca.pem
TLSCertificateFile CERTS/server.pem
TLSCertificateKeyFile CERTS/server.key
database config
access to * by dn.exact=gidNumber=` + fmt.Sprint(os.Getgid()) + `+uidNumber=` + fmt.Sprint(os.Getuid()) + `,cn=peercred,cn=external,cn=auth manage
database mdb
suffix ` + suffix + `
rootdn cn=admin,` + suffix + `
rootpw admin-Passw0rd
directory DIR/db
maxsize 16777216
index objectClass,cn,uid eq
overlay ppolicy
`)
	if err := os.WriteFile(dir+"/slapd.conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe(t, "", []string{"mkdir", dir + "/db", dir + "/slapd.d"})
	pipe(t, "dn: "+suffix+"\nobjectClass: domain\ndc: corp\n\n"+fmt.Sprintf(company, suffix)+"\n"+fmt.Sprintf(staff, suffix, "alice"), []string{"slapadd", "-q", "-f", dir + "/slapd.conf"})
	pipe(t, "", []string{"slaptest", "-f", dir + "/slapd.conf", "-F", dir + "/slapd.d"})
	port := freePort(t, "127.0.0.1")
	url, socket := "ldap://127.0.0.1:"+port, "ldapi://"+strings.ReplaceAll(dir, "/", "%2F")+"%2Fldapi"
	slapd := exec.Command("slapd", "-F", dir+"/slapd.d", "-h", url+"/ "+socket, "-d", "0")
	if err := slapd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		slapd.Process.Kill()
		slapd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		nc, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			nc.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	t.Setenv("LDAPTLS_CACERT", certificates.CAFile)
	q := quickStart{
		page:   "quickstart-openldap.md",
		server: strings.NewReplacer("ldap://ldap1.corp.example", url, "/etc/berth/ldap-ca.pem", certificates.CAFile),
		add:    []string{"ldapadd", "-x", "-ZZ", "-H", url, "-D", "cn=admin," + suffix, "-w", "admin-Passw0rd"},
		config: []string{"ldapadd", "-Y", "EXTERNAL", "-H", socket},
	}
	out := q.run(t, 5)
	for _, want := range []string{"found    openldap at ", "people below " + suffix + "\n", "the group cn=staff,ou=groups," + suffix + ", which lists 1 member\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	wantAlice(t, "alice")
}

// TestQuickStart389DS adds to the directory of the fixture.
func TestQuickStart389DS(t *testing.T) {
	p := peers.DS389(t)
	t.Setenv("LDAPTLS_CACERT", p.CAFile)
	add := []string{"ldapadd", "-x", "-H", p.LDAPS, "-D", "cn=Directory Manager", "-w", "Manager-Passw0rd"}
	pipe(t, fmt.Sprintf(staff, p.Base, "quick"), add)
	pipe(t, "dn: cn=config\nchangetype: modify\nreplace: passwordMustChange\npasswordMustChange: off\n", add)
	q := quickStart{
		page:   "quickstart-389ds.md",
		server: strings.NewReplacer("ldaps://ds1.corp.example", p.LDAPS, "/etc/berth/ds-ca.pem", p.CAFile, "dc=corp,dc=example", p.Base, "uid=alice", "uid=quick"),
		add:    add,
	}
	out := q.run(t, 3)
	for _, want := range []string{"found    389ds at ", "the group cn=staff,ou=groups," + p.Base + ", which lists 1 member\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	wantAlice(t, "quick")
}

// wantAlice wants a home and the key of the pages for a person.
func wantAlice(t *testing.T, name string) {
	t.Helper()
	out := run(t, "berth explain "+name+" --config berth.yaml")
	for _, want := range []string{"/homes/" + name, "SHA256:"} {
		if !strings.Contains(out, want) {
			t.Errorf("explain does not have %q:\n%s", want, out)
		}
	}
}

// TestInitAsksDNS gives init only the domain and a name server, which names a host
// and the port of plain LDAP. Init must connect to the port of LDAPS on that host.
func TestInitAsksDNS(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can listen on port 636")
	}
	p := peers.OpenLDAP(t)
	host := fmt.Sprintf("127.%d.%d.7", 1+os.Getpid()%200, os.Getpid()/200%250)
	forward(t, net.JoinHostPort(host, "636"), strings.TrimPrefix(p.LDAPS, "ldaps://"))
	server := nameServer(t, "_ldap._tcp.example.test. 60 IN SRV 0 100 389 ldap.example.test.", "ldap.example.test. 60 IN A "+host)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(p.BindPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--ca-file", p.CAFile, "--account", p.BindDN, "--password-file", password, "--group", "middle"}
	out, err := initialize(t, append(flags, "--url", "example.test", "--resolver", server)...)
	if err != nil || !strings.Contains(out, "found    openldap at ldaps://ldap.example.test") {
		t.Fatalf("%v\n%s", err, out)
	}
	cfg, err := config.Load("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d := cfg.Directories[0]; d.Domain != "example.test" || d.Resolver != server || len(d.URLs) > 0 {
		t.Errorf("written: %+v", d)
	}
	if out := run(t, "berth explain alice --config berth.yaml"); !strings.Contains(out, "/homes/alice") {
		t.Errorf("alice gets no home:\n%s", out)
	}
	out, err = initialize(t, append(flags, "--url", "gone.test", "--resolver", server)...)
	if err == nil || !strings.Contains(err.Error(), "ask DNS for _ldap._tcp.gone.test: DNS has no such records") {
		t.Errorf("a domain that DNS does not have: %v\n%s", err, out)
	}
}

// forward passes connections to address on to another one.
func forward(t *testing.T, address, to string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				other, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer other.Close()
				go io.Copy(other, nc)
				io.Copy(nc, other)
			}()
		}
	}()
}

// nameServer answers with records, which are written as in a zone file.
func nameServer(t *testing.T, records ...string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		reply := new(dns.Msg).SetRcode(question, dns.RcodeNameError)
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				t.Error(err)
				return
			}
			if q := question.Question[0]; strings.EqualFold(record.Header().Name, q.Name) {
				if reply.Rcode = dns.RcodeSuccess; record.Header().Rrtype == q.Qtype {
					reply.Answer = append(reply.Answer, record)
				}
			}
		}
		w.WriteMsg(reply)
	})
	srv := &dns.Server{PacketConn: pc, Handler: answer}
	go srv.ActivateAndServe()
	t.Cleanup(func() { srv.Shutdown() })
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(pc.LocalAddr().(*net.UDPAddr).Port))
}
