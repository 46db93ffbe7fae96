package fs

import (
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenWaitsForLeases: an open waits, as open(2) does, while an NFS server or Samba on
// this machine gets a lease of the file back from its clients.
func TestOpenWaitsForLeases(t *testing.T) {
	calls := make(chan os.Signal, 1)
	signal.Notify(calls, unix.SIGIO)
	defer signal.Stop(calls)
	t.Setenv("TMPDIR", "/dev/shm") // not every file system has leases, memory has them
	host := sample(t)
	f := mustOpen(t, full(host), Settings{})
	lease, err := os.Open(host + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	if _, err := unix.FcntlInt(lease.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() { opened <- openClose(f, "/f", os.O_WRONLY) }()
	<-calls
	if _, err := unix.FcntlInt(lease.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("open = %v", err)
	}
}
