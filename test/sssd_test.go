package test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// everything is what a site may have: limits that nodes share, quotas, uploads under a
// temporary name, checksums, a signed chain of events, the web page, a confined server.
const everything = `
  - name: all
    when: {groups: [bench*]}
    home: {host: "DIR/home/%%u", create: true, skeleton: [inbox]}
    folders: [{path: /shared, host: "DIR/shared", create: true, quota: 10GiB}]
    access: [{path: /inbox, permissions: [list, create], names: {deny: ["*.exe"]}}]
    limits: {sessions: 100, quota: 1GiB, quota_files: 1000, idle: 15m}
    uploads: atomic
admin: {listen: "127.0.0.1:0", socket: "DIR/admin"}
console: {listen: "127.0.0.1:0"}
admission: {max_sessions: 1000}
ssh: {checksums: true}
landlock: {enabled: true}
events: {file: "DIR/events.jsonl", chain: true}
state: {redis: {urls: [%q]}}
`

// A rival is one of two servers that are compared.
type rival struct {
	addr string
	cpu  func() time.Duration // all that this server and its helpers have used
}

// rivals starts Berth with everything, and OpenSSH with SSSD, for the same people.
func rivals(b testing.TB) (c *crowd, berth, openssh rival) {
	b.Helper()
	peers.Need(b, "sssd")
	c = newCrowd(b, peers.CompanyUsers, peers.CompanyGroups)
	r := peers.Redis(b)
	s := serveDirectory(b, plain, c.Peer, fmt.Sprintf(everything, r.URL))
	o := peers.OpenSSHWithSSSD(b, c.Peer)
	return c, rival{s.addr, func() time.Duration { return cpuTime(b, s.cmd.Process.Pid) + cpuTime(b, r.PID()) }},
		rival{o.Addr, func() time.Duration { return treeTime(o.PID()) }}
}

// logins has so many people, beginning with first, log in and start SFTP, 16 at once.
func (r rival) logins(t testing.TB, c *crowd, with ssh.AuthMethod, first, count int) (took, cpu time.Duration) {
	t.Helper()
	before, began := r.cpu(), time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				if err := c.useSFTP(first+int(i), r.addr, with); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	return took, r.settled(t) - before
}

// useSFTP logs a person in until SFTP answers.
func (c *crowd) useSFTP(person int, addr string, with ssh.AuthMethod) error {
	conn, err := c.dialAs(person, addr, with)
	if err != nil {
		return err
	}
	defer conn.Close()
	files, err := sftp.NewClient(conn)
	if err != nil {
		return fmt.Errorf("SFTP of u%d: %w", person, err)
	}
	defer files.Close()
	if _, err := files.Getwd(); err != nil {
		return fmt.Errorf("SFTP of u%d: %w", person, err)
	}
	return nil
}

// settled is the CPU time when the ends of sessions are over as well.
func (r rival) settled(t testing.TB) time.Duration {
	last, same := r.cpu(), 0
	for deadline := time.Now().Add(20 * time.Second); same < 3; {
		if time.Now().After(deadline) {
			t.Fatal("the server does not come to rest")
		}
		time.Sleep(50 * time.Millisecond)
		now := r.cpu()
		if now-last <= 10*time.Millisecond { // a tick
			same++
		} else {
			same = 0
		}
		last = now
	}
	return last
}

// treeTime is what a process, all that descend from it and those that have ended have used
// of the processors. What ends meanwhile may be missing.
func treeTime(pid int) (sum time.Duration) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	text, err := os.ReadFile(dir + "stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	for _, f := range fields[11:15] { // its own, and that of children it has waited for
		ticks, _ := strconv.ParseInt(f, 10, 64)
		sum += time.Duration(ticks) * (time.Second / 100)
	}
	threads, _ := filepath.Glob(dir + "task/*/children")
	for _, file := range threads {
		text, _ := os.ReadFile(file)
		for f := range strings.FieldsSeq(string(text)) {
			child, _ := strconv.Atoi(f)
			sum += treeTime(child)
		}
	}
	return sum
}

// BenchmarkLoginsBesideSSSD compares Berth, with everything that can be switched on, with
// OpenSSH that has its people from SSSD: the same slapd, the same people, in turns. In each
// round other people log in for the first time, and then once more.
//
//	BERTH_PEERS=sssd go test -run - -bench BesideSSSD -benchtime 1x ./test
func BenchmarkLoginsBesideSSSD(b *testing.B) {
	const rounds, each = 7, 160
	c, berth, openssh := rivals(b)
	first := 100
	for _, r := range []rival{berth, openssh} { // connections, tables of the start
		r.logins(b, c, nil, 0, first)
	}
	figures := map[string]*comparison{}
	for _, m := range []struct {
		name string
		with ssh.AuthMethod
	}{{"password", nil}, {"key", ssh.PublicKeys(c.key)}} {
		for _, again := range []string{"first", "again"} {
			figures[m.name+"-"+again] = &comparison{}
		}
		for range rounds {
			for _, again := range []string{"first", "again"} {
				f := figures[m.name+"-"+again]
				f.ours.add(berth.logins(b, c, m.with, first, each))
				f.theirs.add(openssh.logins(b, c, m.with, first, each))
			}
			first += each
		}
	}
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		ours, theirs := figures[name].ours, figures[name].theirs
		rate, cpu := ratios(theirs.took, ours.took), ratios(ours.cpu, theirs.cpu)
		b.Logf("%-15s Berth %4.0f logins/s %5.2f ms of CPU, OpenSSH %4.1f logins/s %5.1f ms: x %.1f (%.1f to %.1f), CPU x %.3f (%.3f to %.3f)", name,
			each/median(ours.took), 1000*median(ours.cpu)/each, each/median(theirs.took), 1000*median(theirs.cpu)/each,
			median(rate), slices.Min(rate), slices.Max(rate), median(cpu), slices.Min(cpu), slices.Max(cpu))
		b.ReportMetric(median(rate), name+"-x-logins/s")
		b.ReportMetric(median(cpu), name+"-x-cpu")
	}
}

// A comparison has a figure of each round, in seconds.
type comparison struct{ ours, theirs series }

type series struct{ took, cpu []float64 }

func (s *series) add(took, cpu time.Duration) {
	s.took, s.cpu = append(s.took, took.Seconds()), append(s.cpu, cpu.Seconds())
}

// ratios are a/b, round by round.
func ratios(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / b[i]
	}
	return all
}

// TestLoginsBesideSSSD is the short version: both servers know the same people, refuse the
// same, and Berth needs a quarter of the CPU time, or less.
func TestLoginsBesideSSSD(t *testing.T) {
	t.Parallel()
	c, berth, openssh := rivals(t)
	for _, r := range []rival{berth, openssh} {
		if err := c.useSFTP(1, r.addr, ssh.Password("wrong")); err == nil {
			t.Errorf("%s accepts a wrong password", r.addr)
		}
		r.logins(t, c, nil, 0, 16)
	}
	for name, with := range map[string]ssh.AuthMethod{"password": nil, "key": ssh.PublicKeys(c.key)} {
		_, ours := berth.logins(t, c, with, 100, 48)
		_, theirs := openssh.logins(t, c, with, 100, 48)
		t.Logf("%s: CPU x %.3f", name, ours.Seconds()/theirs.Seconds())
		if ours > theirs/4 {
			t.Errorf("48 logins with a %s cost Berth %v, OpenSSH %v", name, ours, theirs)
		}
	}
}
