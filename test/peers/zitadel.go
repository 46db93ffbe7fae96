package peers

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// A Zitadel is the sample server of ZITADEL's library for OpenID Connect: the protocol
// and its pages are another project's.
type Zitadel struct {
	Issuer           string
	ClientID, Secret string
	CAFile           string
	Password         string // of everybody
	transport        http.RoundTripper
}

// NewZitadel starts one in this process, with people of these names.
func NewZitadel(t testing.TB, names ...string) *Zitadel {
	t.Helper()
	Need(t, "zitadel")
	z := &Zitadel{ClientID: "berth", Secret: rand.Text(), Password: rand.Text()}
	people := map[string]*storage.User{}
	for _, name := range names { // it finds people by their names, and by their ids
		people[name] = &storage.User{ID: name, Username: name, Password: z.Password, Email: name + "@corp.example", EmailVerified: true}
	}
	dir := t.TempDir()
	text, err := json.Marshal(people)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "people"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := storage.StoreFromFile(filepath.Join(dir, "people"))
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]*storage.Client{z.ClientID: storage.DeviceClient(z.ClientID, z.Secret)}
	server := httptest.NewUnstartedServer(nil)
	z.Issuer = "https://" + server.Listener.Addr().String()
	server.Config.Handler = exampleop.SetupServer(z.Issuer, claiming{storage.NewStorageWithClients(users, clients)}, nil, false)
	server.StartTLS()
	t.Cleanup(server.Close)
	z.transport = server.Client().Transport
	z.CAFile = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(z.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return z
}

// claiming puts the claims about a person into ID tokens, as the settings of other
// providers do.
type claiming struct{ *storage.Storage }

func (c claiming) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := c.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return claimingClient{client}, nil
}

type claimingClient struct{ op.Client }

func (claimingClient) IDTokenUserinfoClaimsAssertion() bool { return true }

// SignIn does what a person's browser does with the link of a sign-in: open it, send the
// form with name and password, and press a button. action is allowed or denied.
func (z *Zitadel) SignIn(ctx context.Context, link, name, action string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Transport: z.transport, Jar: jar}
	opened, err := url.Parse(link)
	if err != nil {
		return err
	}
	form := url.Values{"user_code": {opened.Query().Get("user_code")}, "username": {name}, "password": {z.Password}}
	for _, step := range []struct {
		method, url string
		form        url.Values
	}{
		{http.MethodGet, link, nil},
		{http.MethodPost, z.Issuer + "/device/login", form},
		{http.MethodGet, z.Issuer + "/device/confirm?action=" + action, nil},
	} {
		if err := visit(ctx, browser, step.method, step.url, step.form); err != nil {
			return err
		}
	}
	return nil
}

func visit(ctx context.Context, browser *http.Client, method, to string, form url.Values) error {
	r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := browser.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || answer.Request.URL.Query().Has("prompt") { // how it shows an error
		return fmt.Errorf("%s %s: %s, %s\n%s", method, to, answer.Status, answer.Request.URL, page)
	}
	return nil
}
