package sftp_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	client "github.com/pkg/sftp"
	"go.uber.org/goleak"

	"berth/sshd/sftp"
)

// serverVar makes this test binary a server on its standard input and output,
// over the directory it names: what `sftp -D` starts. recordVar names a file for
// what the client says.
const (
	serverVar = "BERTH_SFTP_TEST_DIR"
	recordVar = "BERTH_SFTP_TEST_RECORD"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverVar); dir != "" {
		files, err := openHostFS(dir)
		if err == nil {
			err = sftp.Serve(recorded(os.Getenv(recordVar)), files, sftp.Options{User: "alice"})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// stdio is standard input and output as one connection.
type stdio struct {
	io.Reader
	io.Writer
}

// recorded is stdio that also writes what it reads to file, if that is not "".
func recorded(file string) stdio {
	s := stdio{os.Stdin, os.Stdout}
	if file == "" {
		return s
	}
	f, err := os.Create(file) // until the process ends
	if err != nil {
		panic(err)
	}
	s.Reader = io.TeeReader(os.Stdin, f)
	return s
}

// connect starts a server and returns the client's end and the FS. The test ends
// by closing that end and sees to it that the server does too.
func connect(t testing.TB, opt sftp.Options) (net.Conn, *hostFS) {
	t.Helper()
	files := newHostFS(t)
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- sftp.Serve(there, files, opt)
		there.Close()
	}()
	t.Cleanup(func() {
		here.Close()
		if err := <-done; err != nil && err != io.EOF {
			t.Logf("the session ended with: %v", err)
		}
		if n := files.open.Load(); n != 0 {
			t.Errorf("%d files are still open after the session", n)
		}
	})
	return here, files
}

// dial is connect with pkg/sftp's client.
func dial(t testing.TB, opt sftp.Options) (*client.Client, *hostFS) {
	t.Helper()
	conn, files := connect(t, opt)
	c, err := client.NewClientPipe(conn, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, files
}
