package test

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

// TestDrainNotice: a server that is to end says so at /readyz while it still lets people
// in, and takes no connections after that.
func TestDrainNotice(t *testing.T) {
	t.Parallel()
	demo := filepath.Join(t.TempDir(), "demo")
	file := atomicDemo(t, demo)
	edit(t, file, "admin:", "ssh: {drain_notice: 3s}\nadmin:")
	s, err := startServer(berth, demo, "serve", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "/readyz answers 503", func() bool {
		_, status, err := httpGet(t.Context(), "http://"+s.admin+"/readyz")
		return err == nil && status == 503
	})
	conn, err := dialAlice(s.addr, demo)
	if err != nil {
		t.Fatalf("while balancers are to notice: %v", err)
	}
	defer conn.Close()
	eventually(t, "nobody is let in", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}
