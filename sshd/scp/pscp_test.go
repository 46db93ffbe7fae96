package scp

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/fs"
)

// A server is an SSH server that lets everyone in and runs scp on files.
type server struct {
	addr  *net.TCPAddr
	key   ssh.Signer
	files fs.FS
}

// listen starts a server that is gone at the end of the test.
func listen(t *testing.T, files fs.FS) *server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().(*net.TCPAddr), key: key, files: files}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serveConn(nc) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

func (s *server) serveConn(nc net.Conn) {
	defer nc.Close()
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(s.key)
	sc, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		return
	}
	defer sc.Wait()
	defer sc.Close()
	go ssh.DiscardRequests(requests)
	for newChannel := range channels {
		if newChannel.ChannelType() != "session" {
			newChannel.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		ch, reqs, err := newChannel.Accept()
		if err != nil {
			return
		}
		for req := range reqs {
			if req.Reply(req.Type == "exec", nil); req.Type == "exec" {
				ch.SendRequest("exit-status", false, []byte{0, 0, 0, s.run(ch, string(req.Payload[4:]))})
				break
			}
		}
		ch.Close()
		ssh.DiscardRequests(reqs)
	}
}

// run runs one command and returns its exit status.
func (s *server) run(ch ssh.Channel, command string) byte {
	c, err := Parse(command)
	if err == nil {
		err = c.Serve(context.Background(), ch, ch.Stderr(), s.files, Options{})
	}
	if err != nil {
		return 1
	}
	return 0
}

// pscp runs PuTTY's client in dir.
func (s *server) pscp(t *testing.T, dir string, args ...string) (string, bool) {
	t.Helper()
	if _, err := exec.LookPath("pscp"); err != nil {
		t.Fatalf("pscp of the package putty-tools is needed: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	common := []string{
		"-scp", "-batch", "-P", fmt.Sprint(s.addr.Port), "-l", "u", "-pw", "x",
		"-hostkey", ssh.FingerprintSHA256(s.key.PublicKey()),
	}
	cmd := exec.CommandContext(ctx, "pscp", append(common, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

func TestPSCP(t *testing.T) {
	host, local := t.TempDir(), t.TempDir()
	s := listen(t, open(t, host))
	makeTree(t, local)
	write(t, filepath.Join(local, "one"), "1", 0o644)
	steps := []struct {
		args []string
		ok   bool
		want string // in what is printed
	}{
		{[]string{"-r", "-p", "tree", "127.0.0.1:"}, true, ""},
		{[]string{"-r", "-p", "127.0.0.1:tree", "back"}, true, ""},
		{[]string{"one", "127.0.0.1:new"}, true, ""},
		{[]string{"-unsafe", "127.0.0.1:n*", "."}, true, ""},
		{[]string{"one", "127.0.0.1:none/new"}, false, "No such file or directory"},
		{[]string{"127.0.0.1:none", "."}, false, "No such file or directory"},
	}
	for _, step := range steps {
		if step.args[len(step.args)-1] == "back" {
			if err := os.Mkdir(filepath.Join(local, "back"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if out, ok := s.pscp(t, local, step.args...); ok != step.ok || !strings.Contains(out, step.want) {
			t.Errorf("pscp %q: success %t, printed %q; want %t, %q", step.args, ok, out, step.ok, step.want)
		}
	}
	want, got := tree(t, filepath.Join(local, "tree")), tree(t, filepath.Join(local, "back/tree"))
	for name, e := range want {
		if got[name].Data != e.Data || !got[name].Mtime.Equal(e.Mtime) && e.Mode.IsRegular() {
			t.Errorf("%q came back differently: %v of %v, want %v of %v", name, got[name].Mode, got[name].Mtime, e.Mode, e.Mtime)
		}
	}
	if got := slurp(t, filepath.Join(local, "new")); got != "1" {
		t.Errorf("the file that was put and fetched holds %q, want %q", got, "1")
	}
}
