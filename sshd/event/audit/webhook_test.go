package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A hook is a server that takes CloudEvents.
type hook struct {
	t      *testing.T
	secret string

	mu     sync.Mutex
	status int // of all answers; 0: as it should be
	ids    map[string]string
	paths  []string
	twice  int
}

type cloudEvent struct {
	SpecVersion, ID, Source, Type string
	Time                          time.Time
	DataContentType               string
	Data                          struct{ Type, Path, Chain string }
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it has gone away
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.status != 0 {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(h.status)
		return
	}
	var at int64
	var got string
	fmt.Sscanf(r.Header.Get("Berth-Signature"), "t=%d,v1=%s", &at, &got)
	mac := hmac.New(sha256.New, []byte(h.secret))
	fmt.Fprintf(mac, "%d.%s", at, body)
	if want := hex.EncodeToString(mac.Sum(nil)); got != want || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
		h.t.Errorf("signature %q, want %s", r.Header.Get("Berth-Signature"), want)
	}
	if r.Header.Get("Authorization") != "Bearer token-1" || r.Header.Get("Content-Type") != "application/cloudevents-batch+json; charset=UTF-8" || r.URL.Path != "/in" {
		h.t.Errorf("%s: headers %v", r.URL.Path, r.Header)
	}
	var batch []cloudEvent
	if err := json.Unmarshal(body, &batch); err != nil || len(batch) == 0 || len(batch) > 7 {
		h.t.Errorf("%d events, %v: %s", len(batch), err, body)
	}
	for _, e := range batch {
		if e.SpecVersion != "1.0" || e.ID != e.Data.Chain || e.Source != "/berth/node%201" || e.Type != "berth."+e.Data.Type || e.Time.IsZero() || e.DataContentType != "application/json" {
			h.t.Errorf("got %+v", e)
		}
		if before, ok := h.ids[e.ID]; ok {
			if h.twice++; before != e.Data.Path {
				h.t.Errorf("two events with the id %s", e.ID)
			}
			continue
		}
		if h.ids[e.ID] = e.Data.Path; e.Data.Path != "" {
			h.paths = append(h.paths, e.Data.Path)
		}
	}
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

func (h *hook) has(path string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.paths, path)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestWebhook has a real server that is stopped, refuses events and is started
// again. Meanwhile the record grows over several files.
func TestWebhook(t *testing.T) {
	s, key := chained(t), newKey(t)
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	h := &hook{t: t, secret: "secret-1", ids: map[string]string{}}
	server := httptest.NewUnstartedServer(h)
	address := server.Listener.Addr().String()
	server.StartTLS()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	s.Node, s.Compress = "node 1", true
	s.Webhook = Webhook{
		URL: "https://" + address + "/in", CAFile: put("ca.pem", string(ca)), TokenFile: put("token", "token-1\n"),
		HMACSecretFile: put("hmac", "secret-1\n"), Batch: 7,
	}
	if errs := s.Check(); len(errs) > 0 {
		t.Fatal(errs)
	}
	f := openSigned(t, s, key)
	w, err := f.ForwardToWebhook(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	emit := func() {
		for range 60 {
			f.Emit(numbered(n))
			n++
		}
	}
	failing := func(want string) {
		t.Helper()
		eventually(t, want, func() bool { h := w.Health(); return h.Err != nil && strings.Contains(h.Err.Error(), want) })
		if got := w.Health(); got.Waiting == 0 || got.Oldest.IsZero() || strings.Contains(got.Err.Error(), "/in") {
			t.Errorf("health: %+v", got)
		}
	}
	emit()
	eventually(t, "the first events", func() bool { return h.has(numbered(n - 1).Path) })
	h.answer(http.StatusServiceUnavailable)
	emit()
	failing("503 Service Unavailable")
	h.answer(http.StatusFound)
	failing("302 Found") // and not followed
	h.answer(0)
	eventually(t, "events after refusals", func() bool { return h.has(numbered(n - 1).Path) })
	server.CloseClientConnections()
	server.Close()
	emit()
	failing("connection refused")
	closeFile(t, f) // the receiver cannot be reached, and the server stops

	f = openSigned(t, s, key)
	if w, err = f.ForwardToWebhook(s, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	emit()
	failing("connection refused")
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again := httptest.NewUnstartedServer(h)
	again.Listener.Close()
	again.Listener = l
	again.StartTLS()
	defer again.Close()
	eventually(t, "events after the server is back", func() bool { return h.has(numbered(n - 1).Path) })
	closeFile(t, f)
	// An answer may have been under way when the server closed its connections.
	if !slices.Equal(h.paths, numberedTo(n)) || h.twice > s.Webhook.Batch {
		t.Errorf("%d events, %d twice; want %d in order", len(h.paths), h.twice, n)
	}
	if len(glob(t, s, "*.gz")) < 3 {
		t.Error("no file became full meanwhile")
	}

	// Nobody but the server that the authority vouches for gets anything.
	s.Webhook.CAFile = ""
	f = openSigned(t, s, key)
	if w, err = f.ForwardToWebhook(s, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	emit()
	failing("certificate signed by unknown authority")
	closeFile(t, f)
	if h.has(numbered(n - 1).Path) {
		t.Error("events went to a server that nobody vouches for")
	}
}

func TestWebhookSettings(t *testing.T) {
	good := DefaultSettings()
	good.File, good.Webhook.URL = "/var/log/berth/events.jsonl", "https://siem.example/in"
	for name, tt := range map[string]struct {
		change func(s *Settings)
		want   string
	}{
		"good":                  {func(*Settings) {}, ""},
		"loopback":              {func(s *Settings) { s.Webhook.URL = "http://127.0.0.1:8080/" }, ""},
		"IPv6 loopback":         {func(s *Settings) { s.Webhook.URL = "http://[::1]:8080/" }, ""},
		"allowed":               {func(s *Settings) { s.Webhook.URL, s.Webhook.Insecure = "http://siem.example/", true }, ""},
		"in the clear":          {func(s *Settings) { s.Webhook.URL = "http://siem.example/" }, "webhook.url: must be https://"},
		"name of loopback":      {func(s *Settings) { s.Webhook.URL = "http://localhost.example/" }, "webhook.url: must be https://"},
		"no scheme":             {func(s *Settings) { s.Webhook.URL = "siem.example" }, "webhook.url: must be such as"},
		"no address":            {func(s *Settings) { s.Webhook.URL = "https://%zz" }, "webhook.url: must be such as"},
		"a password":            {func(s *Settings) { s.Webhook.URL = "https://u:hidden@siem.example/" }, "webhook.url: must be such as"},
		"no batch":              {func(s *Settings) { s.Webhook.Batch = 0 }, "webhook.batch: 0: must be"},
		"unknown type":          {func(s *Settings) { s.Webhook.Types = []string{"login"} }, `webhook.types: "login": matches no type`},
		"no file":               {func(s *Settings) { s.File = "" }, "webhook: needs events.file"},
		"a stream":              {func(s *Settings) { s.File = "stdout" }, "webhook: needs events.file"},
		"no chain":              {func(s *Settings) { s.Chain = false }, "events.chain"},
		"unknown type (syslog)": {func(s *Settings) { s.Syslog.Address, s.Syslog.Types = "unix:///x", []string{"x"} }, "syslog.types: "},
	} {
		s := good
		tt.change(&s)
		var got string
		for _, err := range s.Check() {
			got += err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || strings.Contains(got, "hidden") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(w *Webhook){
		"webhook.ca_file: ":                           func(w *Webhook) { w.CAFile = filepath.Join(dir, "none") },
		"webhook.token_file: " + open + ": mode 0644": func(w *Webhook) { w.TokenFile = open },
		"webhook.hmac_secret_file: ":                  func(w *Webhook) { w.HMACSecretFile = filepath.Join(dir, "none") },
	} {
		s := good
		change(&s.Webhook)
		if err := s.CheckWebhook(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
