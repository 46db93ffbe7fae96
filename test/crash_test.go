package test

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// TestCrash kills the server 50 times in the middle of atomic uploads. No file
// is ever there in part, and what the server acknowledged stays: the client got
// an answer to its close.
func TestCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, dir)
	home := filepath.Join(dir, "home/alice")
	acknowledged := map[string]int{}
	next, total := 0, 0
	for round := range 50 {
		s, err := startServer(plain, dir, "serve", "--config", file)
		if err != nil {
			t.Fatal(err)
		}
		done := uploadUntilKilled(t, s, dir, next, next+1+round%5, round%8)
		<-s.done
		if len(done) == 0 {
			t.Fatal("the server acknowledged nothing")
		}
		for _, n := range done {
			acknowledged[crashName(n)] = n
		}
		next, total = done[len(done)-1]+2, total+len(done) // the one under way may stand, too
		wholeFiles(t, home, acknowledged)
	}
	t.Logf("%d uploads were acknowledged", total)
}

// atomicDemo prepares the demonstration in dir, with atomic uploads for staff,
// and returns its configuration.
func atomicDemo(t *testing.T, dir string) string {
	t.Helper()
	s, err := startServer(plain, dir, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	file := filepath.Join(dir, "berth.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const staff = "    when: {groups: [staff]}\n"
	if !strings.Contains(string(text), staff) {
		t.Fatalf("%s: no %q", file, staff)
	}
	text = []byte(strings.Replace(string(text), staff, staff+"    uploads: atomic\n", 1))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// uploadUntilKilled uploads one file after the other, beginning with number n.
// It kills the server before a block of upload last and goes on until the
// server is dead. It returns the numbers of those that were acknowledged.
func uploadUntilKilled(t *testing.T, s *server, dir string, n, last, block int) (done []int) {
	t.Helper()
	defer s.cmd.Process.Kill()
	conn, err := dialAlice(s.addr, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for ; err == nil && n <= last; n++ {
		var f *sftp.File
		if f, err = client.Create(crashName(n)); err != nil {
			break
		}
		data := crashContent(n)
		for i := 0; len(data) > 0 && err == nil; i++ {
			if n == last && i == block {
				err = s.cmd.Process.Kill()
			}
			size := min(len(data), 32<<10)
			_, werr := f.Write(data[:size])
			data, err = data[size:], errors.Join(err, werr)
		}
		if err = errors.Join(err, f.Close()); err == nil {
			done = append(done, n)
		}
	}
	return done
}

func dialAlice(addr, dir string) (*ssh.Client, error) {
	text, err := os.ReadFile(filepath.Join(dir, "keys/alice"))
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// crashName is the file that upload n goes to.
func crashName(n int) string { return fmt.Sprintf("f%d", n%4) }

// crashContent is 256 KiB, 8 blocks, that only upload n has.
func crashContent(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%07d ", n), 32<<10) }

// wholeFiles checks that each file in home is one whole upload: the one that
// was acknowledged last under that name, or one that came after it.
func wholeFiles(t *testing.T, home string, acknowledged map[string]int) {
	t.Helper()
	for n := range 4 {
		name := crashName(n)
		data, err := os.ReadFile(filepath.Join(home, name))
		last, acked := acknowledged[name]
		if errors.Is(err, iofs.ErrNotExist) && !acked {
			continue
		}
		first, _, _ := bytes.Cut(data, []byte(" "))
		number, nerr := strconv.Atoi(string(first))
		if err := errors.Join(err, nerr); err != nil || !bytes.Equal(data, crashContent(number)) {
			t.Errorf("%s holds %d bytes that are no whole upload: %v", name, len(data), err)
			continue
		}
		if number%4 != n || number < last {
			t.Errorf("%s holds upload %d, want the acknowledged %d or a later one", name, number, last)
		}
		acknowledged[name] = number
	}
}
