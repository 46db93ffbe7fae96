package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// TestRollingUpgrade: while a hundred people upload through a balancer, each node is
// upgraded in turn, and nothing breaks. Then a node is killed in the middle of an upload,
// and the client continues it on another node.
func TestRollingUpgrade(t *testing.T) {
	slow(t)
	t.Parallel()
	need(t, "sftp")
	f := newFarm(t, 3)
	const clients, piece = 100, 64 << 10
	whole := make([]byte, 5*piece)
	rand.NewChaCha8([32]byte{1}).Read(whole)
	uploads := make([]*rollingUpload, clients)
	each := func(what string, do func(i int) error) {
		t.Helper()
		limit := make(chan struct{}, 16)
		var wg sync.WaitGroup
		for i := range clients {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				if err := do(i); err != nil {
					t.Errorf("%s, client %d: %v", what, i, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	each("begin", func(i int) (err error) {
		uploads[i], err = f.begin(fmt.Sprint("roll", i))
		return err
	})
	write := func(part int) func(int) error {
		return func(i int) error {
			_, err := uploads[i].file.Write(whole[part*piece : (part+1)*piece])
			return err
		}
	}
	each("before", write(0))
	for i, n := range f.nodes {
		if out, err := exec.Command(berth, "upgrade", "--config", n.file).CombinedOutput(); err != nil {
			t.Fatalf("upgrade of node %d: %v\n%s", i, err, out)
		}
		each(fmt.Sprint("after the upgrade of node ", i), write(1+i))
	}
	each("end", write(4))
	each("close", func(i int) error { return uploads[i].close() })
	for i := range clients {
		if got, err := os.ReadFile(filepath.Join(f.demo, "home/alice", fmt.Sprint("roll", i))); err != nil || !bytes.Equal(got, whole) {
			t.Errorf("file %d: %d bytes, %v; want what was uploaded", i, len(got), err)
		}
	}
	for _, n := range f.nodes {
		recorded(t, n.demo, `"path":"/roll`)
	}

	up, err := f.begin("broken")
	if err != nil {
		t.Fatal(err)
	}
	defer up.conn.Close()
	if _, err := up.file.Write(whole[:piece]); err != nil {
		t.Fatal(err)
	}
	killed := -1
	for i := range f.nodes {
		out, err := exec.Command(berth, "sessions", "--node", fmt.Sprint("node", i), "--config", f.nodes[0].file).Output()
		if err == nil && strings.Contains(string(out), "alice") {
			killed = i
		}
	}
	if killed < 0 {
		t.Fatal("no node has the session")
	}
	if err := syscall.Kill(pidIn(t, f.nodes[killed].demo), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(t.TempDir(), "whole")
	if err := os.WriteFile(local, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stock client goes on, on another node", func() bool {
		cmd := exec.Command("sftp", append(clientOptions(&server{addr: f.addr}, f.demo), "-b", "-", "alice@127.0.0.1")...)
		cmd.Stdin = strings.NewReader("reput " + local + " broken\n")
		return cmd.Run() == nil
	})
	if got, err := os.ReadFile(filepath.Join(f.demo, "home/alice/broken")); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("the resumed file: %d bytes, %v; want what was uploaded", len(got), err)
	}
	eventually(t, "another node has written only the rest", func() bool {
		for i, n := range f.nodes {
			if i != killed && strings.Contains(n.events(t), fmt.Sprintf(`"bytes_written":%d,`, len(whole)-piece)) {
				return true
			}
		}
		return false
	})
}

// A rollingUpload is one that is under way, in a connection of its own.
type rollingUpload struct {
	conn *ssh.Client
	file *sftp.File
}

func (f *farm) begin(name string) (*rollingUpload, error) {
	conn, err := dialAlice(f.addr, f.demo)
	if err != nil {
		return nil, err
	}
	client, err := sftp.NewClient(conn)
	if err != nil {
		return nil, err
	}
	file, err := client.Create(name)
	return &rollingUpload{conn, file}, err
}

func (u *rollingUpload) close() error {
	defer u.conn.Close()
	return u.file.Close()
}
