package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// sizes is how much the workloads move: bytes of one file, or counts.
type sizes struct {
	big     int64 // one transfer
	eighth  int64 // one of eight transfers at once
	distant int64 // over a long line
	small   int   // files of 4 KiB
	list    int   // entries of a long directory
	logins  int
	idle    int // sessions that do nothing
	reads   int // at random places
	stats   int
}

var (
	quickSizes = sizes{
		big: 128 << 20, eighth: 16 << 20, distant: 16 << 20, small: 200, list: 5000,
		logins: 32, idle: 30, reads: 2000, stats: 3200,
	}
	fullSizes = sizes{
		big: 1 << 30, eighth: 256 << 20, distant: 96 << 20, small: 5000, list: 100_000,
		logins: 320, idle: 500, reads: 16384, stats: 6000,
	}
)

const smallSize = 4096

// space is what the files need on disk, uploads included, in bytes.
func (s sizes) space() int64 {
	const spare = 1 << 30
	return 2*s.big + 9*s.eighth + 2*s.distant + 3*int64(s.small)*smallSize + spare
}

// Names of the files, in the directory that is served.
const (
	bigFile     = "big"
	eighthFile  = "eighth"
	distantFile = "distant"
	smallDir    = "small"
	listDir     = "list"
	uploadDir   = "upload" // made anew for every workload that writes
)

// host returns the path of a served file on this machine.
func (b *bench) host(name string) string { return filepath.Join(b.home, name) }

func (b *bench) makeData() error {
	for _, dir := range []string{"", smallDir, listDir} {
		if err := os.Mkdir(b.host(dir), 0o755); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		size int64
	}{{bigFile, b.sizes.big}, {eighthFile, b.sizes.eighth}, {distantFile, b.sizes.distant}} {
		if err := writeRandom(b.host(f.name), f.size); err != nil {
			return err
		}
	}
	for i := range b.sizes.small {
		if err := writeRandom(b.host(fmt.Sprintf("%s/file-%05d.dat", smallDir, i)), smallSize); err != nil {
			return err
		}
	}
	for i := range b.sizes.list {
		if err := writeRandom(b.host(fmt.Sprintf("%s/report-2026-%06d.csv", listDir, i)), 0); err != nil {
			return err
		}
	}
	return nil
}

// writeRandom makes a file that cannot be compressed.
func writeRandom(name string, size int64) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	random := rand.NewChaCha8([32]byte{})
	buf := make([]byte, min(size, 1<<20))
	for ; size > 0; size -= int64(len(buf)) {
		buf = buf[:min(size, int64(len(buf)))]
		random.Read(buf) // never fails
		if _, err := f.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// upload makes an empty directory that both servers may write to. It returns
// its name and what removes it.
func (b *bench) upload() (name string, remove func(), err error) {
	host := b.host(uploadDir)
	remove = func() { os.RemoveAll(host) }
	remove()
	if err := os.Mkdir(host, 0o777); err != nil {
		return "", nil, err
	}
	return uploadDir, remove, os.Chmod(host, 0o777) // whatever the umask
}

// wantSize reports whether a served file has arrived in full.
func (b *bench) wantSize(name string, size int64) error {
	fi, err := os.Stat(b.host(name))
	if err != nil {
		return err
	}
	if fi.Size() != size {
		return fmt.Errorf("%s has %d bytes, want %d", name, fi.Size(), size)
	}
	return nil
}

// wantEntries reports whether all files of a tree have arrived.
func wantEntries(host string, n int) error {
	entries, err := os.ReadDir(host)
	if err != nil {
		return err
	}
	if len(entries) != n {
		return fmt.Errorf("%s has %d entries, want %d", filepath.Base(host), len(entries), n)
	}
	return nil
}
