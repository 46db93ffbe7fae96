// Package console is the web page for IT: who is logged in, what is transferred, what has
// happened; operators end sessions and drain the server. People log in with the password
// of the directory, by the same decision as over SSH. Start at Console.
package console

import (
	"cmp"
	"crypto/tls"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"path"
	"regexp"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"

	"berth/policy"
	"berth/policy/review"
	"berth/sshd/admin"
	"berth/sshd/check"
	"berth/sshd/event"
	"berth/sshd/event/audit"
	"berth/sshd/login"
	"berth/sshd/privatefile"
)

// The services that rules list for those who may use the console.
const (
	read    = "console_read"
	operate = "console_operate"
)

// Settings says where the console is.
type Settings struct {
	Listen      string        `mapstructure:"listen"`       // address and port, such as 10.0.0.5:9443; empty: there is no console
	CertFile    string        `mapstructure:"cert_file"`    // TLS certificate with its chain, in PEM; read at each connection. Only a loopback address needs none
	KeyFile     string        `mapstructure:"key_file"`     // its private key, in PEM
	Idle        time.Duration `mapstructure:"idle"`         // a session ends after this time without a page
	SessionTime time.Duration `mapstructure:"session_time"` // a session ends this long after its login
}

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{Idle: 15 * time.Minute, SessionTime: 8 * time.Hour}
}

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
	wrong.If(s.Idle <= 0, "idle: %v: must be positive, such as 15m", s.Idle)
	wrong.If(s.SessionTime <= 0, "session_time: %v: must be positive, such as 15m", s.SessionTime)
	if s.Listen == "" {
		return wrong
	}
	host, _, err := net.SplitHostPort(s.Listen)
	addr, parseErr := netip.ParseAddr(host)
	switch {
	case err != nil || parseErr != nil:
		wrong.If(true, "listen: %q: must be an IP address and a port, such as 127.0.0.1:9443", s.Listen)
	case s.CertFile == "" && s.KeyFile == "":
		wrong.If(!addr.IsLoopback(), "cert_file: missing: passwords would be sent in the clear to %s: name a certificate, or listen on a loopback address", s.Listen)
	default:
		_, err := s.certificate()
		wrong.If(err != nil, "%w", err)
	}
	return wrong
}

const mostPEM = 1 << 20 // bytes

// certificate reads the files. Nobody else may read the key.
func (s *Settings) certificate() (*tls.Certificate, error) {
	chain, err := privatefile.Read(s.CertFile, privatefile.AllRead, mostPEM)
	if err != nil {
		return nil, fmt.Errorf("cert_file: %s: %w", s.CertFile, err)
	}
	key, err := privatefile.Read(s.KeyFile, privatefile.GroupReads, mostPEM)
	if err != nil {
		return nil, fmt.Errorf("key_file: %s: %w", s.KeyFile, err)
	}
	c, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("cert_file: %s with key_file %s: %w", s.CertFile, s.KeyFile, err)
	}
	return &c, nil
}

// mostConns may be open at once. Strangers must not use up the memory and the descriptors
// of the process: its sessions matter more than its console.
const mostConns = 2000

// Secure bounds the connections of l, and puts TLS over it if there is a certificate.
func (s *Settings) Secure(l net.Listener) net.Listener {
	l = netutil.LimitListener(l, mostConns)
	if s.CertFile == "" {
		return l
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() },
	})
}

// Operators are the questions and commands of the console to the server.
type Operators interface {
	Sessions() []admin.Session
	Nodes(t admin.Task) ([]admin.Done, error)
	Kick(by admin.Caller, who string) []admin.Session
	Drain(by admin.Caller)
}

// A Console answers browsers. Set the fields, then use Handler and Watch.
type Console struct {
	Settings
	Gate      *login.Gate
	Operators Operators
	Events    event.Sink
	History   *History // receives all events
	File      string   // events file; empty: there is none
	Node      string
	Recheck   time.Duration // how often people with open sessions are looked up again
	Rules     Rules
	Review    review.Settings
	Log       hclog.Logger

	sessions sessions
	jobs     jobs
	trying   sync.Mutex // held while the rules of a form are compiled
	nesting  nesting
	live     live
	tail     audit.Tail
}

//go:embed page
var files embed.FS

var pages = parsePages(template.New("").Funcs(template.FuncMap{
	"clock": func(t time.Time) template.HTML {
		return template.HTML("<time>" + t.UTC().Format("2006-01-02 15:04:05") + "</time>")
	},
	"named":   named,
	"plus":    func(a, b int) int { return a + b },
	"size":    size,
	"minus":   func(a, b int) int { return a - b },
	"say":     say,
	"sayHTML": sayHTML,
}))

var plainText = regexp.MustCompile(`{{say "([^"]+)"}}`)

// parsePages adds the templates of the pages to t. Texts without values become a part of
// them here: a table has one in each cell, and to ask for them each time that it is drawn
// doubles the cost of the page Now.
func parsePages(t *template.Template) *template.Template {
	names, err := fs.Glob(files, "page/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		source, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		filled := plainText.ReplaceAllStringFunc(string(source), func(call string) string {
			return template.HTMLEscapeString(texts[plainText.FindStringSubmatch(call)[1]])
		})
		template.Must(t.New(path.Base(name)).Parse(filled))
	}
	return t
}

// named returns a name as a page shows it: in quotes with escapes if it has characters that
// cannot be seen, or that turn the direction of the text after them.
func named(s string) string {
	if s == "" {
		return s
	}
	return policy.Quote(s)
}

// How long a form may be, in bytes: one with rules, and others. To compile a megabyte of rules
// takes seconds and hundreds of megabytes, so only one such form is handled at a time.
const (
	mostRules = 1 << 20
	mostForm  = 64 << 10
)

// Handler answers all requests.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", c.loginPage)
	mux.HandleFunc("POST /login", c.login)
	mux.HandleFunc("POST /logout", c.as(read, c.logout))
	mux.HandleFunc("GET /{$}", c.as(read, c.now))
	mux.HandleFunc("GET /stream", c.as(read, c.stream))
	mux.HandleFunc("GET /people", c.as(read, c.person))
	mux.HandleFunc("GET /folders", c.as(read, c.folders))
	mux.HandleFunc("POST /folders", c.as(read, c.review))
	mux.HandleFunc("GET /folders/report", c.as(read, c.report))
	mux.HandleFunc("GET /rules", c.as(read, c.rules))
	mux.HandleFunc("POST /rules", c.as(read, c.compare))
	mux.HandleFunc("GET /result", c.as(read, c.progress))
	mux.HandleFunc("GET /events", c.as(read, c.events))
	mux.HandleFunc("GET /kick", c.as(operate, c.confirmKick))
	mux.HandleFunc("POST /kick", c.as(operate, c.kick))
	mux.HandleFunc("GET /drain", c.as(operate, c.confirmDrain))
	mux.HandleFunc("POST /drain", c.as(operate, c.drain))
	for _, name := range []string{"console.css", "console.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, files, "page/"+name)
		})
	}
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		most := int64(mostForm)
		if r.URL.Path == "/rules" {
			most = mostRules
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
		sameOrigin.Handler(mux).ServeHTTP(w, r)
	})
}

// show writes a page.
func (c *Console) show(w http.ResponseWriter, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		c.Log.Debug("write a page", "page", name, "error", err)
	}
}

// A view is what every page of a session shows.
type view struct {
	Title, User, Node, CSRF string
	Operates                bool
	Body                    any
}

func (c *Console) view(s *session, title string, body any) view {
	g := s.grant.Load()
	return view{Title: title, User: g.User.Name, Node: c.Node, CSRF: s.csrf, Operates: g.Policy.Allows(operate), Body: body}
}

// fail answers with a sentence.
func (c *Console) fail(w http.ResponseWriter, status int, sentence string) {
	c.show(w, status, "error.html", view{Title: cmp.Or(headings[status], say("error.internal")), Body: sentence})
}

// headings are what statuses are called.
var headings = map[int]string{
	http.StatusBadRequest:         say("error.bad_request"),
	http.StatusForbidden:          say("error.forbidden"),
	http.StatusNotFound:           say("error.not_found"),
	http.StatusTooManyRequests:    say("error.too_many_requests"),
	http.StatusBadGateway:         say("error.bad_gateway"),
	http.StatusServiceUnavailable: say("error.unavailable"),
}
