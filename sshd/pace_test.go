package sshd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"

	"berth/policy"
)

// TestSlowSessionEnds: a session whose transfers wait for their rate ends with its client.
func TestSlowSessionEnds(t *testing.T) {
	f := start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f.change(func(p *policy.Policy) {
		p.Folders[0].Host = dir
		p.Limits.DownloadRate, p.Limits.UploadRate = 1, 1 // byte a second
	})
	for _, use := range []func(*sftp.File) error{
		func(big *sftp.File) error { _, err := big.WriteTo(discard{}); return err },
		func(big *sftp.File) error { _, err := big.ReadFrom(zeros{}); return err },
	} {
		conn := f.must(t)
		c, err := sftp.NewClient(conn)
		if err != nil {
			t.Fatal(err)
		}
		big, err := c.OpenFile("/big", os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- use(big) }()
		open := f.connections()[0]
		eventually(t, "the transfer waits", func() bool { return open.moved.read.Load()+open.moved.written.Load() > 0 })
		conn.Close()
		<-ended
		eventually(t, "the session ends", func() bool { return len(f.connections()) == 0 })
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
