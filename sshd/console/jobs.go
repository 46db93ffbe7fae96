package console

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"berth/directory"
	"berth/policy/review"
)

const (
	mostJobs   = 8                // results that are kept
	jobTime    = 10 * time.Minute // that a job may take
	jobKept    = time.Hour        // how long a result is kept
	mostResult = 10_000           // rows of a result
)

// A job is a question about all people. The server answers it in the background, one job
// at a time.
type job struct {
	ID     string
	Asks   string // that asked: folders or rules
	By     string // who asked
	Began  time.Time
	people atomic.Int64 // that were checked so far
	events atomic.Int64 // bytes of events that were read so far
	done   chan struct{}
	result any   // when done is closed
	Err    error // why there is no result
}

// Done reports whether j has ended.
func (j *job) Done() bool { return isClosed(j.done) }

// Looked returns how many people were checked so far.
func (j *job) Looked() int64 { return j.people.Load() }

// EventsRead is how much of the events was read so far; empty: none are read.
func (j *job) EventsRead() string {
	if read := j.events.Load(); read > 0 {
		return size(read)
	}
	return ""
}

// jobs are the last ones, the oldest first.
type jobs struct {
	mu      sync.Mutex
	all     []*job
	stopped bool
	cancel  context.CancelFunc // of the one that runs
	running sync.WaitGroup
}

var errBusy = errors.New(say("result.busy"))

// start runs a job in the background. It refuses a second one.
func (l *jobs) start(ctx context.Context, page, by string, run func(ctx context.Context, j *job) (any, error)) (*job, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || slices.ContainsFunc(l.all, func(j *job) bool { return !j.Done() }) {
		return nil, errBusy
	}
	j := &job{ID: random(8), Asks: page, By: by, Began: time.Now(), done: make(chan struct{})}
	l.all = append(l.all, j)
	l.all = l.all[max(0, len(l.all)-mostJobs):]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobTime) // the request is answered at once
	l.cancel = cancel
	l.running.Go(func() {
		defer cancel()
		defer close(j.done)
		j.result, j.Err = run(ctx, j)
	})
	return j, nil
}

// begin has the job of a page done in the background, and shows how far it is. A panic ends
// the job, and not the server with its sessions.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, s *session, page string, run func(ctx context.Context, j *job) (any, error)) error {
	j, err := c.jobs.start(r.Context(), page, s.grant.Load().User.Name, func(ctx context.Context, j *job) (result any, err error) {
		defer func() {
			if r := recover(); r != nil {
				c.Log.Error("panic: please report it", "job", page, "panic", r, "stack", string(debug.Stack()))
				err = errors.New(say("result.panic"))
			}
		}()
		return run(ctx, j)
	})
	if err == nil {
		http.Redirect(w, r, j.view(1).Link, http.StatusSeeOther)
	}
	return err
}

// refusal is the status of a form that began no job because of err.
func refusal(err error) int {
	if errors.Is(err, errBusy) {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// find returns the job with an id, nil if it is no longer known.
func (l *jobs) find(page, id string) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.all, func(j *job) bool { return j.ID == id && j.Asks == page })
	if i < 0 {
		return nil
	}
	return l.all[i]
}

// forget drops old results.
func (l *jobs) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(j *job) bool { return j.Done() && now.Sub(j.Began) > jobKept })
}

// stop ends the job that runs. No other is started.
func (l *jobs) stop() {
	l.mu.Lock()
	l.stopped = true
	if l.cancel != nil {
		l.cancel()
	}
	l.mu.Unlock()
	l.running.Wait()
}

// A resultView is a page of the result of a job.
type resultView struct {
	*job
	Link        string // of the first page
	Page, Pages int    // from 1
	Total       int    // rows on all pages
	Review      *review.Report
	Diff        *review.Comparison
}

// view returns a page of the result of j.
func (j *job) view(page int) *resultView {
	v := &resultView{job: j, Page: page, Pages: 1, Link: "/" + j.Asks + "?job=" + j.ID}
	if !j.Done() {
		return v
	}
	switch all := j.result.(type) {
	case *review.Report:
		part := *all
		part.Rows, v.Page, v.Pages = paged(all.Rows, mostRows, page)
		v.Review, v.Total = &part, len(all.Rows)
	case *review.Comparison:
		part := *all
		part.Affected, v.Page, v.Pages = paged(all.Affected, mostRows, page)
		v.Diff, v.Total = &part, len(all.Affected)
	}
	return v
}

// paged returns the rows of a page, or of the nearest one that there is, its number and how
// many pages there are.
func paged[T any](all []T, most, page int) (rows []T, number, pages int) {
	pages = max(1, (len(all)+most-1)/most)
	number = min(max(1, page), pages)
	return all[(number-1)*most : min(len(all), number*most)], number, pages
}

// pageOf is the number of the page that r asks for. Anything else than a number is the first.
func pageOf(r *http.Request) int {
	n, _ := strconv.Atoi(r.FormValue("page"))
	return n
}

// resultOf returns the page that r asks for of the result of a job, nil if it asks for none
// or the result is no longer kept.
func (c *Console) resultOf(r *http.Request, page string) *resultView {
	j := c.jobs.find(page, r.FormValue("job"))
	if j == nil {
		return nil
	}
	return j.view(pageOf(r))
}

// progress sends how far a job is, and its result, as server-sent events.
func (c *Console) progress(w http.ResponseWriter, r *http.Request, s *session) {
	v := c.resultOf(r, r.FormValue("of"))
	if v == nil {
		c.fail(w, http.StatusNotFound, say("result.gone"))
		return
	}
	c.send(w, r, s, v.done, func() (message []byte, more bool, err error) {
		done := v.Done()
		p, err := drawPart("result", v.view(v.Page))
		return p.message, !done, err
	})
}

// everybody calls add with each person of the directories, until it reports that the
// result is full, and counts them. The error says why some are missing.
func (c *Console) everybody(ctx context.Context, j *job, add func(*directory.User) (full bool)) error {
	for u, err := range c.Gate.Directory.Users(ctx) {
		if err != nil {
			return err
		}
		j.people.Add(1)
		if add(u) {
			return nil
		}
	}
	return ctx.Err()
}
