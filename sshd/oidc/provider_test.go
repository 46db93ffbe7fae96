package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"berth/sshd/oidc/oidctest"
)

// before has h answer the requests of a path.
func before(at *oidctest.Provider, path string, h http.HandlerFunc) {
	all := at.Config.Handler
	at.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			h(w, r)
			return
		}
		all.ServeHTTP(w, r)
	})
}

// TestRedirects: only the provider is asked, wherever its answers redirect to.
func TestRedirects(t *testing.T) {
	for _, path := range []string{"/.well-known/openid-configuration", "/device", "/token", "/keys"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			at := oidctest.New(t)
			genuine := at.Config.Handler
			var asked atomic.Int32
			elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				genuine.ServeHTTP(w, r)
			}))
			t.Cleanup(elsewhere.Close)
			before(at, path, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+path, http.StatusTemporaryRedirect)
			})
			if who, err := signIn(t, open(t, at, nil)); err == nil {
				t.Errorf("%+v has signed in", who)
			}
			if n := asked.Load(); n > 0 {
				t.Errorf("another server was asked %d times", n)
			}
		})
	}
}

// TestProviderNames: all that the provider names must be asked by https.
func TestProviderNames(t *testing.T) {
	for _, name := range []string{"token_endpoint", "jwks_uri", "device_authorization_endpoint"} {
		at := oidctest.New(t)
		all := at.Config.Handler
		before(at, "/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			all.ServeHTTP(answer, r)
			says := map[string]any{}
			if err := json.Unmarshal(answer.Body.Bytes(), &says); err != nil {
				t.Error(err)
			}
			says[name] = strings.Replace(says[name].(string), "https:", "http:", 1)
			_ = json.NewEncoder(w).Encode(says)
		})
		if err := open(t, at, nil).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "must be an https URL") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLongAnswer: an answer without an end does not fill the memory, nor the events.
func TestLongAnswer(t *testing.T) {
	at := oidctest.New(t)
	var sent atomic.Int64
	before(at, "/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		for part := bytes.Repeat([]byte("x"), 1<<20); sent.Load() < 100<<20; {
			n, err := w.Write(part)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	err := open(t, at, nil).Check(t.Context())
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "502") {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
	if n := sent.Load(); n >= 100<<20 {
		t.Errorf("%d bytes were read", n)
	}
}

// TestErrorPages: an answer that is not one of OAuth may be long, and may repeat what was
// sent to the provider. Events have its status only.
func TestErrorPages(t *testing.T) {
	for _, path := range []string{"/device", "/token"} {
		for _, kind := range []string{"text/html", "text/plain", "application/json"} {
			t.Run(path+" "+kind, func(t *testing.T) {
				t.Parallel()
				at := oidctest.New(t)
				at.Secret = "s3cret-of-client"
				file := filepath.Join(t.TempDir(), "secret")
				if err := os.WriteFile(file, []byte(at.Secret+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				before(at, path, func(w http.ResponseWriter, r *http.Request) {
					sent, _ := io.ReadAll(r.Body)
					w.Header().Set("Content-Type", kind)
					w.WriteHeader(http.StatusForbidden)
					_ = json.NewEncoder(w).Encode(map[string]string{"request": string(sent), "page": strings.Repeat("x", 10_000)})
				})
				_, err := signIn(t, open(t, at, func(s *Settings) { s.ClientSecretFile = file }))
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "403") {
					t.Fatalf("%v, want ErrUnavailable with the status", err)
				}
				if text := err.Error(); len(text) > 1000 || strings.Contains(text, at.Secret) || strings.Contains(text, "device_code") {
					t.Errorf("the error has %d bytes and begins with %.200s", len(text), text)
				}
			})
		}
	}
}
