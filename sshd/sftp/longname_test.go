package sftp

import (
	"bytes"
	"fmt"
	iofs "io/fs"
	"strings"
	"testing"
	"time"

	"berth/fs"
)

// aFile is a FileInfo made up for a test.
type aFile struct {
	name  string
	size  int64
	mode  iofs.FileMode
	mtime time.Time
	sys   any
}

func (f aFile) Name() string        { return f.name }
func (f aFile) Size() int64         { return f.size }
func (f aFile) Mode() iofs.FileMode { return f.mode }
func (f aFile) ModTime() time.Time  { return f.mtime }
func (f aFile) IsDir() bool         { return f.mode.IsDir() }
func (f aFile) Sys() any            { return f.sys }

func TestLongname(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.FixedZone("", 3600))
	older := now.Add(-halfYear - time.Second)
	names := func(id uint32, group bool) string {
		return map[string]string{"1001 false": "alice", "2001 true": "finance-team", "2002 true": "Domain Users", "2003 true": "a\nb", "2004 true": "Zürich"}[fmt.Sprint(id, group)]
	}
	tests := []struct {
		file aFile
		want string
	}{
		{aFile{"f", 4711, 0o644, now, &fs.Owner{UID: 1000, GID: 50, Nlink: 1}}, "-rw-r--r--    1 1000     50           4711 Nov 22 08:00 f"},
		{aFile{"a b", 0, iofs.ModeDir | iofs.ModeSticky | 0o1777, now.Add(-240 * time.Hour), &fs.Owner{UID: 1, GID: 1<<32 - 1, Nlink: 12}}, "drwxrwxrwt   12 1        4294967295        0 Nov 12 08:00 a b"},
		{aFile{"f", 1, 0o644, now, &fs.Owner{UID: 1001, GID: 2001, Nlink: 1}}, "-rw-r--r--    1 alice    finance-team        1 Nov 22 08:00 f"},
		{aFile{"f", 1, 0o644, now, &fs.Owner{UID: 2001, GID: 2002, Nlink: 1}}, "-rw-r--r--    1 2001     2002            1 Nov 22 08:00 f"},
		{aFile{"f", 1, 0o644, now, &fs.Owner{UID: 1001, GID: 2003, Nlink: 1}}, "-rw-r--r--    1 alice    2003            1 Nov 22 08:00 f"},
		{aFile{"f", 1, 0o644, now, &fs.Owner{UID: 1001, GID: 2004, Nlink: 1}}, "-rw-r--r--    1 alice    Zürich          1 Nov 22 08:00 f"},
		{aFile{"old", 12345678901, 0o600, older, &fs.Owner{Nlink: 1000}}, "-rw-------  1000 0        0        12345678901 May 23  2026 old"},
		{aFile{"future", 1, 0o600, now.Add(time.Second), nil}, "-rw-------    1 0        0               1 Nov 22  2026 future"},
		{aFile{"l", 1, iofs.ModeSymlink | 0o777, now, nil}, "lrwxrwxrwx    1 0        0               1 Nov 22 08:00 l"},
		{aFile{"p", 0, iofs.ModeNamedPipe | 0o640, now, nil}, "prw-r-----    1 0        0               0 Nov 22 08:00 p"},
		{aFile{"s", 0, iofs.ModeSocket | iofs.ModeSetuid | 0o711, now, nil}, "srws--x--x    1 0        0               0 Nov 22 08:00 s"},
		{aFile{"c", 0, iofs.ModeDevice | iofs.ModeCharDevice | iofs.ModeSetgid | 0o600, now, nil}, "crw---S---    1 0        0               0 Nov 22 08:00 c"},
		{aFile{"b", 0, iofs.ModeDevice | iofs.ModeSetuid | iofs.ModeSticky, now, nil}, "b--S-----T    1 0        0               0 Nov 22 08:00 b"},
	}
	for _, tt := range tests {
		if got := string(appendLongname(nil, tt.file.name, tt.file, now, names)); got != tt.want {
			t.Errorf("longname is\n%q, want\n%q", got, tt.want)
		}
	}
}

// TestNames checks that there is a string for each number, which is empty if
// no name can be shown.
func TestNames(t *testing.T) {
	names := func(id uint32, group bool) string {
		return []string{"alice", "Domain Users", "a\x1bb", strings.Repeat("x", maxIDName), strings.Repeat("x", maxIDName+1)}[id]
	}
	var ids, want []byte
	for id, name := range []string{"alice", "Domain Users", "", strings.Repeat("x", maxIDName), ""} {
		ids = appendU32(ids, uint32(id))
		want = appendString(want, name)
	}
	if got := appendNames(nil, ids, true, names); !bytes.Equal(got, appendString(nil, want)) {
		t.Errorf("names are %q, want %q", got, want)
	}
}
