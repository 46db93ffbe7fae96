package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html/template"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/sshd/oidc"
)

// A sampleProvider is an identity provider for the demonstration (OpenID Connect with the
// device flow). Its page has one button, which signs in as alice.
type sampleProvider struct {
	net.Listener
	server *http.Server
	issuer string
	key    *ecdsa.PrivateKey

	mu      sync.Mutex
	running map[string]*sampleSignIn // by device code
}

// A sampleSignIn is one that is under way.
type sampleSignIn struct {
	code, nonce string
	until       time.Time
	done        bool // the button was pressed
}

const (
	sampleClient = "berth"
	samplePerson = "alice"
	sampleTime   = 5 * time.Minute // for one sign-in
	sampleMost   = 100             // sign-ins
)

// startSampleProvider serves on a free loopback port, and returns the settings of a server
// whose people sign in there. dir gets the certificate, which is made anew.
func startSampleProvider(dir string) (*sampleProvider, oidc.Settings, error) {
	s := oidc.DefaultSettings()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, s, err
	}
	loopback := net.IPv4(127, 0, 0, 1)
	now := time.Now()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Berth demonstration"}, IPAddresses: []net.IP{loopback},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, s, err
	}
	s.CAFile = filepath.Join(dir, "oidc-ca.pem")
	if err := os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, s, err
	}
	p := &sampleProvider{key: key, running: map[string]*sampleSignIn{}}
	if p.Listener, err = net.Listen("tcp", net.JoinHostPort(loopback.String(), "0")); err != nil {
		return nil, s, err
	}
	p.issuer = "https://" + p.Addr().String()
	p.server = &http.Server{
		Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		ErrorLog:  log.New(io.Discard, "", 0), // browsers do not know the certificate, and say so
	}
	go func() { _ = p.server.ServeTLS(p.Listener, "", "") }() // ends with Close
	s.Issuer, s.ClientID = p.issuer, sampleClient
	return p, s, nil
}

func (p *sampleProvider) Close() error { return p.server.Close() }

func (p *sampleProvider) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		sampleAnswer(w, http.StatusOK, map[string]any{
			"issuer": p.issuer, "authorization_endpoint": p.issuer + "/auth", "token_endpoint": p.issuer + "/token", "jwks_uri": p.issuer + "/keys",
			"device_authorization_endpoint": p.issuer + "/device", "id_token_signing_alg_values_supported": []jose.SignatureAlgorithm{jose.ES256},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		sampleAnswer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), Algorithm: string(jose.ES256), Use: "sig"}}})
	})
	mux.HandleFunc("POST /device", p.begin)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /", p.page)
	mux.HandleFunc("POST /", p.press)
	return mux
}

// begin gives a code to the server (RFC 8628, section 3.2).
func (p *sampleProvider) begin(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.running, func(_ string, s *sampleSignIn) bool { return time.Now().After(s.until) })
	if len(p.running) >= sampleMost || r.PostFormValue("client_id") != sampleClient {
		sampleAnswer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	device, code := rand.Text(), rand.Text()
	s := &sampleSignIn{code: code[:4] + "-" + code[4:8], nonce: r.PostFormValue("nonce"), until: time.Now().Add(sampleTime)}
	p.running[device] = s
	sampleAnswer(w, http.StatusOK, map[string]any{
		"device_code": device, "user_code": s.code, "expires_in": int(sampleTime.Seconds()), "interval": 1,
		"verification_uri": p.issuer, "verification_uri_complete": p.issuer + "/?code=" + s.code,
	})
}

var samplePage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><head><title>Berth demonstration</title></head><body>
<h1>Sample identity provider</h1>
{{if .Done}}<p>Signed in as {{.Person}}. You can close this page.</p>
{{else if .Code}}<p>Go on only if you began the login with the code {{.Code}} just now.</p>
<form method="post"><input type="hidden" name="code" value="{{.Code}}"><button>Sign in as {{.Person}}</button></form>
{{else}}<form><label>Code <input name="code" autofocus></label></form>
{{end}}</body></html>
`))

func (p *sampleProvider) page(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var show struct {
		Person, Code string
		Done         bool
	}
	show.Person = samplePerson
	if s := p.find(r); s != nil {
		show.Code, show.Done = s.code, s.done
	}
	_ = samplePage.Execute(w, show) // the browser may have gone
}

// press is the button.
func (p *sampleProvider) press(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	s := p.find(r)
	if s != nil {
		s.done = true
	}
	p.mu.Unlock()
	p.page(w, r)
}

// find returns the sign-in of a form, or nil.
func (p *sampleProvider) find(r *http.Request) *sampleSignIn {
	code := r.FormValue("code")
	for _, s := range p.running {
		if s.code == code && time.Now().Before(s.until) {
			return s
		}
	}
	return nil
}

// token answers the server, which asks until the button is pressed (RFC 8628, section 3.4).
func (p *sampleProvider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	device := r.PostFormValue("device_code")
	s := p.running[device]
	switch {
	case s == nil || time.Now().After(s.until):
		sampleAnswer(w, http.StatusBadRequest, map[string]string{"error": "expired_token"})
		return
	case !s.done:
		sampleAnswer(w, http.StatusBadRequest, map[string]string{"error": "authorization_pending"})
		return
	}
	delete(p.running, device)
	token, err := p.sign(s.nonce)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sampleAnswer(w, http.StatusOK, map[string]string{"access_token": rand.Text(), "token_type": "Bearer", "id_token": token})
}

// sign returns the ID token.
func (p *sampleProvider) sign(nonce string) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.issuer, "aud": sampleClient, "sub": samplePerson, "preferred_username": samplePerson,
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "auth_time": now.Unix(), "nonce": nonce,
	})
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, nil)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

func sampleAnswer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the server may have gone
}

// welcome says how to sign in at the provider.
func (p *sampleProvider) welcome(out io.Writer, r *running) {
	host, port, _ := net.SplitHostPort(r.listeners[0].Addr().String())
	fmt.Fprintf(out, `
Sign in with the browser: press Enter at the question of

  sftp -P %s %s@%s

open the link, and press the button. The provider is %s.
The browser does not know its certificate, and warns about it.
`, port, samplePerson, host, p.issuer)
}
