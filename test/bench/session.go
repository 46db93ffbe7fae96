package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A session is an SFTP session of a client in this process: light enough to
// have hundreds, and to see single answers.
type session struct {
	*sftp.Client
	ssh *ssh.Client
}

func (s *session) Close() {
	s.Client.Close()
	s.ssh.Close()
}

// clientLimit is how long a session may take to begin.
const clientLimit = 30 * time.Second

func (t *target) client(exchange string) (*ssh.ClientConfig, error) {
	text, err := os.ReadFile(t.key)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	c := &ssh.ClientConfig{
		User:            t.user,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // of a server that we have just made
	}
	c.Ciphers = []string{aes128.cipher}
	c.KeyExchanges = []string{exchange}
	return c, nil
}

// dial logs in and waits until SFTP answers.
func (j *job) dial(c *ssh.ClientConfig) (*session, error) {
	d := net.Dialer{Timeout: clientLimit}
	nc, err := d.DialContext(j.ctx, "tcp", j.target.addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(clientLimit))
	conn, channels, requests, err := ssh.NewClientConn(nc, j.target.addr, c)
	if err != nil {
		nc.Close()
		return nil, err
	}
	client := ssh.NewClient(conn, channels, requests)
	files, err := sftp.NewClient(client)
	if err != nil {
		client.Close()
		return nil, err
	}
	nc.SetDeadline(time.Time{})
	return &session{Client: files, ssh: client}, nil
}

// atOnce calls do n times, from so many goroutines, and returns how long each
// call took, shortest first, and how long all did.
func atOnce(n, goroutines int, do func(i int) error) (each []time.Duration, all time.Duration, err error) {
	each = make([]time.Duration, n)
	errs := make([]error, n)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var running sync.WaitGroup
	began := time.Now()
	for range goroutines {
		running.Go(func() {
			for i := range next {
				at := time.Now()
				errs[i] = do(i)
				each[i] = time.Since(at)
			}
		})
	}
	running.Wait()
	all = time.Since(began)
	slices.Sort(each)
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, 0, fmt.Errorf("number %d of %d: %w", i+1, n, errs[i])
	}
	return each, all, nil
}

// sessions opens n sessions. Those that came up are returned with the error too.
func (j *job) sessions(n, goroutines int) ([]*session, error) {
	config, err := j.target.client(curve25519)
	if err != nil {
		return nil, err
	}
	open := make([]*session, n)
	_, _, err = atOnce(n, goroutines, func(i int) (err error) {
		open[i], err = j.dial(config)
		return err
	})
	return slices.DeleteFunc(open, func(s *session) bool { return s == nil }), err
}

func closeAll(sessions []*session) {
	var closing sync.WaitGroup
	for _, s := range sessions {
		closing.Go(s.Close)
	}
	closing.Wait()
}

// percentile of sorted times.
func percentile(sorted []time.Duration, p float64) time.Duration {
	return sorted[int(p*float64(len(sorted)-1))]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

func microseconds(d time.Duration) float64 { return d.Seconds() * 1e6 }
