package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
	"berth/test/peers"
)

// rsyslogd is a real syslog server, which writes what it gets to a file.
type rsyslogd struct {
	t             *testing.T
	dir, received string
	port          int
	input         string
	cmd           *exec.Cmd
}

// newRsyslogd prepares a server that listens by input, a line of its
// configuration in which %d is a free port. start starts it.
func newRsyslogd(t *testing.T, input string) *rsyslogd {
	t.Helper()
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		t.Fatal("rsyslogd is not installed: run test/packages.sh base")
	}
	port, err := peers.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &rsyslogd{t: t, dir: dir, received: filepath.Join(dir, "received")}
	if r.port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	r.input = strings.NewReplacer("PORT", port, "DIR", dir).Replace(input)
	return r
}

func (r *rsyslogd) start() {
	r.t.Helper()
	text := `global(workDirectory="` + r.dir + `" maxMessageSize="64k")
` + r.input + `
template(name="all" type="string" string="%PRI% %HOSTNAME% %APP-NAME% %PROCID% %MSGID% %msg%\n")
action(type="omfile" file="` + r.received + `" template="all" fileCreateMode="0600")
`
	file := filepath.Join(r.dir, "rsyslog.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	var output bytes.Buffer
	r.cmd = exec.Command("rsyslogd", "-n", "-f", file, "-i", filepath.Join(r.dir, "pid"))
	r.cmd.Stdout, r.cmd.Stderr = &output, &output
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		r.stop()
		if r.t.Failed() {
			r.t.Logf("rsyslogd: %s", output.String())
		}
	})
}

func (r *rsyslogd) stop() {
	if r.cmd != nil {
		r.cmd.Process.Signal(syscall.SIGTERM)
		r.cmd.Wait()
		r.cmd = nil
	}
}

// messages waits until n have been received.
func (r *rsyslogd) messages(n int) []string {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(r.received)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		if lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"); len(lines) >= n && text != nil {
			return lines
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d messages did not come; the server has %q", n, text)
		}
	}
}

func openSyslog(t *testing.T, s Settings) *Queue {
	t.Helper()
	if s.Syslog.Facility == "" {
		s.Syslog.Facility = "local3"
	}
	if errs := s.Check(); len(errs) > 0 {
		t.Fatal(errs)
	}
	q, err := OpenSyslog(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func syslogSettings(address string) Settings {
	s := DefaultSettings()
	s.Node = "berth1"
	s.Syslog = Syslog{Address: address, Facility: "local3"}
	return s
}

// A real server understands every way in which messages come to it. It starts
// late: events wait for it.
func TestSyslog(t *testing.T) {
	ca := certificate(t)
	for _, tt := range []struct{ scheme, input string }{
		{"unix", `module(load="imuxsock" SysSock.Use="off")` + "\n" + `input(type="imuxsock" Socket="DIR/log" UseSpecialParser="off" ParseHostname="on")`},
		{"udp", `module(load="imudp")` + "\n" + `input(type="imudp" address="127.0.0.1" port="PORT")`},
		{"tcp", `module(load="imtcp")` + "\n" + `input(type="imtcp" address="127.0.0.1" port="PORT")`},
		{"tls", `module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="` + ca + `" defaultNetstreamDriverCertFile="` + ca + `" defaultNetstreamDriverKeyFile="` + ca + `.key")
input(type="imtcp" address="127.0.0.1" port="PORT")`},
	} {
		t.Run(tt.scheme, func(t *testing.T) {
			r := newRsyslogd(t, tt.input)
			address := fmt.Sprintf("%s://127.0.0.1:%d", tt.scheme, r.port)
			if tt.scheme == "unix" {
				address = "unix://" + r.dir + "/log"
			}
			s := syslogSettings(address)
			s.Syslog.CAFile = ca
			if tt.scheme == "udp" { // nobody would notice that it is not there
				r.start()
				waitForUDP(t, r)
			}
			q := openSyslog(t, s)
			e := event.Event{Type: event.LoginRejected, User: "älice\n<134>1 - - forged", Reason: event.BadPassword}
			q.Emit(e)
			q.Emit(event.Event{Type: event.Removed, Path: strings.Repeat("/long", 400), Target: strings.Repeat("/long", 400), HostPath: strings.Repeat("/long", 400)})
			if tt.scheme != "udp" {
				r.start()
			}
			got := r.messages(2)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 {
				t.Fatalf("%d messages, want 2: %q", len(got), got)
			}
			m := regexp.MustCompile(`^(\d+) (\S+) (\S+) (\d+) (\S+) (.*)$`).FindStringSubmatch(got[0])
			if want := fmt.Sprint(19*8 + 4); m == nil || m[1] != want || m[2] != "berth1" || m[3] != "berth" || m[4] != fmt.Sprint(os.Getpid()) || m[5] != "login_rejected" {
				t.Fatalf("got %q, want priority %s of berth1", got[0], want)
			}
			var back struct{ User, Reason string }
			if err := json.Unmarshal([]byte(m[6]), &back); err != nil || back.User != e.User || back.Reason != e.Reason.String() {
				t.Errorf("message %q: %v", m[6], err)
			}
			if !strings.Contains(got[1], `"target":"`+strings.Repeat("/long", 400)+`"`) {
				t.Errorf("the long one came as %q", got[1])
			}
		})
	}
}

// waitForUDP waits until the server has its socket: until then an ICMP answer
// says that there is none.
func waitForUDP(t *testing.T, r *rsyslogd) {
	t.Helper()
	eventually(t, "rsyslogd listens", func() bool {
		text, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), fmt.Sprintf("0100007F:%04X", r.port))
	})
}

// A server that restarts gets what happened meanwhile.
func TestSyslogOutlivesTheServer(t *testing.T) {
	r := newRsyslogd(t, `module(load="imtcp")`+"\n"+`input(type="imtcp" address="127.0.0.1" port="PORT")`)
	r.start()
	q := openSyslog(t, syslogSettings(fmt.Sprintf("tcp://127.0.0.1:%d", r.port)))
	q.Emit(numbered(1))
	r.messages(1)
	r.stop()
	q.Emit(numbered(2))
	q.Emit(numbered(3))
	r.start()
	got := r.messages(3)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/000001", "/000002", "/000003"} {
		if !strings.Contains(got[i], `"path":"`+want+`"`) {
			t.Errorf("message %d: %q, want %s", i, got[i], want)
		}
	}
}

// A certificate that nobody known vouches for gets nothing.
func TestSyslogVerifiesTheServer(t *testing.T) {
	server, other := certificate(t), certificate(t)
	r := newRsyslogd(t, `module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="`+server+`" defaultNetstreamDriverCertFile="`+server+`" defaultNetstreamDriverKeyFile="`+server+`.key")
input(type="imtcp" address="127.0.0.1" port="PORT")`)
	r.start()
	waitForTCP(t, r.port)
	s := syslogSettings(fmt.Sprintf("tls://127.0.0.1:%d", r.port))
	s.Syslog.CAFile = other
	q := openSyslog(t, s)
	q.Emit(numbered(1))
	var unknown x509.UnknownAuthorityError
	if err := q.Close(); !errors.As(err, &unknown) {
		t.Errorf("Close() = %v, want an unknown authority", err)
	}
	if text, err := os.ReadFile(r.received); err == nil && len(text) > 0 {
		t.Errorf("it got %q", text)
	}
}

func waitForTCP(t *testing.T, port int) {
	t.Helper()
	eventually(t, "rsyslogd listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// certificate makes a certificate for 127.0.0.1 that vouches for itself, and
// its key beside it, and returns the file.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cert.pem")
	for name, block := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: der}, file + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func TestSyslogSettings(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"unix:///dev/log", "/dev/log"},
		{"udp://siem", "siem:514"},
		{"tcp://[2001:db8::1]", "[2001:db8::1]:601"},
		{"tls://siem.corp.example:1514/", "siem.corp.example:1514"},
		{"siem:514", ""},
		{"/dev/log", ""},
		{"unix://dev/log", ""},
		{"tcp://", ""},
		{"tcp://siem/x", ""},
		{"http://siem", ""},
	} {
		s := Syslog{Address: tt.address, Facility: "auth"}
		_, got, err := s.split()
		if got != tt.want || (err == nil) != (tt.want != "") || (len(s.check()) > 0) != (tt.want == "") {
			t.Errorf("%q: %q, %v, want %q", tt.address, got, err, tt.want)
		}
	}
	s := Syslog{Address: "udp://siem", Facility: "kern"}
	if errs := s.check(); len(errs) != 1 || !strings.Contains(errs[0].Error(), `"kern"`) {
		t.Errorf("facility kern: %v", errs)
	}
}

// TestSyslogFromTheFile: a server that could not be reached gets the lines that were
// written meanwhile, also those of an earlier process.
func TestSyslogFromTheFile(t *testing.T) {
	ca := certificate(t)
	r := newRsyslogd(t, `module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="`+ca+`" defaultNetstreamDriverCertFile="`+ca+`" defaultNetstreamDriverKeyFile="`+ca+`.key")
input(type="imtcp" address="127.0.0.1" port="PORT")`)
	s, key := chained(t), newKey(t)
	s.Node, s.Syslog = "berth1", Syslog{Address: fmt.Sprintf("tls://127.0.0.1:%d", r.port), Facility: "local3", CAFile: ca, Types: []string{"removed"}}
	if errs := s.Check(); len(errs) > 0 || !s.SyslogFromFile() {
		t.Fatal(errs)
	}
	n := 0
	for range 2 { // it cannot be reached while the first process runs, and is restarted several times during the second
		f := openSigned(t, s, key)
		if _, err := f.ForwardToSyslog(s, hclog.NewNullLogger()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for range 50 {
				f.Emit(numbered(n))
				f.Emit(event.Event{Type: event.Renamed})
				n++
			}
			if n > 150 {
				r.start()
				eventually(t, "the last message", func() bool {
					got := r.messages(1)
					return strings.Contains(got[len(got)-1], numbered(n-1).Path)
				})
				r.stop()
			}
		}
		closeFile(t, f)
	}
	seen := map[string]bool{}
	for _, m := range r.messages(n) { // what was under way when it ended comes twice
		if want := numbered(len(seen)).Path; !seen[m] && !strings.Contains(m, want) || !strings.HasPrefix(m, fmt.Sprintf("%d berth1 berth %d removed {", 19*8+6, os.Getpid())) {
			t.Fatalf("got %s, want %s", m, want)
		}
		seen[m] = true
	}
	if len(seen) != n {
		t.Errorf("%d events, want %d", len(seen), n)
	}
}

// What a server has not confirmed is sent again: one that takes a connection and ends
// it has read nothing.
func TestSyslogServerThatReadsNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := chained(t)
	s.Syslog = Syslog{Address: "tcp://" + l.Addr().String(), Facility: "local3"}
	f := openSigned(t, s, newKey(t))
	w, err := f.ForwardToSyslog(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	f.Emit(numbered(1))
	for range 2 {
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var got []byte
	for b := make([]byte, 4096); !bytes.Contains(got, []byte(`"path":"/000001"`)); {
		n, err := nc.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, b[:n]...)
	}
	eventually(t, "all was taken", func() bool { return w.Health().Waiting == 0 })
	closeFile(t, f)
}
