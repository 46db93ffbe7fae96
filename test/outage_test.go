package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// TestStartWithoutDirectory starts berth while no directory answers: it serves,
// says that it is not ready, tells people why they cannot log in, and is ready
// when the directory is.
func TestStartWithoutDirectory(t *testing.T) {
	t.Parallel()
	p := peers.OpenLDAP(t)
	p.Kill()
	s, dir := serveDomain(t, p)

	ready := func() (int, string) {
		body, status, err := httpGet(t.Context(), "http://"+s.admin+"/readyz")
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	if status, body := ready(); status != http.StatusServiceUnavailable || !strings.Contains(body, "connection refused") {
		t.Errorf("/readyz = %d %q, want 503 and the reason", status, body)
	}
	banner, err := login(s.addr, "alice", peers.Password("alice"))
	if err == nil || !strings.Contains(banner, "The directory cannot be reached") {
		t.Errorf("login = %v, banner %q", err, banner)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "readiness", func() bool {
		status, _ := ready()
		return status == http.StatusOK
	})
	if _, err := login(s.addr, "alice", peers.Password("alice")); err != nil {
		t.Errorf("login with the directory back: %v", err)
	}
	for _, want := range []string{`certificate_expiry_timestamp_seconds{name="` + p.LDAPS, `",use="ca_file"}`, "logins_under_way 0", "penalized_sources ", `channels{service="sftp"} `, `open_files{service="scp"} 0`, `rules_info{hash="`, `config_info{hash="`} {
		eventually(t, "the metrics have "+want, func() bool { // a login counts for a moment after its answer
			metrics, _, err := httpGet(t.Context(), "http://"+s.admin+"/metrics")
			return err == nil && strings.Contains(metrics, want)
		})
	}
	recorded(t, dir, `"reason":"directory_unavailable"`, `"type":"directory_up"`)
}

// A visitor logs in again and again, in one way, and knows which outcomes are
// right.
type visitor struct {
	name string
	user string
	auth ssh.AuthMethod

	mayEnter  bool // the right password, or a key
	mustEnter bool // whatever becomes of the directory

	in, out, silent atomic.Int64 // accepted, refused, or with the message that the directory does not answer
}

// visit logs in once and counts wrong answers as errors of the test.
func (v *visitor) visit(t *testing.T, addr string) {
	banner := ""
	c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: v.user, Auth: []ssh.AuthMethod{v.auth}, Timeout: time.Minute,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		BannerCallback:  func(text string) error { banner += text; return nil },
	})
	switch silent := strings.Contains(banner, "The directory cannot be reached"); {
	case err == nil:
		c.Close()
		v.in.Add(1)
		if !v.mayEnter {
			t.Errorf("wrong answer: %s was let in", v.name)
		}
	case silent:
		v.silent.Add(1)
		if v.mustEnter {
			t.Errorf("%s: %v, %q; want to be let in from what is remembered", v.name, err, banner)
		}
	default:
		v.out.Add(1)
		if v.mayEnter {
			t.Errorf("wrong answer: %s: %v, banner %q; want to be let in, or that the directory does not answer", v.name, err, banner)
		}
	}
}

// copyKeys gives the people of one server the keys they have on another.
func copyKeys(t *testing.T, from, to *peers.Peer, names ...string) {
	t.Helper()
	for _, name := range names {
		line, err := os.ReadFile(filepath.Join(from.Dir, "keys", name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		d := domains["openldap"]
		d.alice = fmt.Sprintf("uid=%s,ou=people,dc=example,dc=test", name)
		d.change(t, to, "sshPublicKey: "+strings.TrimSpace(string(line)))
	}
}

// TestOutagesUnderLoad kills, stops and restarts two real directory servers,
// alone and together, while people log in. Nobody is accepted who should not
// be, and no right password is called wrong. Logins by key never fail, because
// of outage.keep.
func TestOutagesUnderLoad(t *testing.T) {
	a, b := peers.OpenLDAP(t), peers.OpenLDAP(t)
	both := filepath.Join(t.TempDir(), "both.pem")
	var pem []byte
	for _, p := range []*peers.Peer{a, b} {
		text, err := os.ReadFile(p.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		pem = append(pem, text...)
	}
	if err := os.WriteFile(both, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	copyKeys(t, a, b, "alice", "locked")
	twins := *a
	twins.CAFile, twins.LDAPS = both, a.LDAPS+", "+b.LDAPS
	s, dir := serveDomain(t, &twins, "connect_timeout: 1s", "request_timeout: 1s", "probe_every: 100ms", "outage: {keep: 1h}")

	visitors := []*visitor{
		{name: "the right password", user: "alice", auth: ssh.Password(peers.Password("alice")), mayEnter: true},
		{name: "the key", user: "alice", auth: ssh.PublicKeys(keyOf(t, a, "alice")), mayEnter: true, mustEnter: true},
		{name: "a wrong password", user: "bob", auth: ssh.Password("wrong")},
		{name: "nobody", user: "nobody", auth: ssh.Password("guess")},
		{name: "a locked account's key", user: "locked", auth: ssh.PublicKeys(keyOf(t, a, "locked"))},
	}
	for _, v := range visitors { // the cache knows them, and what state they are in
		v.visit(t, s.addr)
	}
	var visits atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, v := range visitors {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					v.visit(t, s.addr)
					visits.Add(1)
				}
			}
		})
	}
	settle := func(during string) {
		until := visits.Load() + 25
		eventually(t, "logins while "+during, func() bool { return visits.Load() >= until })
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	for _, p := range []*peers.Peer{a, b} {
		p.Kill()
		settle("one is dead")
		do(p.Start())
		settle("it is back")
		do(p.Pause())
		settle("one hangs")
		do(p.Resume())
	}
	do(a.Pause())
	b.Kill()
	settle("one hangs and one is dead")
	a.Kill()
	settle("both are dead")
	do(b.Start())
	settle("one is back")
	do(a.Start())
	settle("both are back")
	close(stop)
	wg.Wait()
	recorded(t, dir, `"directory":"cached"`)
	for line := range strings.Lines(readFile(t, filepath.Join(dir, "events.jsonl"))) {
		if strings.Contains(line, `"user":"alice"`) && strings.Contains(line, `"type":"login_rejected"`) && !strings.Contains(line, `"directory_unavailable"`) {
			t.Errorf("wrong answer in the events: %s", line)
		}
	}
	for _, v := range visitors {
		in, out, silent := v.in.Load(), v.out.Load(), v.silent.Load()
		t.Logf("%-22s %4d let in, %4d refused, %4d without an answer", v.name, in, out, silent)
		if v.mayEnter && in < 10 || !v.mayEnter && out < 10 {
			t.Errorf("%s: hardly any answers", v.name)
		}
	}
	if visitors[0].silent.Load() == 0 {
		t.Error("passwords were checked while both servers were dead")
	}
}
