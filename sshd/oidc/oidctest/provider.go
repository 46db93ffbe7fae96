// Package oidctest is an identity provider for tests, on a loopback port. It does the
// device flow and nothing else, and does wrong whatever a test wants.
package oidctest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Provider answers as the settings of its fields say. Lock it to change them.
type Provider struct {
	*httptest.Server
	sync.Mutex
	ClientID, Secret string
	CAFile           string // the certificate of the provider

	Answers []string                                     // errors before the token: authorization_pending, slow_down, access_denied, expired_token, or 500
	Claims  map[string]any                               // of the ID token, beside the usual ones, which they replace
	Sign    func(payload []byte) (token string, e error) // nil: with the key
	Polled  int                                          // requests for a token
	Begun   int                                          // requests for a code
	NoKeys  bool                                         // they cannot be read
	Pending bool                                         // nobody signs in
	Wait    int                                          // seconds between two requests for a token; 0: one
	Ends    int                                          // seconds until nobody can sign in with the code; 0: 60

	key   *ecdsa.PrivateKey
	kid   string
	nonce map[string]string // by device code
}

// New starts a provider that ends with the test.
func New(t testing.TB) *Provider {
	p := &Provider{ClientID: "berth", nonce: map[string]string{}}
	p.NewKey(t, "first")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"device_authorization_endpoint": p.URL + "/device", "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.Lock()
		defer p.Unlock()
		if p.NoKeys {
			http.Error(w, "maintenance", http.StatusServiceUnavailable)
			return
		}
		answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.kid, Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /device", p.device)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewUnstartedServer(mux)
	p.EnableHTTP2 = true // as all well-known providers do
	p.StartTLS()
	t.Cleanup(p.Close)
	p.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(p.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// NewKey signs with another key from now on.
func (p *Provider) NewKey(t testing.TB, kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.Lock()
	defer p.Unlock()
	p.key, p.kid = key, kid
}

func (p *Provider) device(w http.ResponseWriter, r *http.Request) {
	p.Lock()
	defer p.Unlock()
	p.Begun++
	if r.PostFormValue("client_id") != p.ClientID || r.PostFormValue("client_secret") != p.Secret {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	code := rand.Text()
	p.nonce[code] = r.PostFormValue("nonce")
	answer(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": "ABCD-EFGH", "expires_in": cmp.Or(p.Ends, 60), "interval": max(1, p.Wait),
		"verification_uri": p.URL + "/activate", "verification_uri_complete": p.URL + "/activate?code=ABCD-EFGH",
	})
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.Lock()
	defer p.Unlock()
	p.Polled++
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != p.ClientID || secret != p.Secret {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	nonce, known := p.nonce[r.PostFormValue("device_code")]
	if !known {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	if len(p.Answers) > 0 {
		first := p.Answers[0]
		p.Answers = p.Answers[1:]
		status := http.StatusBadRequest
		if first == "500" {
			status = http.StatusInternalServerError
		}
		answer(w, status, map[string]string{"error": first})
		return
	}
	if p.Pending {
		answer(w, http.StatusBadRequest, map[string]string{"error": "authorization_pending"})
		return
	}
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "aud": p.ClientID, "sub": "sub-1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"preferred_username": "alice", "nonce": nonce,
	}
	for k, v := range p.Claims {
		claims[k] = v
	}
	payload, err := json.Marshal(claims)
	sign := p.Sign
	if sign == nil {
		sign = func(payload []byte) (string, error) { return SignWith(p.key, p.kid, jose.ES256, payload) }
	}
	var signed string
	if err == nil {
		signed, err = sign(payload)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": "secret-access", "token_type": "Bearer", "id_token": signed})
}

// SignWith returns payload as a token.
func SignWith(key crypto.PrivateKey, kid string, alg jose.SignatureAlgorithm, payload []byte) (string, error) {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		return "", err
	}
	object, err := s.Sign(payload)
	if err != nil {
		return "", err
	}
	return object.CompactSerialize()
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
