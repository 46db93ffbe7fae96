package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	readyFor   = time.Second     // how long an answer is given again without asking
	readyLimit = 3 * time.Second // for one check
)

// Degraded is the fault of a server that is ready nevertheless: /readyz has the
// fault, with status 200.
type Degraded struct{ Err error }

func (d Degraded) Error() string { return d.Err.Error() }

// readiness answers whether logins would work. However often it is asked, the
// directory is asked once a second at most.
type readiness struct {
	check func(context.Context) error
	turn  chan struct{} // holds one: whoever takes it may check, the others wait for the answer
	at    time.Time     // when err was found
	err   error
}

func newReadiness(check func(context.Context) error) *readiness {
	r := &readiness{check: check, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	err := r.now(req.Context())
	_, degraded := errors.AsType[Degraded](err)
	switch {
	case degraded:
		io.WriteString(w, "ready, but "+oneLine(err.Error())+"\n")
	case err != nil:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "not ready: "+oneLine(err.Error())+"\n")
	default:
		io.WriteString(w, "ready\n")
	}
}

func (r *readiness) now(ctx context.Context) error {
	<-r.turn
	defer func() { r.turn <- struct{}{} }()
	if !r.at.IsZero() && time.Since(r.at) < readyFor {
		return r.err
	}
	// The answer is for others too, so it must not depend on whether this one
	// client waits for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyLimit)
	defer cancel()
	r.err = r.check(ctx)
	r.at = time.Now()
	return r.err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
