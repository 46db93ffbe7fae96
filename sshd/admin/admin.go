// Package admin is the operator's side of the server. An HTTP listener says
// whether the process lives, whether it is ready for logins, and what it has
// counted; it changes nothing and asks nobody who they are, so it belongs on the
// loopback address. A Unix socket, for the server's own user only, shows and
// ends sessions, reloads and lifts penalties. Start at Handler, Control and Serve.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits for clients of this listener. Scrapes are small and local.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = time.Minute
	headerBytes   = 8 << 10
	scrapesAtOnce = 4
	goodbye       = 5 * time.Second // time for answers under way when the listener ends
)

// linksPage is for people who find the listener.
const linksPage = `<!doctype html><meta charset="utf-8"><title>Berth</title><h1>Berth</h1>
<p><a href="healthz">healthz</a>: the process lives
<p><a href="readyz">readyz</a>: whether logins would work, and why not
<p><a href="metrics">metrics</a>: counters, for Prometheus
`

// Handler answers GET and HEAD of these paths:
//
//	/         a page with links to the others
//	/healthz  200 as long as the process lives
//	/readyz   200 if ready returned nil or Degraded within the last second, else 503; with the error in one line
//	/metrics  what metrics gathers, in Prometheus' format
//
// ready should return an error when the directory cannot be reached or the
// server is draining. It is never called twice at once, and its context ends
// after three seconds.
func Handler(ready func(context.Context) error, metrics prometheus.Gatherer, log hclog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, linksPage)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.Handle("GET /readyz", newReadiness(ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorLog:            log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}),
		MaxRequestsInFlight: scrapesAtOnce,
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// Serve answers with h on l until ctx ends, and closes l. It returns nil if it
// ended because of ctx, after the answers that were under way.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log hclog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if by, ok := callerOf(c); ok {
				return context.WithValue(ctx, callerKey{}, by)
			}
			return ctx
		},
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the admin listener: %w", err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		srv.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the admin listener: %w", err)
	}
	return nil
}
