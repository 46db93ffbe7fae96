package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A target is the server under attack and the places that are at stake.
type target struct {
	addr, user, password string
	key                  ssh.Signer
	pid                  int

	root      string   // the user's root on this machine
	dir, disk string   // where we work: in the view, and on this machine
	token     string   // what the secrets outside hold
	outside   []string // directories outside the root, which anybody may write to
	before    map[string]string

	bystander   *bystander
	descriptors int // of the server, before all checks
}

func newTarget() (*target, error) {
	key, err := os.ReadFile(os.Getenv("SFTP_KEY"))
	if err != nil {
		return nil, err
	}
	t := &target{
		addr: net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")),
		user: os.Getenv("SFTP_USER"), password: os.Getenv("SFTP_PASS"), root: os.Getenv("LOCAL_ROOT"),
	}
	if t.key, err = ssh.ParsePrivateKey(key); err != nil {
		return nil, err
	}
	if t.pid, err = strconv.Atoi(os.Getenv("SERVER_PID")); err != nil {
		return nil, fmt.Errorf("SERVER_PID: %w", err)
	}
	if t.memory() == 0 {
		return nil, fmt.Errorf("the memory of process %d cannot be read", t.pid)
	}
	if host, _, _ := net.SplitHostPort(t.addr); !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("%s is not this machine", host)
	}

	random := make([]byte, 12)
	rand.Read(random)
	t.token = "secret-" + hex.EncodeToString(random)
	sub := "hostile-" + hex.EncodeToString(random[:4])
	t.dir, t.disk = path.Join("/", os.Getenv("REMOTE_DIR"), sub), filepath.Join(t.root, sub)
	if err := os.Mkdir(t.disk, 0o755); err != nil {
		return nil, err
	}
	// One has the root's name as the beginning of its own.
	t.outside = []string{filepath.Join(os.TempDir(), sub), t.root + "-evil"}
	if err := t.makeOutside(); err != nil {
		return nil, err
	}
	if err := t.alive(); err != nil {
		return nil, err
	}
	t.descriptors = t.openDescriptors()
	t.bystander, err = t.newBystander()
	return t, err
}

// cleanUp may be called twice.
func (t *target) cleanUp() {
	t.bystander.close()
	for _, dir := range append(t.outside, t.disk) {
		os.RemoveAll(dir)
	}
}

// beside returns the name of a directory next to the root, by its name alone.
func (t *target) beside() string { return filepath.Base(t.root) + "-evil" }

// leaks reports whether b contains something that only this machine knows.
func (t *target) leaks(b []byte) bool {
	return bytes.Contains(b, []byte(t.token)) || bytes.Contains(b, []byte("root:x:"))
}

// exists reports whether name of the view names something below the root: no
// path leads outside just because it has dots in it.
func (t *target) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(t.root, filepath.Clean("/"+strings.ReplaceAll(name, "\x00", ""))))
	return err == nil
}

// alive logs in anew and looks at our directory.
func (t *target) alive() error {
	s, err := t.session()
	if err != nil {
		return err
	}
	defer s.end()
	x, err := s.call(fxStat, str(t.dir))
	if err == nil && x.kind != fxAttrs {
		err = fmt.Errorf("stat is answered by packet %d", x.kind)
	}
	return err
}
