package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// A target is a running server and the way to log in to it.
type target struct {
	name    string
	addr    string
	user    string // for SFTP
	scpUser string // for scp -O, which OpenSSH starts from the user's shell
	key     string // private key file
	root    string // the served directory, as clients name it
	process *process
	idle    int // processes while nobody is logged in
}

// remote returns the name of a served file for clients.
func (t *target) remote(name string) string { return path.Join(t.root, name) }

// settle waits until the sessions of before have ended.
func (t *target) settle() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if len(tree(t.process.pid())) <= t.idle {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	port, err := peers.FreePort("127.0.0.1")
	return net.JoinHostPort("127.0.0.1", port), err
}

// ready waits until the server of p accepts connections.
func ready(ctx context.Context, addr string, p *process) error {
	var d net.Dialer
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(25 * time.Millisecond):
		}
	}
	return fmt.Errorf("does not listen; it said: %s", p.said())
}

// writeKey makes a key pair: name and name.pub, as ssh-keygen does.
func writeKey(name string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "bench")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	return os.WriteFile(name+".pub", ssh.MarshalAuthorizedKey(key), 0o644)
}
