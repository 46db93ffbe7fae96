package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/peers"
)

// smallDisk is the size of the disk that fills up.
const smallDisk = 8 << 20

// A soak is one run.
type soak struct {
	dir, small, program string
	directory           *peers.Peer
	server              *exec.Cmd
	addr, admin         string
	faultLasts          time.Duration // for which the directory cannot be reached, or a disk is full
	excuse              atomic.Int64  // odd during a fault
	watching            sync.WaitGroup
	unwatch             context.CancelFunc

	life atomic.Int64 // how often the server started

	// of the goroutine of run only
	faults          []interval
	began, unloaded time.Time
	account         *account // what the events of the last life add up to
	atRest          sample   // before the load

	samples []sample // of watch, until unwatch

	mu     sync.Mutex // guards what is below
	conns  map[*net.TCPConn]bool
	books  books
	errs   []error // the first ones
	errors int
}

// An interval is when something was broken.
type interval struct {
	name       string
	began, end time.Time
}

// open builds and starts everything. The soak is to be closed even after an error.
func open(o options) (*soak, error) {
	s := &soak{
		dir: o.dir, small: filepath.Join(o.dir, "small"), program: filepath.Join(o.dir, "berth"),
		faultLasts: min(4*time.Second, o.last/20), conns: map[*net.TCPConn]bool{}, books: newBooks(), unwatch: func() {},
	}
	if os.Geteuid() != 0 {
		return s, errors.New("must be root, which may mount a small disk")
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return s, fmt.Errorf("find the Makefile: %w", err)
	}
	key := filepath.Join(s.dir, "key")
	for _, cmd := range [][]string{
		{"make", "-s", "-C", strings.TrimSpace(string(root)), "build", "OUT=" + s.program},
		{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			return s, fmt.Errorf("%v: %w: %s", cmd, err, out)
		}
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return s, err
	}
	slapd := filepath.Join(s.dir, "slapd")
	if err := errors.Join(os.Mkdir(slapd, 0o700), os.Mkdir(s.small, 0o700)); err != nil {
		return s, err
	}
	if s.directory, err = peers.StartOpenLDAP(slapd, peers.Company(strings.TrimSpace(string(public)))); err != nil {
		return s, err
	}
	if err := unix.Mount("tmpfs", s.small, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=700,size=%d", smallDisk)); err != nil {
		return s, fmt.Errorf("mount a small disk: %w", err)
	}
	if s.addr, err = freeAddress(); err == nil {
		s.admin, err = freeAddress()
	}
	if err != nil {
		return s, err
	}
	p := s.directory
	config := strings.NewReplacer("ADDR", s.addr, "ADMIN", s.admin, "DIR", s.dir, "URL", p.LDAPS, "CAFILE", p.CAFile,
		"BASE", p.Base, "BINDDN", p.BindDN, "SECRET", p.BindPassword).Replace(configuration)
	if err := os.WriteFile(filepath.Join(s.dir, "berth.yaml"), []byte(config), 0o600); err != nil {
		return s, err
	}
	if err := s.serve(); err != nil {
		return s, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.unwatch = cancel
	s.watching.Go(func() { s.watch(ctx) })
	return s, nil
}

// configuration has a rule for uploads in place and one for atomic uploads.
const configuration = `listen: [ADDR]
host_keys: [DIR/ssh_host_ed25519_key]
directories:
  - {name: soak, kind: openldap, urls: [URL], ca_file: CAFILE, base: "BASE", bind_dn: "BINDDN", bind_password: SECRET, outage: {keep: 1h}}
rules:
  - {name: all, home: {host: "DIR/home/%u", create: true}, services: [sftp, scp, passwd, keys, whoami]}
  - {name: small, folders: [{path: /small, host: DIR/small, permissions: [full]}]}
  - {name: atomic, when: {users: ["*0", "*2", "*4", "*6", "*8"]}, uploads: atomic}
ssh: {refusal_delay: 0s}
admission: {max_startups: {begin: 1000, rate: 100, full: 1000}}
admin: {listen: ADMIN}
events: {file: DIR/events.jsonl, max_size: 4GiB}
log: {level: warn}
`

func freeAddress() (string, error) {
	port, err := peers.FreePort("127.0.0.1")
	return net.JoinHostPort("127.0.0.1", port), err
}

// serve starts the server and returns when it is ready.
func (s *soak) serve() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "berth.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.mu.Lock()
	s.life.Add(1)
	s.books = books{visits: s.books.visits, excused: s.books.excused, stored: s.books.stored}
	s.mu.Unlock()
	s.server = exec.Command(s.program, "serve", "--config", filepath.Join(s.dir, "berth.yaml"))
	s.server.Stdout, s.server.Stderr = log, log
	if err := s.server.Start(); err != nil {
		return err
	}
	if err := s.ready(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w: %s", err, text)
	}
	return nil
}

// ready returns when people can log in.
func (s *soak) ready() error {
	for range 300 {
		res, err := http.Get("http://" + s.admin + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(100 * time.Millisecond) // the server does not report when it is
	}
	return errors.New("the server is not ready")
}

// close ends everything that runs.
func (s *soak) close() (err error) {
	s.unwatch()
	s.watching.Wait()
	if s.server != nil && s.server.Process != nil {
		err = errors.Join(s.server.Process.Signal(syscall.SIGTERM), s.server.Wait())
	}
	if s.directory != nil {
		s.directory.Kill()
	}
	if e := unix.Unmount(s.small, unix.MNT_DETACH); e != nil && !errors.Is(e, unix.EINVAL) && !errors.Is(e, unix.ENOENT) {
		err = errors.Join(err, e)
	}
	return err
}

// failed notes what should not have happened. The first ones are reported.
func (s *soak) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors++; s.errors <= 20 {
		s.errs = append(s.errs, err)
	}
}

// A sample is how the server is at one moment.
type sample struct {
	at                                        time.Time
	sessions, memory, descriptors, goroutines float64
}

// watch takes samples until ctx ends.
func (s *soak) watch(ctx context.Context) {
	for pause(ctx, time.Second) {
		m, err := s.metrics(ctx)
		if err == nil { // it may be starting again
			s.samples = append(s.samples, sampleOf(m))
		}
	}
}

func sampleOf(m map[string]float64) sample {
	return sample{
		time.Now(), m["berth_sessions"], m["process_resident_memory_bytes"], m["process_open_fds"], m["go_goroutines"],
	}
}

// metrics returns what the server counts, each name with the sum over its labels,
// and each name with its labels.
func (s *soak) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		series := line[:end]
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", series, err)
		}
		all[series] = value
		if name, _, labelled := strings.Cut(series, "{"); labelled {
			all[name] += value
		}
	}
	return all, lines.Err()
}
