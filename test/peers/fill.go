package peers

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"
	"golang.org/x/crypto/ssh"

	"berth/test/fixtures"
)

// A filler writes fixtures into a directory. Its exported fields and methods
// are what the templates may use.
type filler struct {
	Dir string
	IP  string
	RID string // of the group that becomes a primary group
	SID string // of the service account
	Svc string // DN of the service account, for its certificate

	Plain, Secure string // ports

	Host, Services string // of Samba: NetBIOS name, and what the controller does

	now time.Time
}

// Ago returns the generalized time so long before the start.
func (f filler) Ago(d string) (string, error) {
	ago, err := time.ParseDuration(d)
	return f.now.Add(-ago).UTC().Format("20060102150405Z"), err
}

// Key returns the public key of name in OpenSSH's form. The private one is in
// keys/name.
func (f filler) Key(name string) (string, error) {
	path := filepath.Join(f.Dir, "keys", name)
	if b, err := os.ReadFile(path + ".pub"); err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		return "", err
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + name
	return line, os.WriteFile(path+".pub", []byte(line+"\n"), 0o644)
}

// unicodePwd is a password as Active Directory stores it, for LDIF.
func unicodePwd(password string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(`"` + password + `"`)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// entryUUID is the id of a person, the same on every server: two servers that a test
// uses as one directory are replicas, which have the same ids.
func entryUUID(name string) string { return uuid.NewSHA1(uuid.NameSpaceX500, []byte(name)).String() }

// fill writes one fixture file to Dir/to.
func (f filler) fill(from, to string) error { return write(from, filepath.Join(f.Dir, to), f) }

// writeAll writes all files of a fixture below dir.
func writeAll(fixture, dir string, data any) error {
	return fs.WalkDir(fixtures.Files, fixture, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return write(name, filepath.Join(dir, strings.TrimPrefix(name, fixture)), data)
	})
}

// write writes one fixture file, a template for data.
func write(from, to string, data any) error {
	t, err := template.New(path.Base(from)).Funcs(template.FuncMap{"unicodePwd": unicodePwd, "entryUUID": entryUUID}).ParseFS(fixtures.Files, from)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, data); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text.Bytes(), 0o644)
}

// edit writes to Dir/to what is in a file of this machine, with the first of a text replaced.
func (f filler) edit(from, to, old, text string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.Dir, to), []byte(strings.Replace(string(b), old, text, 1)), 0o644)
}

// folders makes folders in Dir that belong to an account of this machine.
func (f filler) folders(owner string, names ...string) error {
	cmd := exec.Command("install", append([]string{"-d", "-o", owner}, names...)...)
	cmd.Dir = f.Dir
	_, err := output(cmd)
	return err
}

// certificates writes tls/ca.pem, tls/server.pem and tls/server.key: an
// authority of its own and a server on addresses or with other names, good from an hour ago on. It also
// writes tls/svc.pem and tls/svc.key for the service account of OpenLDAP and 389 DS.
func (f filler) certificates(addresses ...string) error {
	dir := filepath.Join(f.Dir, "tls")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	subject, err := subjectOf(f.Svc)
	if err != nil {
		return err
	}
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Berth test authority"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	server := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost", "ldap.example.test", "dc1.ad.example.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	for _, a := range addresses {
		if ip := net.ParseIP(a); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, a)
		}
	}
	client := &x509.Certificate{
		RawSubject: subject, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	var caKey *ecdsa.PrivateKey
	for i, c := range []struct {
		name string
		*x509.Certificate
	}{{"ca", authority}, {"server", server}, {"svc", client}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		caKey = cmp.Or(caKey, key)
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(int64(i+1)), f.now.Add(-time.Hour), f.now.Add(30*24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c.Certificate, authority, &key.PublicKey, caKey)
		if err != nil {
			return err
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, c.name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
			os.WriteFile(filepath.Join(dir, c.name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600),
		); err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
	}
	return nil
}

// subjectOf returns the subject of a certificate for a DN.
func subjectOf(dn string) ([]byte, error) {
	types := map[string]asn1.ObjectIdentifier{
		"cn": {2, 5, 4, 3}, "ou": {2, 5, 4, 11}, "uid": {0, 9, 2342, 19200300, 100, 1, 1}, "dc": {0, 9, 2342, 19200300, 100, 1, 25},
	}
	var subject pkix.RDNSequence
	for _, part := range slices.Backward(strings.Split(dn, ",")) {
		name, value, _ := strings.Cut(part, "=")
		if oid, known := types[name]; known {
			subject = append(subject, pkix.RelativeDistinguishedNameSET{{Type: oid, Value: value}})
		}
	}
	return asn1.Marshal(subject)
}
