package audit

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
)

// searched returns what q finds in the files: the path or the type of each event, with a
// question mark if it is in doubt, and which files could not be read to their end.
func searched(t *testing.T, key ssh.Signer, q Query, files ...string) (found, unread []string) {
	t.Helper()
	s, err := NewSearch(q)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		v := &Verifier{Failed: func(file string, err error) { unread = append(unread, filepath.Base(file)) }}
		if key != nil {
			v.Keys = []string{ssh.FingerprintSHA256(key.PublicKey())}
		}
		err := s.File(v, file, func(m Match) {
			text := m.Path
			if text == "" {
				text = m.Type
			}
			if m.Doubt != "" {
				text += "?"
			}
			found = append(found, text)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found, unread
}

func TestSearchFinds(t *testing.T) {
	s := chained(t)
	f := openSigned(t, s, newKey(t))
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	from := func(addr string) netip.AddrPort { return netip.MustParseAddrPort(addr) }
	for _, e := range []event.Event{
		{Type: event.LoginAccepted, Session: "1", User: "alice", UserID: "id-1", Remote: from("10.1.2.3:40"), Fields: map[string]string{"fingerprint": "SHA256:a/b+c"}, Time: at.AddDate(0, 0, -1)},
		{Type: event.FileReadClosed, Session: "1", User: "alice", UserID: "id-1", Remote: from("10.1.2.3:40"), Path: "/finance/x.pdf", HostPath: "/srv/f/x.pdf", Time: at},
		{Type: event.FileReadClosed, Session: "1", User: "alice", UserID: "id-1", Path: "/finances", Time: at},
		{Type: event.Renamed, Session: "1", User: "alice", UserID: "id-1", Path: "/old", Target: "/finance/y", HostTarget: "/srv/f/y", Time: at},
		{Type: event.LoginRejected, Session: "2", User: "Bob", Remote: from("[::ffff:192.0.2.9]:7"), Reason: event.BadPassword, Time: at},
		{Type: event.ServerReloaded, Fields: map[string]string{"operator": "root"}, Time: at.AddDate(0, 0, 1)},
		{Type: event.ConnectionClosed, Session: "1", User: "alice", Time: at.AddDate(0, 0, 1)},
		{Type: event.Removed, Session: "1", Path: "/after the end", Time: at.AddDate(0, 0, 1)},
	} {
		f.Emit(e)
	}
	closeFile(t, f)
	all := []string{"login_accepted", "/finance/x.pdf", "/finances", "/old", "login_rejected", "server_reloaded", "connection_closed", "/after the end"}
	tests := []struct {
		name  string
		query Query
		want  []string
	}{
		{"everything", Query{}, nil},
		{"a name in another case", Query{User: "ALICE", Types: []string{"file_*"}}, all[1:3]},
		{"an id", Query{User: "id-1", Types: []string{"login_accepted"}}, all[:1]},
		{"a pattern of names", Query{User: "b*"}, all[4:5]},
		{"a folder, and not what only begins like it", Query{Path: "/finance"}, []string{"/finance/x.pdf", "/old"}},
		{"a folder, with a slash", Query{Path: "/finance/"}, []string{"/finance/x.pdf", "/old"}},
		{"all paths", Query{Path: "/", Types: []string{"removed"}}, all[7:]},
		{"a path on the server", Query{Path: "/srv/f/y"}, []string{"/old"}},
		{"a path in another case", Query{Path: "/Finance"}, nil},
		{"the characters of patterns are text", Query{Path: "/finance/x?pdf"}, nil},
		{"an address", Query{Remote: netip.MustParsePrefix("192.0.2.0/24")}, all[4:5]},
		{"a reason", Query{Reason: "bad_*"}, all[4:5]},
		{"an outcome", Query{Outcome: event.Failure}, all[4:5]},
		{"a session", Query{Session: "2"}, all[4:5]},
		{"a day", Query{Since: at.Truncate(24 * time.Hour), Until: at.Truncate(24*time.Hour).AddDate(0, 0, 1)}, all[1:5]},
		{"the key of the login, and not after the session", Query{Fields: map[string]string{"fingerprint": "SHA256:a/b+c"}}, []string{"login_accepted", "/finance/x.pdf", "/finances", "/old", "connection_closed"}},
		{"a key that nobody has", Query{Fields: map[string]string{"fingerprint": "SHA256:a/b+"}}, nil},
		{"an operator", Query{Fields: map[string]string{"operator": "*"}}, all[5:6]},
	}
	for _, tt := range tests {
		got, _ := searched(t, nil, tt.query, s.File)
		if tt.name == "everything" {
			got = slices.DeleteFunc(got, func(text string) bool { return text == "events_checkpoint" })
			tt.want = all
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, q := range []Query{{Types: []string{"removd"}}, {Types: []string{"[a"}}, {Outcome: "fine"}} {
		if _, err := NewSearch(q); err == nil {
			t.Errorf("%+v: no error", q)
		}
	}
}

// TestSearchOfDamagedArchives: events of damaged files are still found, those near the
// damage with a mark, and a damaged end does not hide the files after it.
func TestSearchOfDamagedArchives(t *testing.T) {
	s := chained(t)
	s.Compress = true
	key := newKey(t)
	const n = 200
	f := openSigned(t, s, key)
	var want []string
	for i := range n {
		f.Emit(event.Event{Type: event.Removed, Path: fmt.Sprintf("/%03d", i), User: "alice"})
		want = append(want, fmt.Sprintf("/%03d", i))
	}
	closeFile(t, f)
	q := Query{Types: []string{"removed"}}
	archives := glob(t, s, "*.gz")
	if len(archives) < 3 {
		t.Fatalf("%d full files, want some", len(archives))
	}
	if got, unread := searched(t, key, q, s.File); !slices.Equal(got, want) || len(unread) > 0 {
		t.Errorf("intact: got %q, %q not read", got, unread)
	}
	if got, _ := searched(t, key, q, append(archives, s.File)...); !slices.Equal(got, want) {
		t.Errorf("each file by its name, the last with those beside it: got %q", got)
	}
	if got, _ := searched(t, newKey(t), q, s.File); strings.Count(strings.Join(got, ""), "?") != n {
		t.Errorf("signed with another key: got %q, want all in doubt", got)
	}

	text, err := os.ReadFile(archives[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archives[1], text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	got, unread := searched(t, key, q, s.File)
	if !slices.Equal(unread, []string{filepath.Base(archives[1])}) {
		t.Errorf("not read to the end: %q, want %q", unread, archives[1])
	}
	if got[0] != "/000" || got[len(got)-1] != want[n-1] || len(got) >= n || !slices.ContainsFunc(got, func(text string) bool { return strings.HasSuffix(text, "?") }) {
		t.Errorf("with half an archive: got %q, want the first and last without a mark, and some with one", got)
	}

	changed, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	last := want[n-1]
	if err := os.WriteFile(s.File, []byte(strings.Replace(string(changed), last, "/xxx", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := searched(t, key, Query{Path: "/xxx"}, s.File); !slices.Equal(got, []string{"/xxx?"}) {
		t.Errorf("a changed line: got %q, want it with a mark", got)
	}
}

// TestNewest looks backwards from the end: not at a line that is cut or still being
// written, and not further than the caller wants.
func TestNewest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	line := func(day int, user, path string) string {
		return fmt.Sprintf(`{"time":"2026-11-%02dT09:00:00.000Z","type":"removed","user":"%s","user_id":"id","path":"%s","outcome":"success"}`+"\n", day, user, path)
	}
	first := line(1, "alice", "/first")
	text := first + line(2, "Alice", "/two") + "not JSON, of alice\n" + line(3, "bob", "/alice") + line(4, "al<i", "/four") + strings.TrimSuffix(line(5, "alice", "/being-written"), "\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		query Query
		bytes int
		most  int
		want  string
	}{
		{"all", Query{}, 1 << 20, 9, "[/four /alice /two /first]"},
		{"one", Query{}, 1 << 20, 1, "[/four]"},
		{"a person", Query{User: "alice"}, 1 << 20, 9, "[/two /first]"},
		{"in another case", Query{User: "ALICE"}, 1 << 20, 9, "[/two /first]"},
		{"a name that JSON may spell in another way", Query{User: "al<i"}, 1 << 20, 9, "[/four]"},
		{"a pattern", Query{User: "al*"}, 1 << 20, 9, "[/four /two /first]"},
		{"a path", Query{Path: "/alice"}, 1 << 20, 9, "[/alice]"},
		{"a type", Query{Types: []string{"login_*"}}, 1 << 20, 9, "[]"},
		{"the first line is cut", Query{}, len(text) - 1, 9, "[/four /alice /two]"},
		{"it begins with a line", Query{}, len(text) - len(first), 9, "[/four /alice]"}, // nobody knows that it does
		{"nothing whole", Query{}, 10, 9, "[]"},
	} {
		s, err := NewSearch(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		found := []string{}
		err = s.Newest(new(Tail), file, int64(tt.bytes), func(m Match) bool {
			found = append(found, m.Path)
			return len(found) < tt.most
		})
		if got := fmt.Sprint(found); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
	s, err := NewSearch(Query{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Newest(new(Tail), file+"x", 10, nil); !os.IsNotExist(err) {
		t.Errorf("a file that is missing: %v", err)
	}
}

// TestNewestAfterRotation: the newest events are found although a new file has just begun,
// whether the full one is compressed or not, and not more of them than asked for.
func TestNewestAfterRotation(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "events.jsonl")
		line := func(n int) string {
			return fmt.Sprintf(`{"time":"2026-11-29T09:00:00.000Z","type":"removed","user":"alice","path":"/%04d","outcome":"success"}`+"\n", n)
		}
		write := func(name string, from, to int) {
			t.Helper()
			text := ""
			for n := from; n < to; n++ {
				text += line(n)
			}
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		full := strings.TrimSuffix(file, ".jsonl") + "-20261129T090000.000Z.jsonl"
		write(full, 0, 1000)
		write(file, 1000, 1010)
		if compressed {
			if err := compress(full); err != nil {
				t.Fatal(err)
			}
		}
		var tail Tail
		most := int64(100*len(line(0)) + 10)
		newest := func() (first, last string, n int) {
			t.Helper()
			s, err := NewSearch(Query{})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Newest(&tail, file, most, func(m Match) bool {
				if n == 0 {
					first = m.Path
				}
				last = m.Path
				n++
				return true
			})
			if err != nil {
				t.Error(err)
			}
			return first, last, n
		}
		for range 2 {
			if first, last, n := newest(); n != 100 || first != "/1009" || last != "/0910" {
				t.Errorf("compressed %t: %d from %s to %s", compressed, n, first, last)
			}
		}
		write(file, 1000, 1200)
		if first, last, n := newest(); n != 100 || first != "/1199" || last != "/1100" {
			t.Errorf("compressed %t: %d from %s to %s", compressed, n, first, last)
		}
	}
}

// TestNewestAfterATornLine: all whole lines of a full file are found, and the rest of a line at
// its end spoils no line of the file in use, also when the end of the full file is remembered.
func TestNewestAfterATornLine(t *testing.T) {
	line := func(name string) string {
		return `{"time":"2026-11-29T09:00:00.000Z","type":"removed","path":"/` + name + `"}` + "\n"
	}
	for _, tt := range []struct {
		full string
		want []string
	}{
		{line("a") + line("b")[:20], []string{"/c", "/a"}},
		{line("a") + line("b"), []string{"/c", "/b", "/a"}},
		{line("a")[:20], []string{"/c"}},
		{"", []string{"/c"}},
	} {
		for _, compressed := range []bool{false, true} {
			file := filepath.Join(t.TempDir(), "events.jsonl")
			full := strings.TrimSuffix(file, ".jsonl") + "-20261129T090000.000Z.jsonl"
			for name, text := range map[string]string{full: tt.full, file: line("c")} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if compressed {
				if err := compress(full); err != nil {
					t.Fatal(err)
				}
			}
			s, err := NewSearch(Query{})
			if err != nil {
				t.Fatal(err)
			}
			tail := new(Tail)
			for range 2 {
				var found []string
				err := s.Newest(tail, file, 1<<20, func(m Match) bool { found = append(found, m.Path); return true })
				if err != nil || !slices.Equal(found, tt.want) {
					t.Errorf("after %q, compressed %t: found %q, %v; want %q", tt.full, compressed, found, err, tt.want)
				}
			}
		}
	}
}

// TestNewestAfterDamage: what is missing because an archive is damaged is an error, and no
// reason to miss what comes after it.
func TestNewestAfterDamage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	full := strings.TrimSuffix(file, ".jsonl") + "-20261129T090000.000Z.jsonl"
	var before strings.Builder
	for n := range 20_000 { // more than gzip keeps before it writes
		fmt.Fprintf(&before, `{"time":"2026-11-29T09:00:00.000Z","type":"removed","path":"/%08x"}`+"\n", n*2654435761)
	}
	for name, text := range map[string]string{full: before.String(), file: `{"time":"2026-11-29T09:00:01.000Z","type":"removed","path":"/last"}` + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := compress(full); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(full + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(full+".gz", info.Size()/2); err != nil {
		t.Fatal(err)
	}
	s, err := NewSearch(Query{})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	err = s.Newest(new(Tail), file, 1<<20, func(m Match) bool {
		found = append(found, m.Path)
		return len(found) < 2
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(found) != 2 || found[0] != "/last" {
		t.Errorf("found %q, %v; want /last, one before it, and that the archive is damaged", found, err)
	}
}
