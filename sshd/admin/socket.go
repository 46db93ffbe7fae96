package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"berth/sshd/state"
)

// Session is what an operator sees of one open session.
type Session struct {
	Node      string         `json:"node,omitempty"` // that has it, if several share their state
	ID        string         `json:"session"`        // as in events
	User      string         `json:"user"`
	UserID    string         `json:"user_id"` // the directory's stable id
	Directory string         `json:"user_directory"`
	Remote    netip.AddrPort `json:"remote"`
	Method    string         `json:"method"` // of the login
	Client    string         `json:"client"` // what it calls itself
	Since     time.Time      `json:"since"`
	Idle      time.Duration  `json:"idle_ns"` // since the client last asked for something
	Files     int            `json:"files"`   // open now
	Read      int64          `json:"bytes_read"`
	Written   int64          `json:"bytes_written"`
	Services  []string       `json:"services"` // running now

	Transfers []Transfer `json:"transfers"` // files that are open now
}

// Transfer is what an operator sees of an open file.
type Transfer struct {
	Path     string    `json:"path"`
	Mode     string    `json:"mode"` // as in events
	Since    time.Time `json:"since"`
	Bytes    int64     `json:"bytes"`    // moved so far
	Position int64     `json:"position"` // where in the file the last piece ended
	Size     int64     `json:"size"`     // of a file that is read; 0: not known
}

// Operator is what can be done to a running server. Its methods are safe for
// concurrent use; by is who asks.
type Operator interface {
	// Sessions returns the open sessions, oldest first.
	Sessions() []Session
	// Kick ends the session with that id, or all of a user with that name, and
	// returns those it ended.
	Kick(by Caller, who string) []Session
	// Nodes has the nodes that a task is for do it. A server that is alone is a node
	// without a name. The error says which have not answered; the result has those that did.
	Nodes(t Task) ([]Done, error)
	// Drain ends the server as SIGTERM does, and returns at once.
	Drain(by Caller)
	// Reload reads the configuration again. It returns in a sentence what only a
	// restart applies, or why nothing has changed.
	Reload(by Caller) (waits string, err error)
	// Status describes the server.
	Status() Status
	// Metrics are what the server has counted.
	Metrics() prometheus.Gatherer
	// LogLevel sets the level of the log, and unless d is 0, the level before again
	// after d. It fails for a level that does not exist.
	LogLevel(by Caller, level string, d time.Duration) error
	// Upgrade starts the program anew, from its file, and has the new process take
	// over. It returns when that serves, or why nothing has changed.
	Upgrade(by Caller) (Successor, error)
	// Penalties returns the sources that have penalties.
	Penalties() []state.Penalty
	// Lift removes the penalties of the sources in a network, and returns the sources.
	Lift(by Caller, network netip.Prefix) []netip.Prefix
}

// Status is what an operator needs to know first about a running server.
type Status struct {
	Release     string            `json:"release"`
	PID         int               `json:"pid"`
	Started     time.Time         `json:"started"`
	Config      string            `json:"config"` // the file
	RulesHash   string            `json:"rules_hash"`
	Reloaded    *Reload           `json:"reloaded,omitempty"` // the last one
	Listening   []string          `json:"listening"`
	NotReady    string            `json:"not_ready"` // why; empty: it is ready
	Degraded    string            `json:"degraded"`  // what is wrong although it is ready
	Directories []DirectoryStatus `json:"directories"`
	// those of servers of directories, of their authorities and of host keys
	Certificates []CertificateStatus `json:"certificates"`
	Nodes        int                 `json:"nodes"`       // that share their state; 0: this server is alone
	NodesError   string              `json:"nodes_error"` // why they cannot be asked
	Logins       int                 `json:"logins"`      // under way
	Sessions     int                 `json:"sessions"`
	Penalized    int                 `json:"penalized"` // sources that have penalties
	Events       []EventsStatus      `json:"events"`
	LogLevel     string              `json:"log_level"`
	ConfinedTo   []string            `json:"confined_to"` // folders that Landlock lets the server write; empty: it is not confined
}

// A Reload is the result of a reload.
type Reload struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"` // empty: the file is in force
	Waits string    `json:"waits"` // what only a restart takes up
}

// DirectoryStatus says whether a directory answers.
type DirectoryStatus struct {
	Name  string `json:"name"`
	Error string `json:"error"` // empty: it does
}

// CertificateStatus says until when a certificate is valid.
type CertificateStatus struct {
	Use  string    `json:"use"`  // directory, ca_file or host
	Name string    `json:"name"` // the URL of the server, the file, or the kind of the key
	Ends time.Time `json:"ends"`
}

// EventsStatus says whether events are written to a place, and how many wait
// or are lost.
type EventsStatus struct {
	To      string `json:"to"`
	Error   string `json:"error"`    // why they cannot be written now; empty: they can
	Dropped uint64 `json:"dropped"`  // lost since the start
	LeftOut uint64 `json:"left_out"` // of those who caused too many
	Refused uint64 `json:"refused"`  // set aside because the receiver does not take them

	Waiting uint64    `json:"waiting"`         // not written or sent yet
	Oldest  time.Time `json:"oldest,omitzero"` // of those that wait because of an error
}

// A Successor is the process that has taken over at an upgrade.
type Successor struct {
	PID     int           `json:"pid"`
	Release string        `json:"release"`
	Drain   time.Duration `json:"drain_ns"` // when the sessions of the process before end at the latest
}

// An outcome is an answer that may be incomplete, or have only the reason why nothing
// has changed.
type outcome[T any] struct {
	Answer T      `json:"answer"`
	Error  string `json:"error"`
}

// Control answers on the operator's socket, as a client Dial-ed to it asks:
//
//	GET  /sessions              the open sessions, as JSON
//	POST /kick?who=NAME         ends one session or all of a user; answers with them
//	POST /nodes?task=JSON       has other nodes, or all, do something
//	POST /drain                 ends the server as SIGTERM does
//	POST /reload                reads the configuration again; answers with the outcome
//	GET  /status                the server, as JSON
//	GET  /metrics               what it has counted, in Prometheus' format
//	GET  /stacks                what each of its goroutines is doing
//	POST /log-level?level=L&for=D  changes what is logged
//	POST /upgrade               has a new process take over; answers with the outcome
//	GET  /penalties             the sources that have penalties, as JSON
//	POST /lift?network=PREFIX   removes their penalties; answers with the sources
func Control(o Operator) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Sessions()) })
	mux.HandleFunc("POST /kick", func(w http.ResponseWriter, r *http.Request) {
		who := r.FormValue("who")
		if who == "" {
			http.Error(w, "who: missing: the id of a session, or the name of a user", http.StatusBadRequest)
			return
		}
		answer(w, o.Kick(asking(r), who))
	})
	mux.HandleFunc("POST /nodes", func(w http.ResponseWriter, r *http.Request) { serveNodes(w, r, o) })
	mux.HandleFunc("POST /drain", func(_ http.ResponseWriter, r *http.Request) { o.Drain(asking(r)) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		waits, err := o.Reload(asking(r))
		writeOutcome(w, waits, err)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.Status()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics(), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /stacks", func(w http.ResponseWriter, _ *http.Request) {
		const readable = 2
		_ = pprof.Lookup("goroutine").WriteTo(w, readable)
	})
	mux.HandleFunc("POST /log-level", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("for"))
		if err == nil {
			err = o.LogLevel(asking(r), r.FormValue("level"), d)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("POST /upgrade", func(w http.ResponseWriter, r *http.Request) {
		next, err := o.Upgrade(asking(r))
		writeOutcome(w, next, err)
	})
	mux.HandleFunc("GET /penalties", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Penalties()) })
	mux.HandleFunc("POST /lift", func(w http.ResponseWriter, r *http.Request) {
		network, err := netip.ParsePrefix(r.FormValue("network"))
		if err != nil {
			http.Error(w, "network: must be such as 192.0.2.0/24", http.StatusBadRequest)
			return
		}
		answer(w, o.Lift(asking(r), network))
	})
	return mux
}

// callerKey is where Serve keeps the Caller in the context of a request.
type callerKey struct{}

// asking is who sent r; nobody if it came by other ways than a Unix socket.
func asking(r *http.Request) Caller {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	return c
}

func answer[T any](w http.ResponseWriter, all []T) {
	if all == nil {
		all = []T{} // not null
	}
	writeJSON(w, all)
}

func writeOutcome[T any](w http.ResponseWriter, v T, err error) {
	o := outcome[T]{Answer: v}
	if err != nil {
		o.Error = err.Error()
	}
	writeJSON(w, o)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

// ListenSocket listens on a unix socket that only the user of this process, and
// root, can reach. A socket of a server that has died is replaced. A socket
// that answers is an error.
func ListenSocket(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177)) // from the first moment
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if c, dialErr := net.Dial("unix", path); dialErr == nil {
			c.Close()
			return nil, fmt.Errorf("%s: another server answers there", path)
		}
		if fi, err := os.Lstat(path); err != nil || fi.Mode().Type() != iofs.ModeSocket {
			return nil, fmt.Errorf("%s: a file that is not a socket has this name", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = net.Listen("unix", path)
	}
	return l, err
}

// StepAside gives the name path of a socket that ListenSocket made to another process.
// The server can then be asked by the name aside, which Lingering finds. StepBack undoes
// all of it.
func StepAside(l net.Listener, path string) (aside string, err error) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it may be the socket of the other one
	}
	aside = fmt.Sprintf("%s.%d", path, os.Getpid())
	return aside, os.Rename(path, aside)
}

// StepBack gives the socket its name again.
func StepBack(l net.Listener, aside, path string) error {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(true)
	}
	return os.Rename(aside, path)
}

// Lingering returns clients of the servers that have stepped aside for the one of c, and
// still have sessions. One that has crashed does not answer.
func (c *Client) Lingering() []*Client {
	aside, _ := filepath.Glob(c.path + ".*") // a pattern that is wrong matches nothing
	var all []*Client
	for _, path := range aside {
		all = append(all, Dial(path))
	}
	return all
}

// ErrNobody means that no process listens on the socket.
var ErrNobody = errors.New("no server answers")

// A Client asks a running server by its socket.
type Client struct {
	path string
	http http.Client
}

// Dial returns a client of the socket at path. Nothing is asked yet.
func Dial(path string) *Client {
	return &Client{path, http.Client{Timeout: writeTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// Sessions returns the open sessions, oldest first.
func (c *Client) Sessions(ctx context.Context) (s []Session, err error) {
	return s, c.ask(ctx, http.MethodGet, "/sessions", "", &s)
}

// Kick ends one session or all of a user, and returns those it ended.
func (c *Client) Kick(ctx context.Context, who string) (s []Session, err error) {
	return s, c.ask(ctx, http.MethodPost, "/kick", url.Values{"who": {who}}.Encode(), &s)
}

// Drain ends the server as SIGTERM does.
func (c *Client) Drain(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/drain", "", nil)
}

// Reload has the server read its configuration again, and waits for the outcome:
// what only a restart applies, or why nothing has changed.
func (c *Client) Reload(ctx context.Context) (waits string, err error) {
	return askOutcome[string](ctx, c, "/reload", "")
}

// Status returns the status of the server.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/status", "", &s)
}

// Metrics returns what the server has counted, in Prometheus' format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) { return c.text(ctx, "/metrics") }

// Stacks returns what each goroutine of the server is doing.
func (c *Client) Stacks(ctx context.Context) ([]byte, error) { return c.text(ctx, "/stacks") }

func (c *Client) text(ctx context.Context, path string) (text []byte, err error) {
	return text, c.ask(ctx, http.MethodGet, path, "", &text)
}

// LogLevel changes the level of the server's log, for d unless that is 0.
func (c *Client) LogLevel(ctx context.Context, level string, d time.Duration) error {
	return c.ask(ctx, http.MethodPost, "/log-level", url.Values{"level": {level}, "for": {d.String()}}.Encode(), nil)
}

// Upgrade has a new process take over from the server, and waits until it serves.
func (c *Client) Upgrade(ctx context.Context) (Successor, error) {
	return askOutcome[Successor](ctx, c, "/upgrade", "")
}

// Penalties returns the sources that have penalties.
func (c *Client) Penalties(ctx context.Context) (all []state.Penalty, err error) {
	return all, c.ask(ctx, http.MethodGet, "/penalties", "", &all)
}

// Lift removes the penalties of the sources in network, and returns the sources.
func (c *Client) Lift(ctx context.Context, network netip.Prefix) (lifted []netip.Prefix, err error) {
	return lifted, c.ask(ctx, http.MethodPost, "/lift", url.Values{"network": {network.String()}}.Encode(), &lifted)
}

// askOutcome returns an outcome as the value and the error that it was made of.
func askOutcome[T any](ctx context.Context, c *Client, path, form string) (T, error) {
	var o outcome[T]
	err := c.ask(ctx, http.MethodPost, path, form, &o)
	if err == nil && o.Error != "" {
		err = errors.New(o.Error)
	}
	return o.Answer, err
}

// ask sends form and decodes the answer into result, unless that is nil. Bytes get the
// answer as it is.
func (c *Client) ask(ctx context.Context, method, path, form string, result any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if sent, ok := errors.AsType[*url.Error](err); ok {
		err = sent.Err // without the address of the request, which the user did not type
	}
	switch {
	case errors.Is(err, iofs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: %w: is it running?", ErrNobody, err)
	case errors.Is(err, iofs.ErrPermission):
		return fmt.Errorf("ask the server: %w: run this as root, or as the user that the server runs as", err)
	case err != nil:
		return fmt.Errorf("ask the server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		if resp.StatusCode == http.StatusBadRequest {
			return errors.New(oneLine(string(text)))
		}
		return fmt.Errorf("ask the server: %s: %s", resp.Status, oneLine(string(text)))
	}
	switch result := result.(type) {
	case nil:
		return nil
	case *[]byte:
		*result, err = io.ReadAll(resp.Body)
		return err
	default:
		return json.NewDecoder(resp.Body).Decode(result)
	}
}
