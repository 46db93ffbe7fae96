package oidc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"berth/sshd/oidc/oidctest"
)

// A trouble answers a request in place of the provider.
type trouble func(*http.Request) (*http.Response, error)

func status(code int) trouble {
	return func(*http.Request) (*http.Response, error) {
		answer := httptest.NewRecorder()
		answer.WriteHeader(code)
		return answer.Result(), nil
	}
}

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// stuck sends the head of an answer and a part of its body.
func stuck(r *http.Request) (*http.Response, error) {
	read, write := io.Pipe()
	go func() {
		write.Write([]byte(`{"error":`))
		<-r.Context().Done()
		write.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: read, Request: r}, nil
}

func refused(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }

// near is a way to a provider without a network, so that a test can simulate time (package
// synctest waits for no network).
type near struct {
	at      *oidctest.Provider
	path    string // of the requests that trouble answers
	trouble trouble
	times   int         // how many requests trouble answers, before the provider does
	asked   []time.Time // when there were requests for path
}

func (n *near) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == n.path {
		if n.asked = append(n.asked, time.Now()); len(n.asked) <= n.times {
			return n.trouble(r)
		}
	}
	answer := httptest.NewRecorder()
	n.at.Config.Handler.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// openNear is like open, with the provider of n.
func openNear(t *testing.T, n *near) *Provider {
	t.Helper()
	p := open(t, n.at, nil)
	way := &http.Transport{Protocols: new(http.Protocols)}
	way.Protocols.SetHTTP1(true)
	way.RegisterProtocol("https", n)
	p.client.Transport = bounded{way}
	return p
}

const always = 1000

// TestTroublePasses: a provider that fails for a moment, or is slow, does not end a sign-in.
// It is asked less often then.
func TestTroublePasses(t *testing.T) {
	for name, trouble := range map[string]trouble{
		"500": status(http.StatusInternalServerError), "503": status(http.StatusServiceUnavailable), "429": status(http.StatusTooManyRequests),
		"refused": refused, "silent": silent, "stuck": stuck,
	} {
		t.Run(name, func(t *testing.T) {
			n := &near{at: oidctest.New(t), path: "/token", trouble: trouble, times: 2}
			synctest.Test(t, func(t *testing.T) {
				if who, err := signIn(t, openNear(t, n)); err != nil || who.Name != "alice" {
					t.Fatalf("got %+v, %v", who, err)
				}
				if len(n.asked) != 3 {
					t.Fatalf("the provider was asked %d times, want 3", len(n.asked))
				}
				first, second := n.asked[1].Sub(n.asked[0]), n.asked[2].Sub(n.asked[1])
				if first < 5*time.Second || second < first+5*time.Second {
					t.Errorf("the pauses were %v and %v, want each 5s longer than before", first, second)
				}
			})
		})
	}
}

// TestTroubleStays: a sign-in ends in time although there is no answer. That is not the
// fault of the person, unless the provider answers again before the end.
func TestTroubleStays(t *testing.T) {
	for _, tt := range []struct {
		name    string
		trouble trouble
		times   int
		stay    time.Duration // of the client
		took    time.Duration
		want    error
	}{
		{"500", status(http.StatusInternalServerError), always, time.Hour, time.Minute, ErrUnavailable},
		{"refused", refused, always, time.Hour, time.Minute, ErrUnavailable},
		{"silent", silent, always, time.Hour, time.Minute, ErrUnavailable},
		{"silent, and the client leaves", silent, always, 20 * time.Second, 20 * time.Second, ErrUnavailable},
		{"back, and nobody signs in", refused, 2, time.Hour, time.Minute, ErrNotSignedIn},
		{"back, and the client leaves", refused, 1, 20 * time.Second, 20 * time.Second, ErrNotSignedIn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &near{at: oidctest.New(t), path: "/token", trouble: tt.trouble, times: tt.times}
			n.at.Pending = true // its codes end after a minute
			synctest.Test(t, func(t *testing.T) {
				s, err := openNear(t, n).Begin(t.Context(), netip.Addr{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				ctx, gone := context.WithCancel(t.Context())
				time.AfterFunc(tt.stay, gone)
				began := time.Now()
				who, err := s.Wait(ctx)
				if took := time.Since(began); who != (Person{}) || !errors.Is(err, tt.want) || took != tt.took {
					t.Errorf("got %+v, %v after %v, want %v after %v", who, err, took, tt.want, tt.took)
				}
				for _, other := range []error{ErrUnavailable, ErrNotSignedIn, ErrToken} {
					if errors.Is(err, other) != (other == tt.want) {
						t.Errorf("%v is also %v", err, other)
					}
				}
			})
		})
	}
}

// TestRefusalAfterTrouble: a provider that refuses is not asked again, even if it failed
// before.
func TestRefusalAfterTrouble(t *testing.T) {
	for answer, want := range map[string]error{"access_denied": ErrNotSignedIn, "invalid_grant": ErrUnavailable} {
		n := &near{at: oidctest.New(t), path: "/token", trouble: refused, times: 1}
		n.at.Answers = slices.Repeat([]string{answer}, always)
		synctest.Test(t, func(t *testing.T) {
			if who, err := signIn(t, openNear(t, n)); who != (Person{}) || !errors.Is(err, want) || len(n.asked) != 2 {
				t.Errorf("%s: got %+v, %v, and the provider was asked %d times, want %v and 2", answer, who, err, len(n.asked), want)
			}
		})
	}
}

// TestSlowProvider: no question waits longer than answerTime for its answer, and the person
// has not failed then.
func TestSlowProvider(t *testing.T) {
	for _, tt := range []struct {
		path  string
		begun bool // the person got a link
		most  time.Duration
	}{
		{"/.well-known/openid-configuration", false, answerTime},
		{"/device", false, answerTime},
		{"/keys", true, time.Second + 2*answerTime}, // after the token; keysAway asks again
	} {
		for name, trouble := range map[string]trouble{"silent": silent, "stuck": stuck} {
			t.Run(tt.path+" "+name, func(t *testing.T) {
				n := &near{at: oidctest.New(t), path: tt.path, trouble: trouble, times: always}
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					who, err := signIn(t, openNear(t, n))
					if took := time.Since(began); who != (Person{}) || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrToken) || took > tt.most {
						t.Errorf("got %+v, %v after %v, want ErrUnavailable after at most %v", who, err, took, tt.most)
					}
					if begun := n.at.Begun > 0; begun != tt.begun {
						t.Errorf("the person got a link: %t, want %t", begun, tt.begun)
					}
				})
			})
		}
	}
}
