package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

var sshChecks = []check{
	{name: "ssh: garbage before and after the identification", run: garbage},
	{name: "ssh: a login beside 60 connections that say nothing", connections: 61, run: silent},
	{name: "ssh: 120 channels on one connection", run: manyChannels},
	{name: "ssh: odd requests and channels", run: oddRequests},
}

// A hash of a password takes 19 MiB, which the server gives back when it collects
// garbage: after three hashes or after four.
var authChecks = []check{
	{name: "login: none, empty and odd passwords are refused", connections: 2, run: oddPasswords},
	{name: "login: odd user names are refused", connections: 2, run: oddUsers},
	{name: "login: another's key is refused", run: otherKey},
}

func garbage(t *target) error {
	id := "SSH-2.0-hostile\r\n"
	random := make([]byte, 70000)
	mathrand.NewChaCha8([32]byte{}).Read(random)
	for _, text := range []string{
		"", "GET / HTTP/1.0\r\n\r\n", "SSH-1.5-old\r\n", "SSH-2.0-" + strings.Repeat("A", 1<<20),
		strings.Repeat("x\r\n", 20000), string(random), id + string(random),
		id + "\xff\xff\xff\xff", id + "\x00\x00\x00\x01\x00", id + "\x7f\xff\xff\xff\x04" + string(random),
		id + "\x00\x00\x00\x0c\x0a\x15" + strings.Repeat("\x00", 10),
	} {
		c, err := net.Dial("tcp", t.addr)
		if err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(time.Second))
		io.WriteString(c, text)
		io.CopyN(io.Discard, c, 64)
		c.Close()
	}
	return nil
}

func silent(t *target) error {
	// From another address: the server may count them by address.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	for i := range 60 {
		c, err := d.Dial("tcp", t.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "SSH-2.0-hostile\r\n")
		}
	}
	return t.alive()
}

func manyChannels(t *target) error {
	client, err := t.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	var first *session
	for range 120 {
		s, err := open(client)
		if err != nil {
			continue // there may be a limit
		}
		if err := s.hello(); err != nil {
			return err
		}
		if first == nil {
			first = s
		}
	}
	if first == nil {
		return fmt.Errorf("not one could be opened")
	}
	_, err = first.call(fxStat, str(t.dir))
	return err
}

func oddRequests(t *target) error {
	var attacks []func(*ssh.Client)
	junk := []byte{0xff, 0xff, 0xff, 0xff}
	for _, name := range []string{"", "x", "keepalive@openssh.com", "no-more-sessions@x", "hostkeys-prove-00@openssh.com", "tcpip-forward", "streamlocal-forward@openssh.com", strings.Repeat("g", 5000)} {
		attacks = append(attacks, func(c *ssh.Client) { c.SendRequest(name, true, junk) })
	}
	for _, name := range []string{"x11", "direct-streamlocal@openssh.com", "direct-tcpip", "tun@openssh.com", "auth-agent@openssh.com", "session\x00"} {
		attacks = append(attacks, func(c *ssh.Client) { c.OpenChannel(name, junk) })
	}
	for _, name := range []string{"pty-req", "env", "exec", "shell", "subsystem", "window-change", "signal", "x11-req", "auth-agent-req@openssh.com", "eow@openssh.com", "break", ""} {
		attacks = append(attacks, func(c *ssh.Client) {
			channel, requests, err := c.OpenChannel("session", nil)
			if err == nil {
				go ssh.DiscardRequests(requests)
				channel.SendRequest(name, true, []byte{0, 0, 0xff, 0xff, 1})
			}
		})
	}
	for _, attack := range attacks {
		client, err := t.dial()
		if err != nil {
			return err
		}
		cut := time.AfterFunc(4*time.Second, func() { client.Close() })
		attack(client)
		cut.Stop()
		client.Close()
	}
	return nil
}

// refused fails if a login succeeds.
func (t *target) refused(user string, auth ...ssh.AuthMethod) error {
	client, err := t.dialAs(user, auth...)
	if err != nil {
		return nil
	}
	client.Close()
	return fmt.Errorf("%.40q could log in", user)
}

func oddPasswords(t *target) error {
	if err := t.refused(t.user); err != nil {
		return fmt.Errorf("by none: %w", err)
	}
	for _, password := range []string{"", " ", t.password + "\x00", t.password + " ", "\x00", "*", strings.Repeat("p", 30000)} {
		if err := t.refused(t.user, ssh.Password(password)); err != nil {
			return fmt.Errorf("by password %.40q: %w", password, err)
		}
	}
	return nil
}

// oddUsers has names that mean something to LDAP, to a disk, to C; and second
// spellings of the user's name, which would be counted and logged apart.
func oddUsers(t *target) error {
	u := t.user
	for _, user := range []string{
		"", "*", u + "*", u[:1] + "*", u + ")(uid=*", "*)(objectClass=*", "*))(|(uid=*", "uid=" + u, `\2a`,
		"..", "../../etc", "/", "a/b", u + "/..", u + "\x00", u + "\x00x", "\xff\xfe", strings.Repeat("u", 30000), "-oProxyCommand", "root",
		" " + u, u + " ", u + "\t", u + "\n",
	} {
		if err := t.refused(user, ssh.Password(t.password)); err != nil {
			return err
		}
	}
	return nil
}

func otherKey(t *target) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	if err := t.refused(t.user, ssh.PublicKeys(signer)); err != nil {
		return err
	}
	return t.refused(t.user, ssh.PublicKeys(liar{t.key.PublicKey(), signer}))
}

// A liar shows one key and signs with another.
type liar struct {
	shown ssh.PublicKey
	ssh.Signer
}

func (l liar) PublicKey() ssh.PublicKey { return l.shown }

func (l liar) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return l.Signer.Sign(r, bytes.Clone(data))
}
