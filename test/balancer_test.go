package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pkg/sftp"

	"berth/test/peers"
)

// farm is servers that share host keys, people, homes and a Redis, behind HAProxy.
type farm struct {
	addr  string // of HAProxy
	demo  string // whose keys and homes all have
	nodes []*farmNode
}

type farmNode struct {
	*server
	demo, file string
}

func (n *farmNode) start(t *testing.T) {
	t.Helper()
	s, err := startServer(berth, n.demo, "serve", "--config", n.file)
	if err != nil {
		t.Fatal(err)
	}
	n.server = s
	t.Cleanup(s.stop)
	t.Cleanup(func() { endSuccessor(t, n.demo) })
}

func (n *farmNode) events(t *testing.T) string {
	t.Helper()
	return readFile(t, filepath.Join(n.demo, "events.jsonl"))
}

// newFarm starts so many nodes, which settings are added to.
func newFarm(t *testing.T, count int, settings ...string) *farm {
	t.Helper()
	r := peers.Redis(t)
	f := &farm{}
	ports := func() (p [2]string) {
		for i := range p {
			var err error
			if p[i], err = peers.FreePort("127.0.0.1"); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	config := "global\n maxconn 2000\ndefaults\n mode tcp\n timeout connect 2s\n timeout client 5m\n timeout server 5m\n retries 3\n option redispatch\n"
	front := ports()[0]
	f.addr = net.JoinHostPort("127.0.0.1", front)
	config += "listen sftp\n bind " + f.addr + "\n balance roundrobin\n option httpchk GET /readyz\n"
	for i := range count {
		demo := filepath.Join(t.TempDir(), "demo")
		n := &farmNode{demo: demo, file: atomicDemo(t, demo)}
		if i == 0 {
			f.demo = demo
		}
		text, err := os.ReadFile(n.file)
		if err != nil {
			t.Fatal(err)
		}
		p := ports()
		for _, shared := range []string{"/ssh_host_", "/people.ldif", "/home/", "/shared", "/finance", "/drop"} {
			text = bytes.ReplaceAll(text, []byte(demo+shared), []byte(f.demo+shared))
		}
		text = bytes.ReplaceAll(text, []byte(`console: {listen: "127.0.0.1:0"}`), nil)
		text = bytes.ReplaceAll(text, []byte("listen: [127.0.0.1:0]"), []byte("listen: [127.0.0.1:"+p[0]+"]"))
		text = bytes.ReplaceAll(text, []byte("127.0.0.1:0"), []byte("127.0.0.1:"+p[1])) // the admin listener
		text = append(text, fmt.Sprintf("state: {redis: {urls: [%q], timeout: 10s}}\nssh: {proxy_from: [127.0.0.0/8], drain_notice: 2s, drain: 1m}\n", r.URL)...)
		if err := os.WriteFile(n.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		edit(t, n.file, "events: {", fmt.Sprintf("events: {node: node%d, ", i))
		for _, s := range settings {
			edit(t, n.file, "    uploads: atomic\n", "    uploads: atomic\n"+s)
		}
		n.start(t)
		f.nodes = append(f.nodes, n)
		config += fmt.Sprintf(" server node%d 127.0.0.1:%s send-proxy-v2 check addr 127.0.0.1 port %s inter 200ms fastinter 100ms fall 5 rise 1\n", i, p[0], p[1])
	}
	peers.HAProxy(t, f.addr, config)
	return f
}

// A breakage is a connection that ended before its work was done.
type breakage struct {
	port string // of the client
	err  error
}

// uploads has so many clients upload, each in one connection after the other, until end
// is called. done counts whole files.
func (f *farm) uploads(t *testing.T, clients int) (done *atomic.Int64, end func() []breakage) {
	done = new(atomic.Int64)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var broken []breakage
	for c := range clients {
		data := make([]byte, 256<<10)
		random := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, c)))
		random.Read(data)
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				port, err := f.upload(fmt.Sprintf("c%d-%d", c, n%5), data)
				if err == nil {
					done.Add(1)
					continue
				}
				mu.Lock()
				broken = append(broken, breakage{port, err})
				mu.Unlock()
			}
		})
	}
	return done, func() []breakage {
		close(stop)
		wg.Wait()
		for c := range clients { // what was acknowledged last is there, whole
			data := make([]byte, 256<<10)
			random := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, c)))
			random.Read(data)
			if got, err := os.ReadFile(fmt.Sprintf("%s/home/alice/c%d-0", f.demo, c)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("file of client %d: %d bytes, %v; want what was uploaded", c, len(got), err)
			}
		}
		return broken
	}
}

// upload uploads one file in a connection of its own. port is the client's.
func (f *farm) upload(name string, data []byte) (port string, err error) {
	conn, err := dialAlice(f.addr, f.demo)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, port, _ = net.SplitHostPort(conn.LocalAddr().String())
	client, err := sftp.NewClient(conn)
	if err != nil {
		return port, err
	}
	defer client.Close()
	file, err := client.Create(name)
	if err != nil {
		return port, err
	}
	if _, err := file.Write(data); err != nil {
		return port, err
	}
	return port, file.Close()
}

// TestBalancer: behind a balancer a node is upgraded, drained, stopped for a while and
// killed while people upload. Only transfers on the killed node break, and a client
// that tries again succeeds.
func TestBalancer(t *testing.T) {
	t.Parallel()
	f := newFarm(t, 3)
	done, end := f.uploads(t, 8)
	more := func(n int64, while string) {
		t.Helper()
		from := done.Load()
		eventually(t, fmt.Sprintf("%d more files, %s", n, while), func() bool { return done.Load() >= from+n })
	}
	more(20, "with all nodes")

	for _, n := range f.nodes[:2] {
		if out, err := exec.Command(berth, "upgrade", "--config", n.file).CombinedOutput(); err != nil {
			t.Fatalf("upgrade: %v\n%s", err, out)
		}
		more(10, "after an upgrade")
	}

	if err := f.nodes[2].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.nodes[2].done <- <-f.nodes[2].done // stop wants to see it, too
	more(10, "after a drain")
	f.nodes[2].start(t)
	more(20, "with the node back")

	if err := f.nodes[2].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	more(10, "while a node hangs")
	if err := f.nodes[2].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	more(20, "after it goes on")
	calm := end()
	for _, b := range calm {
		t.Errorf("broken although no node was killed: port %s: %v", b.port, b.err)
	}

	done, end = f.uploads(t, 8)
	more(10, "before the kill")
	if err := f.nodes[2].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	more(20, "after the kill")
	for _, b := range end() {
		on := ""
		for i, n := range f.nodes {
			if b.port != "" && strings.Contains(n.events(t), `"127.0.0.1:`+b.port+`"`) {
				on = fmt.Sprint("node", i)
			}
		}
		// A connection that broke before its login has no event yet, or was never
		// the node's: those of the balancer to the killed node.
		if on != "node2" && on != "" {
			t.Errorf("broken on %s, which was not killed: %v", on, b.err)
		}
		t.Logf("broken by the kill: %q %v", on, b.err)
	}
}

// TestNginx: nginx, which sends version 1 of the PROXY protocol, is a balancer, too. It
// notices a killed node by itself, and nodes know people's addresses.
func TestNginx(t *testing.T) {
	t.Parallel()
	peers.Need(t, "nginx")
	f := newFarm(t, 2)
	f.addr = peers.Nginx(t, f.nodes[0].addr, f.nodes[1].addr)
	data := make([]byte, 100<<10)
	var used [2]bool
	for n := range 6 {
		port, err := f.upload(fmt.Sprint("n", n), data)
		if err != nil {
			t.Fatal(err)
		}
		found := func(i int) bool { return strings.Contains(f.nodes[i].events(t), `"127.0.0.1:`+port+`"`) }
		eventually(t, "a node knows the address of the client", func() bool { return found(0) || found(1) })
		used[0], used[1] = used[0] || found(0), used[1] || found(1)
	}
	if used != [2]bool{true, true} {
		t.Errorf("nodes used: %v, want both", used)
	}
	if err := f.nodes[1].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-f.nodes[1].done
	f.nodes[1].done <- nil // stop wants to see it, too
	for n := range 6 {
		if _, err := f.upload(fmt.Sprint("n", n), data); err != nil {
			t.Errorf("with one node: %v", err)
		}
	}
}
