package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"

	"golang.org/x/time/rate"

	"berth/policy"
)

// sizes bounds the size of each file.
type sizes struct {
	layer
	max int64 // bytes
}

func (s *sizes) OpenFile(name string, flag int, perm iofs.FileMode) (File, error) {
	f, err := s.layer.OpenFile(name, flag, perm)
	if err != nil || !writes(flag) {
		return f, err
	}
	return &sizedFile{File: f, name: name, max: s.max, appends: flag&os.O_APPEND != 0}, nil
}

func (s *sizes) SetAttr(name string, a Attr) error {
	if a.Set&AttrSize != 0 && a.Size > s.max {
		return fail("setattr", name, ErrTooLarge)
	}
	return s.layer.SetAttr(name, a)
}

type sizedFile struct {
	File
	name    string
	max     int64
	appends bool
}

func (f *sizedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.appends {
		fi, err := f.File.Stat()
		if err != nil {
			return 0, err
		}
		off = fi.Size()
	}
	if off > f.max-int64(len(p)) {
		return 0, fail("write", f.name, ErrTooLarge)
	}
	return f.File.WriteAt(p, off)
}

func (f *sizedFile) SetAttr(a Attr) error {
	if a.Set&AttrSize != 0 && a.Size > f.max {
		return fail("setattr", f.name, ErrTooLarge)
	}
	return f.File.SetAttr(a)
}

func (f *sizedFile) tryLock() error { return tryLock(f.File) }

// rates slows a session down: all its files share one budget for each
// direction, first come, first served.
type rates struct {
	layer
	upload, download *rate.Limiter // nil: no limit
	ctx              context.Context
	stop             context.CancelFunc // of those who wait, when the FS is closed
}

// burst is how many bytes may pass at once: a whole request of any client.
const burst = 256 << 10

func newRates(l layer, limits policy.Limits) *rates {
	r := &rates{layer: l, upload: limiter(limits.UploadRate), download: limiter(limits.DownloadRate)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

func limiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), burst)
}

func (r *rates) OpenFile(name string, flag int, perm iofs.FileMode) (File, error) {
	f, err := r.layer.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &ratedFile{File: f, r: r, name: name}, nil
}

func (r *rates) Close() error {
	r.stop()
	return r.layer.Close()
}

// wait returns when n more bytes may pass.
func (r *rates) wait(l *rate.Limiter, n int) error {
	for ; l != nil && n > 0; n -= burst {
		if err := l.WaitN(r.ctx, min(n, burst)); err != nil {
			return errors.Join(iofs.ErrClosed, err)
		}
	}
	return nil
}

type ratedFile struct {
	File
	r    *rates
	name string
}

func (f *ratedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if werr := f.r.wait(f.r.download, n); werr != nil {
		return 0, fail("read", f.name, werr)
	}
	return n, err
}

func (f *ratedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.r.wait(f.r.upload, len(p)); err != nil {
		return 0, fail("write", f.name, err)
	}
	return f.File.WriteAt(p, off)
}

func (f *ratedFile) Abort() error { return abort(f.File) }
