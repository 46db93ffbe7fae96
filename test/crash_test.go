package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// TestCrash kills the server 50 times in the middle of atomic uploads by SFTP, as
// its client and as scp use it, and by SCP. No file is ever there in part, and
// what the server acknowledged stays: the client got an answer to its close, or
// to the end of the data.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, upload := range map[string]uploader{"sftp": uploadSFTP, "scp over sftp": uploadUntruncated, "scp": uploadSCP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crash(t, upload)
		})
	}
}

func crash(t *testing.T, upload uploader) {
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
		done := uploadUntilKilled(t, s, dir, upload, next, next+1+round%5, round%8)
		<-s.done
		if len(done) == 0 {
			t.Fatal("the server acknowledged nothing")
		}
		for _, n := range done {
			acknowledged[crashName(n)] = n
		}
		next, total = done[len(done)-1]+2, total+len(done) // the upload under way may be complete, too
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
	const staff = "    when: {groups: [staff]}\n"
	edit(t, file, staff, staff+"    uploads: atomic\n")
	return file
}

// An uploader uploads files over one connection until one fails. It calls before
// with the number of each block of 32 KiB, and done once a file has been
// acknowledged.
type uploader func(conn *ssh.Client, from, last int, before func(n, block int) error, done func(n int)) error

// uploadUntilKilled uploads one file after the other, beginning with number n.
// It kills the server before a block of upload last and continues until the
// server is dead. It returns the numbers of those that were acknowledged.
func uploadUntilKilled(t *testing.T, s *server, dir string, upload uploader, n, last, block int) (done []int) {
	t.Helper()
	defer s.cmd.Process.Kill()
	conn, err := dialAlice(s.addr, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kill := func(n, i int) error {
		if n == last && i == block {
			return s.cmd.Process.Kill()
		}
		return nil
	}
	_ = upload(conn, n, last, kill, func(n int) { done = append(done, n) }) // it ends with the server
	return done
}

// blockSize is what is sent at a time.
const blockSize = 32 << 10

func uploadSFTP(conn *ssh.Client, from, last int, before func(n, block int) error, done func(n int)) error {
	return uploadBy(os.O_WRONLY|os.O_CREATE|os.O_TRUNC, conn, from, last, before, done)
}

// uploadUntruncated uploads as OpenSSH's scp does over SFTP: it sets the size at
// the end.
func uploadUntruncated(conn *ssh.Client, from, last int, before func(n, block int) error, done func(n int)) error {
	return uploadBy(os.O_WRONLY|os.O_CREATE, conn, from, last, before, done)
}

func uploadBy(flag int, conn *ssh.Client, from, last int, before func(n, block int) error, done func(n int)) error {
	client, err := sftp.NewClient(conn)
	if err != nil {
		return err
	}
	defer client.Close()
	for n := from; n <= last; n++ {
		f, err := client.OpenFile(crashName(n), flag)
		if err != nil {
			return err
		}
		i := 0
		for block := range slices.Chunk(crashContent(n), blockSize) {
			err = errors.Join(err, before(n, i))
			_, werr := f.Write(block)
			err = errors.Join(err, werr)
			i++
		}
		if flag&os.O_TRUNC == 0 {
			err = errors.Join(err, f.Truncate(int64(len(crashContent(n)))))
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		done(n)
	}
	return nil
}

// uploadSCP speaks the old protocol as a source does: a line about the file, its
// data and a zero, each of which is answered with a zero.
func uploadSCP(conn *ssh.Client, from, last int, before func(n, block int) error, done func(n int)) error {
	session, err := conn.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	in, err := session.StdinPipe()
	if err != nil {
		return err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return err
	}
	answered := func() error {
		var answer [1]byte
		if _, err := io.ReadFull(out, answer[:]); err != nil || answer[0] != 0 {
			return errors.Join(err, fmt.Errorf("answer %d", answer[0]))
		}
		return nil
	}
	if err := errors.Join(session.Start("scp -t ."), answered()); err != nil {
		return err
	}
	for n := from; n <= last; n++ {
		data := crashContent(n)
		if _, err := fmt.Fprintf(in, "C0644 %d %s\n", len(data), crashName(n)); err != nil {
			return err
		}
		if err := answered(); err != nil {
			return err
		}
		i := 0
		for block := range slices.Chunk(append(data, 0), blockSize) {
			if err := before(n, i); err != nil {
				return err
			}
			if _, err := in.Write(block); err != nil {
				return err
			}
			i++
		}
		if err := answered(); err != nil {
			return err
		}
		done(n)
	}
	return nil
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

// aliceFiles is dialAlice with a client for files, until the test ends.
func aliceFiles(t *testing.T, addr, dir string) *sftp.Client {
	t.Helper()
	conn, err := dialAlice(addr, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	return client
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
