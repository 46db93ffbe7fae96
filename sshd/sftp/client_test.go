package sftp_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"berth/sshd/sftp"
)

// random returns n bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestClientReadsAndWrites(t *testing.T) {
	c, files := dial(t, sftp.Options{})
	want := random(3<<20 + 17)
	f, err := c.Create("/big")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadFrom(bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(files.host("/big")); !bytes.Equal(got, want) {
		t.Fatalf("wrote %d bytes, want the %d sent", len(got), len(want))
	}
	if f, err = c.Open("/big"); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got bytes.Buffer
	if _, err := f.WriteTo(&got); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("read %d bytes, want the %d of the file", got.Len(), len(want))
	}
}
