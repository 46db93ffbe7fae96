// Package oidc lets people sign in with the browser at the identity provider of their
// company: OpenID Connect by the device authorization grant (RFC 8628). The person opens
// a link, signs in as always there, and the server asks the provider until it has an ID
// token. No password comes to the server.
//
// The package knows no users: a Person is what a token says, and the caller decides who
// that is. Tokens and codes are never logged or stored. Start at Open.
package oidc

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"berth/sshd/privatefile"
)

// Why there is no Person.
var (
	ErrUnavailable = errors.New("the identity provider gave no answer")
	ErrBusy        = errors.New("too many sign-ins under way")
	ErrNotSignedIn = errors.New("nobody signed in") // in time, or the provider or the person refused
	ErrToken       = errors.New("ID token not accepted")
)

// answerTime is how long the provider may take for one answer.
const answerTime = 15 * time.Second

// A Provider is an identity provider. It is safe for concurrent use.
type Provider struct {
	settings  Settings
	directory string
	client    *http.Client

	known atomic.Pointer[metadata] // nil: not asked yet

	mu      sync.Mutex
	running map[netip.Addr]int
	total   int
}

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0, section 3).
type metadata struct {
	*oidc.Provider
	Keys        string   `json:"jwks_uri"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
}

// Open returns the provider of s. directories are the names of those configured. It does
// not ask the provider, because the provider may be unreachable when the server starts.
func Open(s Settings, directories ...string) (*Provider, error) {
	p := &Provider{settings: s, directory: cmp.Or(append([]string{s.Directory}, directories...)...), running: map[netip.Addr]int{}}
	tlsConfig, err := privatefile.ClientTLS(s.CAFile)
	if err != nil {
		return nil, err
	}
	if _, err := p.secret(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns // a provider without HTTP/2 would see a handshake for each question
	p.client = &http.Client{
		Transport: bounded{transport},
		// A redirect could lead to where nobody has proved to be the provider, with the
		// secret of the client.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// bounded reads each answer in bounded time, and no more bytes than answers of
// providers have. The libraries read some answers without a limit, and do not close
// all of them.
type bounded struct{ *http.Transport }

const mostAnswer = 256 << 10 // bytes

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	answer, err := b.Transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(text))
	return answer, nil
}

// secret is read for every sign-in, so that it can be changed.
func (p *Provider) secret() (string, error) {
	if p.settings.ClientSecretFile == "" {
		return "", nil
	}
	line, err := privatefile.FirstLine(p.settings.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("client_secret_file: %s: %w", p.settings.ClientSecretFile, err)
	}
	return line, nil
}

// Timeout is how long a person may take.
func (p *Provider) Timeout() time.Duration { return p.settings.Timeout }

// BrowserOnly reports whether a login asks for no password.
func (p *Provider) BrowserOnly() bool { return p.settings.Prompt == PromptBrowser }

// Directory is the name of the directory that holds the people.
func (p *Provider) Directory() string { return p.directory }

// A SignIn is one that is under way.
type SignIn struct {
	Link     string // which the person opens
	Code     string // which the person types there
	Complete string // a link that has the code in it, or empty

	// Wait asks the provider, as often as it allows, until the person has signed in. A
	// provider that fails or is slow is asked again, less often. Wait ends with ctx, with
	// the code, and after Settings.Timeout. Errors wrap ErrNotSignedIn, ErrToken, or
	// ErrUnavailable. If the last answer was a failure, nobody knows who signed in: that
	// is ErrUnavailable.
	Wait func(ctx context.Context) (Person, error)

	// Close ends the sign-in. Wait must have returned.
	Close func()

	provider *Provider
	config   *oauth2.Config
	known    *metadata
	device   *oauth2.DeviceAuthResponse
	nonce    string
	began    time.Time
}

// Begin asks the provider for a code. source is the address that it is for; if it is not
// valid, only the total is bounded. The caller calls Close in the end. Errors wrap
// ErrBusy or ErrUnavailable.
func (p *Provider) Begin(ctx context.Context, source netip.Addr) (*SignIn, error) {
	end, err := p.count(source)
	if err != nil {
		return nil, err
	}
	s, err := p.begin(ctx)
	if err != nil {
		end()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.Wait, s.Close = s.wait, end
	return s, nil
}

func (p *Provider) begin(ctx context.Context) (*SignIn, error) {
	known, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	secret, err := p.secret()
	if err != nil {
		return nil, err
	}
	s := &SignIn{
		provider: p, nonce: rand.Text(), began: time.Now(),
		config: &oauth2.Config{ClientID: p.settings.ClientID, ClientSecret: secret, Endpoint: known.Endpoint(), Scopes: p.settings.Scopes},
		known:  known,
	}
	s.config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	options := []oauth2.AuthCodeOption{oidc.Nonce(s.nonce)}
	if secret != "" { // a confidential client must prove itself here, too
		s.config.Endpoint.AuthStyle = known.style()
		options = append(options, oauth2.SetAuthURLParam("client_secret", secret))
	}
	if s.device, err = s.config.DeviceAuth(p.with(ctx), options...); err != nil {
		return nil, fmt.Errorf("ask for a code: %w", failure{err})
	}
	if s.device.VerificationURI == "" || s.device.UserCode == "" {
		return nil, errors.New("ask for a code: the answer has no link or no code")
	}
	s.Link, s.Code, s.Complete = s.device.VerificationURI, s.device.UserCode, s.device.VerificationURIComplete
	return s, nil
}

// style returns how a client with a secret proves itself. The library would try both
// ways, and each poll counts.
func (m *metadata) style() oauth2.AuthStyle {
	if len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic") {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// refusals are the errors with which a provider ends a sign-in (RFC 8628, section 3.5).
// Entra ID has a separate error for a person who declines.
var refusals = []string{"access_denied", "authorization_declined", "expired_token"}

func (s *SignIn) wait(ctx context.Context) (Person, error) {
	deadline := s.began.Add(s.provider.settings.Timeout)
	if end := s.device.Expiry; !end.IsZero() && end.Before(deadline) {
		deadline = end
	}
	ctx, cancel := context.WithDeadline(s.provider.with(ctx), deadline)
	defer cancel()
	polls := &pollTransport{RoundTripper: s.provider.client.Transport}
	client := *s.provider.client
	client.Transport = polls
	token, err := s.config.DeviceAccessToken(oidc.ClientContext(ctx, &client), s.device)
	refused, answered := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case err == nil:
		return s.verify(ctx, token)
	case answered && slices.Contains(refusals, refused.ErrorCode):
		return Person{}, fmt.Errorf("%w: the provider answers %s", ErrNotSignedIn, refused.ErrorCode)
	case polls.failed != nil: // err says only that ctx has ended
		return Person{}, fmt.Errorf("%w: %w", ErrUnavailable, polls.failed)
	case errors.Is(err, context.DeadlineExceeded) && !time.Now().Before(deadline), errors.Is(err, context.Canceled):
		return Person{}, fmt.Errorf("%w: %w", ErrNotSignedIn, err)
	}
	return Person{}, fmt.Errorf("%w: %w", ErrUnavailable, failure{err})
}

// A failure is an error of the libraries. Some of these have the whole answer of the
// provider. If that is not an answer of OAuth, it may be long, and repeat what was sent:
// the secret of the client, and codes.
type failure struct{ error }

const mostText = 300 // bytes

func (f failure) Error() string {
	if r, ok := errors.AsType[*oauth2.RetrieveError](f.error); ok && r.ErrorCode == "" {
		return "the provider answers " + r.Response.Status
	}
	text := f.error.Error()
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "") + "…"
	}
	return text
}

func (f failure) Unwrap() error { return f.error }

// A pollTransport sends the requests for a token. After a timeout, a client must ask less
// often and try again (RFC 8628, section 3.5), but the library gives up. So the library gets
// slow_down in place of a failure that may pass. It then makes each pause 5 seconds longer.
type pollTransport struct {
	http.RoundTripper
	failed error // why the last request got no answer; nil: it got one
}

func (p *pollTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := p.RoundTripper.RoundTrip(r)
	if r.Context().Err() != nil { // the sign-in has ended, and err does not tell whether the provider fails
		return answer, err
	}
	if err == nil && (answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests) {
		err = fmt.Errorf("the provider answers %s", answer.Status)
	}
	if p.failed = err; err == nil {
		return answer, nil
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"error": "slow_down"}`)), Request: r,
	}, nil
}

// with returns a ctx whose requests are made by the client of p.
func (p *Provider) with(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.client)
}

// discover returns what the provider says of itself. It is asked once; its keys are read
// again when a token is signed by another one.
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	if known := p.known.Load(); known != nil {
		return known, nil
	}
	provider, err := oidc.NewProvider(p.with(ctx), p.settings.Issuer)
	if err != nil {
		return nil, failure{err}
	}
	known := &metadata{Provider: provider}
	if err := provider.Claims(known); err != nil {
		return nil, err
	}
	if known.Endpoint().DeviceAuthURL == "" {
		return nil, fmt.Errorf("%s has no device flow (device_authorization_endpoint)", p.settings.Issuer)
	}
	for _, u := range []string{known.Endpoint().DeviceAuthURL, known.Endpoint().TokenURL, known.Keys} {
		if !strings.HasPrefix(u, "https://") { // without TLS, anybody on the way could answer as the provider
			return nil, fmt.Errorf("%s: the provider names %q: must be an https URL", p.settings.Issuer, u)
		}
	}
	p.known.Store(known)
	return known, nil
}

// Check asks the provider for its metadata, and reports if it has no device
// flow.
func (p *Provider) Check(ctx context.Context) error {
	_, err := p.discover(ctx)
	return err
}

// networkBits are those of the smallest network that a customer with IPv6 gets.
const networkBits = 64

// count counts a sign-in until end is called.
func (p *Provider) count(source netip.Addr) (end func(), err error) {
	if source = source.Unmap(); source.Is6() { // somebody with one address of a network can use any other address of it
		source = netip.PrefixFrom(source.WithZone(""), networkBits).Masked().Addr()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.total >= p.settings.MaxRunning:
		return nil, fmt.Errorf("%w: %d in all", ErrBusy, p.total)
	case source.IsValid() && p.running[source] >= p.settings.MaxRunningSource:
		return nil, fmt.Errorf("%w: %d of this address or its network", ErrBusy, p.running[source])
	}
	p.total++
	p.running[source]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.total--
		if p.running[source]--; p.running[source] == 0 {
			delete(p.running, source)
		}
	}, nil
}
