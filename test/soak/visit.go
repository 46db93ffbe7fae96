package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// A visitor logs in again and again and uses one service each time.
type visitor struct {
	*soak
	name, password string
	lost           bool // a fault left open which password is the right one
	key            ssh.Signer
	visits         int
	life           int64  // of the server, when the visit began
	kept           string // an uploaded file, for downloads
	size           int64  // of kept
}

// visitors starts n visitors, who come and go until ctx ends.
func (s *soak) visitors(ctx context.Context, n int) *sync.WaitGroup {
	text, err := os.ReadFile(filepath.Join(s.dir, "key"))
	key, kerr := ssh.ParsePrivateKey(text)
	if err := errors.Join(err, kerr); err != nil {
		s.failed(err)
	}
	all := &sync.WaitGroup{}
	for i := range n {
		v := &visitor{soak: s, name: fmt.Sprint("u", i), key: key}
		v.password = peers.Password(v.name)
		all.Go(func() {
			for pause(ctx, rand.N(stay)) { // so that not all begin at once
				v.visit(ctx)
			}
		})
	}
	return all
}

// stay is how long a visitor stays away and at most stays before the service is used.
const stay = 10 * time.Second

// services is what a visit may be for.
var services = []func(*visitor, *ssh.Client) error{
	(*visitor).put, (*visitor).put, (*visitor).get, (*visitor).get, (*visitor).list, (*visitor).scpPut, (*visitor).scpGet,
	(*visitor).whoami, (*visitor).keys, (*visitor).passwd, (*visitor).putSmall, (*visitor).leave,
}

// visit logs in, stays for a while and uses a service. What fails while
// something is broken is excused.
func (v *visitor) visit(ctx context.Context) {
	v.visits++
	v.life = v.soak.life.Load()
	before := v.excuse.Load()
	err := v.try(ctx)
	calm := before%2 == 0 && v.excuse.Load() == before
	v.mu.Lock()
	v.books.visits++
	if err != nil && !calm {
		v.books.excused++
	}
	v.mu.Unlock()
	if err != nil && calm {
		v.failed(fmt.Errorf("visit %d of %s: %w", v.visits, v.name, err))
	}
}

func (v *visitor) try(ctx context.Context) error {
	conn, err := net.DialTimeout("tcp", v.addr, 30*time.Second)
	if err != nil {
		return err
	}
	raw := conn.(*net.TCPConn)
	v.mu.Lock()
	v.conns[raw] = true
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		delete(v.conns, raw)
		v.mu.Unlock()
		raw.Close()
	}()
	auth := ssh.PublicKeys(v.key)
	if v.visits%2 == 0 && !v.lost {
		auth = ssh.Password(v.password)
	}
	raw.SetDeadline(time.Now().Add(2 * time.Minute)) // a server that hangs fails the run
	c, channels, requests, err := ssh.NewClientConn(raw, v.addr, &ssh.ClientConfig{
		User: v.name, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	pause(ctx, rand.N(stay))
	return services[rand.N(len(services))](v, client)
}

// content is what an upload holds: of any length, and no other's.
func (v *visitor) content() (name string, data []byte) {
	name = fmt.Sprint("f", v.visits)
	return name, bytes.Repeat(fmt.Appendf(nil, "%s %s\n", v.name, name), 1+rand.N(5000))
}

// moved notes the end of a transfer of a file of n bytes. What a client knows of it
// counts only if the server that counted it, too, is the last one. After an error the
// server may have sent all of it, and the client have received nothing.
func (v *visitor) moved(n int64, sure, lost *int64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.life != v.soak.life.Load():
	case err != nil:
		*lost += n
	default:
		*sure += n
	}
}

// stored notes an upload to the home that the server has acknowledged.
func (v *visitor) stored(name string, data []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.books.stored[filepath.Join(v.dir, "home", v.name, name)] = acknowledged{int64(len(data)), v.life}
	v.kept, v.size = name, int64(len(data))
}

func (v *visitor) put(c *ssh.Client) error {
	name, data := v.content()
	err := v.upload(c, name, data)
	if err == nil {
		v.stored(name, data)
	}
	return err
}

func (v *visitor) upload(c *ssh.Client, name string, data []byte) error {
	files, err := sftp.NewClient(c)
	if err != nil {
		return err
	}
	defer files.Close()
	f, err := files.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	v.moved(int64(len(data)), &v.books.up, &v.books.upLost, err)
	return err
}

// putSmall uploads to the disk that is full at times, and clears up.
func (v *visitor) putSmall(c *ssh.Client) error {
	name, data := v.content()
	name = "/small/" + v.name + name
	err := v.upload(c, name, data)
	files, ferr := sftp.NewClient(c)
	if ferr != nil {
		return errors.Join(err, ferr)
	}
	defer files.Close()
	if rerr := files.Remove(name); err == nil {
		err = rerr
	}
	return err
}

// leave breaks off an upload by closing the connection.
func (v *visitor) leave(c *ssh.Client) error {
	files, err := sftp.NewClient(c)
	if err != nil {
		return err
	}
	name, data := v.content()
	f, err := files.Create(name)
	if err == nil {
		_, err = f.Write(data)
	}
	c.Close()
	return err
}

func (v *visitor) get(c *ssh.Client) error {
	if v.kept == "" {
		return v.put(c)
	}
	files, err := sftp.NewClient(c)
	if err != nil {
		return err
	}
	defer files.Close()
	f, err := files.Open(v.kept)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	err = errors.Join(err, f.Close())
	v.moved(v.size, &v.books.down, &v.books.downLost, err)
	return err
}

func (v *visitor) list(c *ssh.Client) error {
	files, err := sftp.NewClient(c)
	if err != nil {
		return err
	}
	defer files.Close()
	_, err = files.ReadDir("/")
	return err
}

func (v *visitor) scpPut(c *ssh.Client) error {
	name, data := v.content()
	input := fmt.Appendf(nil, "C0644 %d %s\n", len(data), name)
	out, err := command(c, "scp -t .", append(append(input, data...), 0))
	if err == nil && out != "\x00\x00\x00" {
		err = fmt.Errorf("scp answered %q", out)
	}
	v.moved(int64(len(data)), &v.books.up, &v.books.upLost, err)
	if err == nil {
		v.stored(name, data)
	}
	return err
}

func (v *visitor) scpGet(c *ssh.Client) error {
	if v.kept == "" {
		return v.put(c)
	}
	out, err := command(c, "scp -f "+v.kept, []byte{0, 0, 0})
	if err != nil {
		v.moved(v.size, &v.books.down, &v.books.downLost, err)
		return err
	}
	var mode, size int64
	var name string
	header, rest, _ := bytes.Cut([]byte(out), []byte("\n"))
	if _, err := fmt.Sscanf(string(header), "C%o %d %s", &mode, &size, &name); err != nil || int64(len(rest)) != size+1 {
		return fmt.Errorf("scp sent %q and %d bytes: %w", header, len(rest), err)
	}
	v.moved(size, &v.books.down, &v.books.downLost, nil)
	return nil
}

func (v *visitor) whoami(c *ssh.Client) error {
	_, err := command(c, "whoami", nil)
	return err
}

func (v *visitor) keys(c *ssh.Client) error {
	_, err := command(c, "keys", nil)
	return err
}

func (v *visitor) passwd(c *ssh.Client) error {
	if v.lost {
		return v.whoami(c)
	}
	next := fmt.Sprintf("%s%d", peers.Password(v.name), v.visits)
	out, err := command(c, "passwd", fmt.Appendf(nil, "%s\n%s\n%s\n", v.password, next, next))
	if err != nil {
		v.lost = true
		return fmt.Errorf("passwd: %w: %q", err, out)
	}
	v.password = next
	return nil
}

// command runs a command with input and returns what it printed.
func command(c *ssh.Client, line string, input []byte) (string, error) {
	session, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	session.Stdin = bytes.NewReader(input)
	out, err := session.Output(line)
	return string(out), err
}
