package sftp

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"math"
	"strings"
	"testing"
	"time"

	"berth/fs"
)

func TestSeconds(t *testing.T) {
	for unix, want := range map[int64]uint32{-1: 0, 0: 0, 1 << 31: 1 << 31, math.MaxUint32: math.MaxUint32, 1 << 32: math.MaxUint32} {
		if got := seconds(time.Unix(unix, 0)); got != want {
			t.Errorf("seconds of %d = %d, want %d", unix, got, want)
		}
	}
}

// TestAttrsBothWays reads what appendAttrs writes.
func TestAttrsBothWays(t *testing.T) {
	when := time.Unix(1e9, 0)
	file := aFile{size: 1 << 40, mode: iofs.ModeDir | 0o750, mtime: when, sys: &fs.Owner{UID: 1, GID: 2, Atime: when.Add(time.Second)}}
	want := fs.Attr{
		Set: fs.AttrSize | fs.AttrOwner | fs.AttrMode | fs.AttrTimes, Size: 1 << 40, UID: 1, GID: 2, Mode: 0o750,
		Atime: when.Add(time.Second), Mtime: when,
	}
	r := reader{b: appendAttrs(nil, file)}
	if got := r.attrs(); got != want || r.err != nil || len(r.b) != 0 {
		t.Errorf("attrs = %+v, %v with %d bytes left, want %+v", got, r.err, len(r.b), want)
	}
	file.sys = nil // nothing is known of its owner
	r = reader{b: appendAttrs(nil, file)}
	if got := r.attrs(); got.Set&fs.AttrOwner != 0 || r.err != nil || len(r.b) != 0 {
		t.Errorf("attrs = %+v, %v with %d bytes left, want no owner", got, r.err, len(r.b))
	}
}

func TestStatusTable(t *testing.T) {
	for i, s := range statuses {
		wrapped := &iofs.PathError{Op: "open", Path: "/srv/secret", Err: s.err}
		if got := statusOf(wrapped); got != s.status {
			t.Errorf("statusOf(%v) = %v, want %v: an earlier entry hides entry %d", s.err, got, s.status, i)
		}
		if strings.ContainsAny(s.text, "/.") || s.text != strings.TrimSpace(s.text) || len(s.text) > 60 {
			t.Errorf("the sentence %q is not a short one without paths", s.text)
		}
	}
	if got := statusOf(nil); got.code != fxOK {
		t.Errorf("statusOf(nil) = %v, want OK", got)
	}
	if got := statusOf(errors.Join(io.ErrClosedPipe, errors.New("/srv/secret"))); got != (status{fxFailure, "Failure"}) {
		t.Errorf("statusOf an unknown error = %v, want Failure", got)
	}
}

// FuzzReader takes bytes apart in every order that the fuzzer finds.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02ab"), []byte("s"))
	f.Add(appendAttrs(nil, aFile{}), []byte("a"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), []byte("a4oos"))
	f.Fuzz(func(t *testing.T, body, fields []byte) {
		r := reader{b: body}
		for _, field := range fields {
			before := len(r.b)
			switch field {
			case '4':
				r.u32()
			case 'o':
				if r.offset() < 0 {
					t.Error("a negative offset")
				}
			case 'a':
				r.attrs()
			default:
				if s := r.bytes(); !bytes.Contains(body, s) {
					t.Errorf("%q is not in the request", s)
				}
			}
			if len(r.b) > before {
				t.Error("the rest of a request grew")
			}
		}
	})
}
