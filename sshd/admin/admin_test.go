package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ready(context.Context) error { return nil }

func handler(check func(context.Context) error) http.Handler {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_things_total", Help: "Things."})
	c.Add(3)
	reg.MustRegister(c)
	return Handler(check, reg, hclog.NewNullLogger())
}

func TestHandler(t *testing.T) {
	down := func(context.Context) error {
		return fmt.Errorf("directory corp: %w", errors.New("connection\nrefused"))
	}
	degraded := func(context.Context) error { return Degraded{errors.New("disk\nfull")} }
	tests := []struct {
		method, path string
		check        func(context.Context) error
		code         int
		body         string
	}{
		{"GET", "/healthz", down, 200, "ok\n"},
		{"HEAD", "/healthz", down, 200, "ok\n"}, // the real server leaves the body out
		{"GET", "/readyz", ready, 200, "ready\n"},
		{"GET", "/readyz", down, 503, "not ready: directory corp: connection refused\n"},
		{"HEAD", "/readyz", down, 503, ""},
		{"GET", "/readyz", degraded, 200, "ready, but disk full\n"},
		{"GET", "/metrics", ready, 200, "berth_things_total 3\n"},
		{"POST", "/healthz", ready, 405, ""},
		{"PUT", "/readyz", ready, 405, ""},
		{"DELETE", "/metrics", ready, 405, ""},
		{"GET", "/", down, 200, `<a href="readyz">`},
		{"GET", "/x", ready, 404, ""},
		{"GET", "/debug/pprof/", ready, 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler(tt.check).ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			if w.Code != tt.code {
				t.Errorf("status: got %d, want %d", w.Code, tt.code)
			}
			if !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("body: got %q, want %q in it", w.Body, tt.body)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: got %q", got)
			}
			if allow := w.Header().Get("Allow"); tt.code == 405 && allow != "GET, HEAD" {
				t.Errorf("Allow: got %q, want GET, HEAD", allow)
			}
		})
	}
}

// A crowd of scrapes does not hold the server up.
func TestScrapesAreBounded(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	slow := prometheus.NewRegistry()
	slow.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow"}, func() float64 {
		begun <- struct{}{}
		<-end
		return 0
	}))
	h := Handler(ready, slow, hclog.NewNullLogger())
	scrape := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Code
	}
	var wg sync.WaitGroup
	for range scrapesAtOnce {
		wg.Go(func() { scrape() })
		<-begun
	}
	done := make(chan int, 1)
	go func() { done <- scrape() }()
	select {
	case code := <-done:
		if code != http.StatusServiceUnavailable {
			t.Errorf("one scrape too many: status %d", code)
		}
	case <-begun:
		t.Error("one scrape too many is answered")
	}
	close(end)
	wg.Wait()
}

func TestReadinessIsAskedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var answer error
		r := newReadiness(func(context.Context) error { asked++; return answer })
		for _, step := range []struct {
			after time.Duration
			set   error
			want  string
			asked int
		}{
			{0, nil, "", 1},
			{0, errors.New("draining"), "", 1},
			{999 * time.Millisecond, errors.New("draining"), "", 1},
			{time.Millisecond, errors.New("draining"), "draining", 2},
			{time.Second, nil, "", 3},
		} {
			time.Sleep(step.after)
			answer = step.set
			err := r.now(t.Context())
			if got := fmt.Sprint(err); (err != nil || step.want != "") && got != step.want {
				t.Errorf("got %v, want %q", err, step.want)
			}
			if asked != step.asked {
				t.Errorf("asked %d times, want %d", asked, step.asked)
			}
		}
	})
}

func TestReadinessIsSharedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		r := newReadiness(func(ctx context.Context) error {
			asked.Add(1)
			<-ctx.Done() // a directory that does not answer
			return ctx.Err()
		})
		began := time.Now()
		gone, cancel := context.WithCancel(t.Context())
		cancel() // the client that asked first has gone away
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := r.now(gone); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
				}
			})
		}
		wg.Wait()
		if got := asked.Load(); got != 1 {
			t.Errorf("asked %d times, want once", got)
		}
		if got := time.Since(began); got != readyLimit {
			t.Errorf("took %v, want %v", got, readyLimit)
		}
	})
}

// serve runs Serve on a free port and returns its address and what ends it.
func serve(t *testing.T, h http.Handler) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, h, hclog.NewNullLogger()) }()
	return l.Addr().String(), sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

func TestServe(t *testing.T) {
	addr, stop := serve(t, handler(ready))
	defer stop()
	res, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || string(body) != "ready\n" {
		t.Errorf("got %q, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Errorf("stop: got %v, want nil", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("still listens")
	}
}

func TestServeFinishesAnswers(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	addr, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	}))
	type answer struct {
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		res, err := http.Get("http://" + addr)
		if err != nil {
			got <- answer{err: err}
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		got <- answer{string(body), err}
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	if a := <-got; a.err != nil || a.body != "done" {
		t.Errorf("got %q, %v, want done", a.body, a.err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestServeRefusesLargeHeaders(t *testing.T) {
	addr, stop := serve(t, handler(ready))
	defer stop()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("a", 64<<10))
	line, err := bufio.NewReader(c).ReadString('\n')
	if !strings.Contains(line, "431") {
		t.Errorf("got %q, %v, want status 431", line, err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), l, handler(ready), hclog.NewNullLogger()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}

func TestSettingsCheck(t *testing.T) {
	tests := []struct {
		s    Settings
		want string // empty: fine
	}{
		{DefaultSettings(), ""},
		{Settings{}, ""},
		{Settings{Socket: "/" + strings.Repeat("s", longestSocket-1)}, ""},
		{Settings{Listen: "[::1]:9022"}, ""},
		{Settings{Listen: "127.8.9.10:0"}, ""},
		{Settings{Listen: "[::ffff:127.0.0.1]:9022"}, ""},
		{Settings{Listen: "localhost:9022"}, ""},
		{Settings{Listen: "10.0.0.1:9022", AllowRemote: true}, ""},
		{Settings{Listen: ":9022", AllowRemote: true}, ""},
		{Settings{Listen: "10.0.0.1:9022"}, `listen: "10.0.0.1:9022": other machines could reach it: use 127.0.0.1:9022, or set allow_remote: true`},
		{Settings{Listen: ":9023"}, "use 127.0.0.1:9023"},
		{Settings{Listen: "0.0.0.0:9022"}, "allow_remote: true"},
		{Settings{Listen: "[::]:9022"}, "allow_remote: true"},
		{Settings{Listen: "localhost.example.com:9022"}, "allow_remote: true"},
		{Settings{Listen: "9022"}, "must be an address and a port, such as 127.0.0.1:9022"},
		{Settings{Listen: "127.0.0.1:ssh"}, `port "ssh" must be a number`},
		{Settings{Listen: "127.0.0.1:99999"}, `port "99999" must be a number`},
	}
	for _, tt := range append(tests, struct {
		s    Settings
		want string
	}{Settings{Socket: "/" + strings.Repeat("s", longestSocket)}, "longer than the 107 bytes"}) {
		err := errors.Join(tt.s.Check()...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: got %v, want %q", tt.s, err, tt.want)
		}
	}
}
