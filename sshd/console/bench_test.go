package console

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/sshd/admin"
)

// busyFixture is a console of a server with 2,000 sessions, of which 200 transfer a file,
// and an events file longer than what pages look at.
func busyFixture(b *testing.B) (*fixture, *browser) {
	b.Helper()
	f := newFixture(b)
	f.operators.open = nil
	for i := range 2000 {
		s := admin.Session{
			ID: fmt.Sprintf("%016x", i), User: fmt.Sprintf("person%04d", i), UserID: fmt.Sprint(i), Remote: netip.MustParseAddrPort("192.0.2.7:22"),
			Method: "publickey", Since: time.Now(), Services: []string{"sftp"}, Read: int64(i) << 20,
		}
		if i%10 == 0 {
			s.Transfers = []admin.Transfer{{Path: "/shared/report.csv", Mode: "reading", Since: time.Now(), Bytes: 5 << 20, Position: 5 << 20, Size: 10 << 20}}
		}
		f.operators.open = append(f.operators.open, s)
	}
	f.File = filepath.Join(b.TempDir(), "events.jsonl")
	line := `{"time":"2026-11-24T09:00:00.000Z","id":1510,"type":"file_read_closed","session":"0123456789abcdef","user":"%s","user_id":"id-%[1]s","remote":"192.0.2.7:50022",` +
		`"service":"sftp","path":"/shared/report.csv","host_path":"/srv/shared/report.csv","mode":"reading","bytes_read":1048576,"outcome":"success"}` + "\n"
	var text strings.Builder
	for i := 0; text.Len() < mostTail+mostTail/4; i++ {
		fmt.Fprintf(&text, line, []string{"alice", "bob", "carol", "dave"}[i%4])
	}
	if err := os.WriteFile(f.File, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	for range mostSamples {
		f.History.sample(f.operators.open)
	}
	f.people.states["alice"] = directory.StatusActive
	root, _ := f.in(b, "root", "10.0.0.1")
	return f, root
}

// cpuTime has a benchmark report the time of CPUs, because other programs do not change it
// as much as the time that passes.
func cpuTime(b *testing.B) func() {
	b.Helper()
	used := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/1e6/float64(b.N), "cpu-ms/op") }
}

// BenchmarkPages: a page takes less than 50 ms.
func BenchmarkPages(b *testing.B) {
	f, root := busyFixture(b)
	for _, path := range []string{"/", "/?user=person1", "/people?user=alice", "/events", "/events?user=alice", "/folders", "/rules"} {
		b.Run(path, func(b *testing.B) {
			defer cpuTime(b)()
			for b.Loop() {
				f.live.read = time.Time{} // a second has passed
				if res := root.do(path, nil); res.StatusCode != 200 {
					b.Fatal(res.Status)
				}
			}
		})
	}
}

// BenchmarkFolders is a page of who can reach a folder, of 10,000 rows with last uses, and the
// events that are read for it in the background.
func BenchmarkFolders(b *testing.B) {
	f, root := busyFixture(b)
	set, err := policy.Compile([]policy.Rule{
		{Name: "all", Folders: []policy.Mount{{Path: "/shared", Host: "/srv/shared", Permissions: []string{"read_only"}}}, Services: []string{"sftp", "console_read"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	f.Gate.Rules, f.Rules = set, &rulesFile{set: set}
	for i := range 50_000 {
		f.people.states[fmt.Sprintf("p%05d", i)] = directory.StatusActive
	}
	csrf := regexp.MustCompile(`name="csrf" value="([0-9a-f]{64})"`).FindStringSubmatch(text(b, root.do("/folders", nil)))[1]
	link := root.do("/folders", url.Values{"csrf": {csrf}, "path": {"/shared"}}).Header.Get("Location")
	f.jobs.running.Wait()
	b.Run("page", func(b *testing.B) {
		defer cpuTime(b)()
		for b.Loop() {
			if page := text(b, root.do(link, nil)); !strings.Contains(page, "Page 1 of 50") || !strings.Contains(page, "Last use") {
				b.Fatal(page)
			}
		}
	})
	b.Run("events", func(b *testing.B) {
		defer cpuTime(b)()
		b.SetBytes(mostTail + mostTail/4)
		for b.Loop() {
			if uses, err := f.uses(b.Context(), &job{}, set, "/shared"); err != nil || uses.Since == nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStream is a second of five who look at the page Now: ten milliseconds would be
// one percent of a CPU. Each second everything has changed.
func BenchmarkStream(b *testing.B) {
	f, _ := busyFixture(b)
	defer cpuTime(b)()
	for b.Loop() {
		f.live.read = time.Time{}
		for i := range f.operators.open {
			f.operators.open[i].Read++
		}
		var sent bytes.Buffer
		for range 5 {
			p, err := f.drawLive(drawing{"", true})
			if err != nil {
				b.Fatal(err)
			}
			sent.Write(p.message)
		}
	}
}
