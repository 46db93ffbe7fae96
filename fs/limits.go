package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"

	"golang.org/x/time/rate"

	"berth/policy"
)

// A Pace limits how fast a session moves data in each direction. All views of one
// session share it, so more channels are not faster. The rates of a new policy
// apply to open files, too. The zero value is ready; it is safe for concurrent use.
type Pace struct {
	mu               sync.Mutex
	upload, download *rate.Limiter // nil: there never was a limit
	ctx              context.Context
	stop             context.CancelFunc // nil: there is no ctx yet
}

// set applies the rates of limits from now on. Whoever waits for a rate waits until ctx
// ends at most.
func (p *Pace) set(limits policy.Limits) (upload, download *rate.Limiter, ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upload = limited(p.upload, limits.UploadRate)
	p.download = limited(p.download, limits.DownloadRate)
	p.begin()
	return p.upload, p.download, p.ctx
}

// begin is called with p.mu held.
func (p *Pace) begin() {
	if p.stop == nil {
		p.ctx, p.stop = context.WithCancel(context.Background())
	}
}

// Stop ends the session: what waits for its rate fails at once, now and later.
func (p *Pace) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
	p.stop()
}

// burst is how many bytes may be moved at once: a whole request of any client.
const burst = 256 << 10

// limited is l at another rate, or a new limiter if there is none yet.
func limited(l *rate.Limiter, bytesPerSecond int64) *rate.Limiter {
	limit := rate.Limit(bytesPerSecond)
	if bytesPerSecond <= 0 {
		limit = rate.Inf
	}
	switch {
	case l != nil:
		l.SetLimit(limit)
	case limit != rate.Inf:
		l = rate.NewLimiter(limit, burst)
	}
	return l
}

// rates slows the files of a view down to the pace of its session.
type rates struct {
	layer
	upload, download *rate.Limiter // nil: no limit
	ctx              context.Context
	stop             context.CancelFunc // of those who wait, when the FS is closed or the session ends
}

// newRates limits l to the pace, or is l itself if limits have no rate.
func newRates(l layer, limits policy.Limits, pace *Pace) layer {
	upload, download, ctx := pace.set(limits)
	if upload == nil && download == nil {
		return l
	}
	r := &rates{layer: l, upload: upload, download: download}
	r.ctx, r.stop = context.WithCancel(ctx)
	return r
}

func (r *rates) OpenFile(name string, flag int, perm iofs.FileMode) (file, error) {
	f, err := r.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &ratedFile{f, r}, nil
}

func (r *rates) Close() error {
	r.stop()
	return r.layer.Close()
}

// wait returns when n more bytes may be moved.
func (r *rates) wait(l *rate.Limiter, n int) error {
	for ; l != nil && n > 0; n -= burst {
		if err := l.WaitN(r.ctx, min(n, burst)); err != nil {
			return errors.Join(iofs.ErrClosed, err)
		}
	}
	return nil
}

type ratedFile struct {
	file
	r *rates
}

func (f *ratedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	if werr := f.r.wait(f.r.download, n); werr != nil {
		return 0, werr
	}
	return n, err
}

func (f *ratedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.r.wait(f.r.upload, len(p)); err != nil {
		return 0, err
	}
	return f.file.WriteAt(p, off)
}
