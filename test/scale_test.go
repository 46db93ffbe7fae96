package test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// A crowd logs in to the built server in front of slapd, each person with the same key.
type crowd struct {
	*peers.Peer
	people int
	key    ssh.Signer
	next   atomic.Int64
}

func newCrowd(b testing.TB, people, groups int) *crowd {
	b.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c := &crowd{people: people}
	if c.key, err = ssh.NewSignerFromSigner(private); err != nil {
		b.Fatal(err)
	}
	peers.Need(b, "openldap")
	text := peers.CompanyOf(people, groups, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(c.key.PublicKey()))))
	if c.Peer, err = peers.StartOpenLDAP(b.TempDir(), text); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Kill)
	return c
}

// dial logs the next person in.
func (c *crowd) dial(addr string, with ssh.AuthMethod) (*ssh.Client, error) {
	return c.dialAs(int(c.next.Add(1)*7)%c.people, addr, with)
}

// dialAs logs in the person with this number, with their password or something else.
func (c *crowd) dialAs(person int, addr string, with ssh.AuthMethod) (*ssh.Client, error) {
	user := fmt.Sprint("u", person)
	if with == nil {
		with = ssh.Password(peers.Password(user))
	}
	conn, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{with}, Timeout: time.Minute,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		Config:          ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519}},
	})
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	return conn, nil
}

// logins logs so many people in, so many at once, and returns how long each took.
func (c *crowd) logins(b *testing.B, addr string, with ssh.AuthMethod, count, atOnce int) []time.Duration {
	b.Helper()
	times := make([]time.Duration, count)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				began := time.Now()
				conn, err := c.dial(addr, with)
				if err != nil {
					b.Error(err)
					return
				}
				times[i] = time.Since(began)
				conn.Close()
			}
		})
	}
	wg.Wait()
	return times
}

func median[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkNodes compares logins to a server alone with logins to one that shares its state
// in Redis, in turns, so that what else the machine does weighs on both. It reports what
// Redis adds to each login: CPU time of Berth, of Redis, latency of one after the other,
// and commands.
func BenchmarkNodes(b *testing.B) {
	const rounds, atOnce, each = 9, 16, 600
	c := newCrowd(b, peers.CompanyUsers, peers.CompanyGroups)
	r := peers.Redis(b)
	addr := strings.TrimPrefix(r.URL, "redis://")
	limits := "admission: {max_startups: {full: 0}}\n"
	alone := serveCompany(b, c.Peer, limits)
	shared := serveCompany(b, c.Peer, limits, fmt.Sprintf("state: {redis: {urls: [%q]}}\n", r.URL))
	for _, m := range []struct {
		name string
		with ssh.AuthMethod
	}{{"password", nil}, {"key", ssh.PublicKeys(c.key)}} {
		b.Run(m.name, func(b *testing.B) {
			for _, s := range []*server{alone, shared} {
				c.logins(b, s.addr, m.with, 200, atOnce)
			}
			type figures struct{ cpu, redis, latency, rate, asked, told float64 }
			measure := func(s *server) (f figures) {
				cpu, redis, asked, told := cpuTime(b, s.cmd.Process.Pid), cpuTime(b, r.PID()), redisCalls(b, addr, "evalsha"), redisCalls(b, addr, "eval")
				began := time.Now()
				c.logins(b, s.addr, m.with, each, atOnce)
				took := time.Since(began)
				per := func(d time.Duration) float64 { return d.Seconds() * 1000 / each }
				f.cpu, f.redis, f.rate = per(cpuTime(b, s.cmd.Process.Pid)-cpu), per(cpuTime(b, r.PID())-redis), each/took.Seconds()
				f.asked, f.told = float64(redisCalls(b, addr, "evalsha")-asked)/each, float64(redisCalls(b, addr, "eval")-told)/each
				f.latency = float64(median(c.logins(b, s.addr, m.with, 100, 1)).Microseconds()) / 1000
				return f
			}
			var without, with []figures
			for range rounds {
				without, with = append(without, measure(alone)), append(with, measure(shared))
			}
			report := func(unit string, of func(figures) float64) {
				var a, s []float64
				for i := range with {
					a, s = append(a, of(without[i])), append(s, of(with[i]))
				}
				b.Logf("%-22s alone %8.3f   with Redis %8.3f", unit, median(a), median(s))
				b.ReportMetric(median(s)-median(a), "more-"+unit)
			}
			report("logins/s", func(f figures) float64 { return f.rate })
			report("berth-cpu-ms/login", func(f figures) float64 { return f.cpu })
			report("redis-cpu-ms/login", func(f figures) float64 { return f.redis })
			report("latency-ms", func(f figures) float64 { return f.latency })
			report("waited-for/login", func(f figures) float64 { return f.asked })
			report("commands-behind/login", func(f figures) float64 { return f.told })
		})
	}
}

// redisCalls is how often a Redis has run a command.
func redisCalls(b *testing.B, addr, command string) (calls int) {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "INFO commandstats\r\nQUIT\r\n")
	var text bytes.Buffer
	if _, err := text.ReadFrom(conn); err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d,", &calls); err == nil {
			return calls
		}
	}
	return 0
}

// BenchmarkIdle holds as many sessions, each with SFTP and a folder, as descriptors allow,
// at most 10,000, in one server, and reports what each takes of memory and of the
// processors.
func BenchmarkIdle(b *testing.B) {
	var limit syscall.Rlimit // Go has raised it to the hard limit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	most := min(10_000, (int(limit.Cur)-256)/2)
	c := newCrowd(b, peers.CompanyUsers, peers.CompanyGroups)
	s := serveDirectory(b, dense(b), c.Peer, companyRules+"admission: {max_startups: {full: 0}}\nssh: {max_connections: 10000}\n")
	pid := s.cmd.Process.Pid
	before := pss(b, pid)
	open := 0
	for _, want := range []int{2000, most} {
		var wg sync.WaitGroup
		for range 16 {
			share := (want - open) / 16
			wg.Go(func() {
				for range share {
					conn, err := c.dial(s.addr, ssh.PublicKeys(c.key))
					if err != nil {
						b.Error(err)
						return
					}
					b.Cleanup(func() { conn.Close() })
					if _, err := sftp.NewClient(conn); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		open += (want - open) / 16 * 16
		time.Sleep(130 * time.Second) // two re-checks; what logins left is collected
		cpu := cpuTime(b, pid)
		asked := cpuTime(b, c.PID())
		time.Sleep(60 * time.Second)
		kib := float64(pss(b, pid)-before) / 1024 / float64(open)
		b.Logf("%d sessions: %.1f KiB each; in a minute %v of Berth's CPU, %v of slapd's", open, kib, cpuTime(b, pid)-cpu, cpuTime(b, c.PID())-asked)
		b.ReportMetric(kib, "KiB/session")
	}
}

// dense builds a server that accepts a connection for two descriptors instead of three. A
// session that is idle needs no more: its socket and its folder.
func dense(b *testing.B) (program string) {
	b.Helper()
	dir := b.TempDir()
	source, err := filepath.Abs("../cmd/berth/limits.go")
	if err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		b.Fatal(err)
	}
	const three, two = "descriptorsEach   = 3\n", "descriptorsEach   = 2\n"
	if !bytes.Contains(text, []byte(three)) {
		b.Fatalf("%s has no %q", source, three)
	}
	changed, overlay, program := filepath.Join(dir, "limits.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "berth")
	if err := os.WriteFile(changed, bytes.Replace(text, []byte(three), []byte(two), 1), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, source, changed), 0o600); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("make", "-s", "-C", "..", "build", "OUT="+program, "BUILDFLAGS=-overlay="+overlay).CombinedOutput(); err != nil {
		b.Fatalf("build a server: %v\n%s", err, out)
	}
	return program
}

// pss is the proportional set size of a process, in bytes.
func pss(b *testing.B, pid int) (bytes int64) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nPss:")
	if _, err := fmt.Sscan(after, &bytes); err != nil {
		b.Fatal(err)
	}
	return bytes << 10
}

// BenchmarkCompany has 50,000 people in 2,000 groups: a login, a table of everybody's
// rights, a report for auditors, and the re-check of the sessions of 5,000 different people.
func BenchmarkCompany(b *testing.B) {
	const people = 50_000
	c := newCrowd(b, people, 2000)
	s := serveCompany(b, c.Peer, "admission: {max_startups: {full: 0}}\nssh: {max_connections: 10000}\n")
	pid := s.cmd.Process.Pid
	c.logins(b, s.addr, ssh.PublicKeys(c.key), 100, 4)
	b.Logf("a login alone: %v with a key, %v with a password", median(c.logins(b, s.addr, ssh.PublicKeys(c.key), 200, 1)), median(c.logins(b, s.addr, nil, 200, 1)))

	config := filepath.Join(filepath.Dir(s.output), "berth.yaml")
	began := time.Now()
	explain := exec.CommandContext(context.Background(), plain, "explain", "--all", "--config", config)
	table, err := explain.Output()
	if err != nil || bytes.Count(table, []byte("\n")) < people {
		b.Fatalf("explain --all: %v, %d lines", err, bytes.Count(table, []byte("\n")))
	}
	took := time.Since(began)
	b.Logf("explain --all of %d people: %v, %v of its CPU, %d MiB at most", people, took, explain.ProcessState.UserTime()+explain.ProcessState.SystemTime(), explain.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10)
	b.ReportMetric(took.Seconds(), "s/explain-all")

	began = time.Now()
	access := exec.CommandContext(context.Background(), plain, "report", "access", "--all", "--config", config)
	if table, err = access.Output(); err != nil || !bytes.Contains(table, fmt.Appendf(nil, "people looked at: %d\n", people)) {
		b.Fatalf("report access --all: %v\n%.500s", err, table)
	}
	took = time.Since(began)
	b.Logf("report access --all of %d people: %v, %v of its CPU, %d MiB at most", people, took, access.ProcessState.UserTime()+access.ProcessState.SystemTime(), access.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10)
	b.ReportMetric(took.Seconds(), "s/report-all")

	const sessions = 5000
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range sessions / 16 {
				conn, err := c.dial(s.addr, ssh.PublicKeys(c.key))
				if err != nil {
					b.Error(err)
					return
				}
				b.Cleanup(func() { conn.Close() })
			}
		})
	}
	wg.Wait()
	time.Sleep(70 * time.Second)
	cpu, asked, began := cpuTime(b, pid), cpuTime(b, c.PID()), time.Now()
	time.Sleep(3 * time.Minute)
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / time.Since(began).Seconds() }
	b.Logf("re-check of %d different people: %.1f %% of a CPU of Berth, %.1f %% of slapd", sessions/16*16, share(cpuTime(b, pid)-cpu), share(cpuTime(b, c.PID())-asked))
	b.ReportMetric(share(cpuTime(b, pid)-cpu), "%cpu-recheck")
}
