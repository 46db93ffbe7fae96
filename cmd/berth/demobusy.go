package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"berth/sshd/hostkey"
)

// busyPeople are the people who transfer files in a busy demonstration, with their
// folders. No rule lets mallory in.
var busyPeople = []struct{ name, folder string }{{"alice", "/finance"}, {"alice", "/"}, {"bob", "/"}, {"mallory", "/"}}

// beBusy has people transfer files until ctx ends. An error ends a session, not the
// activity: the events of the server say what it was.
func (d *demo) beBusy(ctx context.Context, addr string) error {
	host, err := hostkey.ReadSigner(filepath.Join(d.Dir, "ssh_host_ed25519_key"), nil)
	if err != nil {
		return err
	}
	var people sync.WaitGroup
	for _, p := range busyPeople {
		people.Go(func() {
			for ctx.Err() == nil {
				config := &ssh.ClientConfig{
					User: p.name, Auth: []ssh.AuthMethod{ssh.Password(p.name + "-demo-1")},
					HostKeyCallback: ssh.FixedHostKey(host.PublicKey()), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: 10 * time.Second,
				}
				if err := busySession(ctx, addr, config, p.folder); err != nil {
					sleep(ctx, time.Minute)
				}
				sleep(ctx, seconds(2, 10))
			}
		})
	}
	people.Wait()
	return nil
}

// seconds is a time between two numbers of seconds.
func seconds(least, most int) time.Duration {
	return time.Duration(least)*time.Second + rand.N(time.Duration(most-least)*time.Second)
}

// busySession logs in, and writes, reads and removes some files.
func busySession(ctx context.Context, addr string, config *ssh.ClientConfig, folder string) error {
	dialer := net.Dialer{Timeout: config.Timeout}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	conn, channels, requests, err := ssh.NewClientConn(nc, addr, config)
	if err != nil {
		nc.Close()
		return err
	}
	client := ssh.NewClient(conn, channels, requests)
	defer client.Close()
	c, err := sftp.NewClient(client)
	if err != nil {
		return err
	}
	defer c.Close()
	for n := range 2 + rand.IntN(4) {
		name := path.Join(folder, fmt.Sprintf("report-%d-%d.csv", rand.IntN(1_000_000), n))
		f, err := c.Create(name)
		if err != nil {
			return err
		}
		size := int64(1+rand.IntN(30)) << 20
		err = atPace(ctx, f, io.LimitReader(zeros{}, size))
		if err = cmp.Or(err, f.Close()); err != nil {
			return err
		}
		if f, err = c.Open(name); err != nil {
			return err
		}
		err = atPace(ctx, io.Discard, f)
		if err = cmp.Or(err, f.Close(), c.Remove(name)); err != nil {
			return err
		}
		sleep(ctx, seconds(1, 5))
	}
	return nil
}

// atPace copies some megabytes a second, so that a transfer can be seen.
func atPace(ctx context.Context, to io.Writer, from io.Reader) error {
	for {
		_, err := io.CopyN(to, from, int64(1+rand.IntN(8))<<17)
		if err == io.EOF {
			return nil
		}
		if err != nil || !sleep(ctx, 250*time.Millisecond) {
			return err
		}
	}
}

// zeros is a file without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
