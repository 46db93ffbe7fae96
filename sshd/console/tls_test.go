package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// newPair writes a certificate with a serial number and its key.
func newPair(t *testing.T, s *Settings, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]pem.Block{s.CertFile: {Type: "CERTIFICATE", Bytes: chain}, s.KeyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLS: the certificate is the one in the file now, and nobody else may read its key.
func TestTLS(t *testing.T) {
	f, dir := newFixture(t), t.TempDir()
	s := &f.Console.Settings
	s.Listen, s.CertFile, s.KeyFile = "10.0.0.5:9443", filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f.handler, ReadHeaderTimeout: time.Minute}
	secure := s.Secure(l)
	go func() { _ = srv.Serve(secure) }()
	defer srv.Close()
	for serial := range int64(2) {
		newPair(t, s, serial+1)
		if errs := s.Check(); len(errs) > 0 {
			t.Fatal(errs)
		}
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != serial+1 {
			t.Errorf("certificate %d, want %d", got, serial+1)
		}
		c.Close()
	}
	if err := os.Chmod(s.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if errs := s.Check(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "key_file: "+s.KeyFile) {
		t.Errorf("a key that everybody may read: %v", errs)
	}
}

// dialed is a listener to which somebody connects all the time.
type dialed struct{ net.Listener }

func (dialed) Accept() (net.Conn, error) {
	c, other := net.Pipe()
	return c, other.Close()
}

// TestConnectionsAreBounded: strangers who only connect are let in up to a number.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(Settings).Secure(dialed{})
		var open []net.Conn
		for range mostConns {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		next := make(chan net.Conn, 1)
		go func() {
			c, _ := l.Accept()
			next <- c
		}()
		synctest.Wait()
		select {
		case <-next:
			t.Errorf("%d connections are open", mostConns+1)
			return
		default:
		}
		open[0].Close()
		(<-next).Close()
	})
}
