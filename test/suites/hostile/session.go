package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"
)

// dial logs in with what is given, or with the user's key.
func (t *target) dial(auth ...ssh.AuthMethod) (*ssh.Client, error) {
	if auth == nil {
		auth = []ssh.AuthMethod{ssh.PublicKeys(t.key)}
	}
	return t.dialAs(t.user, auth...)
}

func (t *target) dialAs(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", t.addr, &ssh.ClientConfig{
		User: user, Auth: auth, Timeout: 10 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is this machine
	})
}

// A session is an SFTP channel on which anything can be sent.
type session struct {
	client  *ssh.Client
	channel ssh.Channel
	replies chan reply
	err     error // why replies is closed
	last    uint32
}

// subsystem opens an SFTP channel that nobody reads.
func subsystem(client *ssh.Client) (ssh.Channel, error) {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	ok, err := channel.SendRequest("subsystem", true, str("sftp"))
	if err == nil && !ok {
		err = errors.New("no SFTP")
	}
	if err != nil {
		channel.Close()
		return nil, err
	}
	return channel, nil
}

// open is an SFTP channel whose replies are collected. Nothing was sent yet.
func open(client *ssh.Client) (*session, error) {
	channel, err := subsystem(client)
	if err != nil {
		return nil, err
	}
	return collect(client, channel), nil
}

// collect takes all replies of a channel from now on.
func collect(client *ssh.Client, channel ssh.Channel) *session {
	s := &session{client: client, channel: channel, replies: make(chan reply, 20000)}
	go func() {
		defer close(s.replies)
		for s.err == nil {
			var r reply
			if r, s.err = receive(channel); s.err == nil {
				s.replies <- r
			}
		}
	}()
	return s
}

func receive(r io.Reader) (reply, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return reply{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 5 || n > 1<<20 {
		return reply{}, fmt.Errorf("the server sent a packet of %d bytes", n)
	}
	body := make([]byte, n-1)
	if _, err := io.ReadFull(r, body); err != nil {
		return reply{}, err
	}
	if head[4] == fxVersion {
		return reply{kind: fxVersion, body: body}, nil
	}
	return reply{kind: head[4], id: binary.BigEndian.Uint32(body), body: body[4:]}, nil
}

var errTimeout = errors.New("no answer")

// wait returns the next reply.
func (s *session) wait(d time.Duration) (reply, error) {
	select {
	case r, ok := <-s.replies:
		if !ok {
			return r, s.err
		}
		return r, nil
	case <-time.After(d):
		return reply{}, errTimeout
	}
}

// hello agrees on version 3.
func (s *session) hello() error {
	if _, err := s.channel.Write(framed(packet(nil).u8(fxInit).u32(3))); err != nil {
		return err
	}
	r, err := s.wait(10 * time.Second)
	if err == nil && r.kind != fxVersion {
		err = fmt.Errorf("INIT is answered by packet %d", r.kind)
	}
	return err
}

// send sends a request and does not wait.
func (s *session) send(kind byte, body packet) (id uint32, err error) {
	s.last++
	_, err = s.channel.Write(framed(request(kind, s.last, body)))
	return s.last, err
}

// call sends a request and returns its answer.
func (s *session) call(kind byte, body packet) (reply, error) {
	id, err := s.send(kind, body)
	for err == nil {
		var r reply
		if r, err = s.wait(15 * time.Second); err == nil && r.id == id {
			return r, nil
		}
	}
	return reply{}, err
}

// session logs in and says hello.
func (t *target) session() (*session, error) {
	client, err := t.dial()
	if err != nil {
		return nil, err
	}
	s, err := open(client)
	if err == nil {
		err = s.hello()
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return s, nil
}

// end closes the session's connection.
func (s *session) end() { s.client.Close() }

// A stubborn session comes back when the server ends it, as the server may.
type stubborn struct {
	t *target
	*session
}

func (t *target) stubborn() (*stubborn, error) {
	s, err := t.session()
	return &stubborn{t, s}, err
}

// ask returns the answer, which is zero if the server ended the connection.
func (s *stubborn) ask(kind byte, body packet) (reply, error) {
	r, err := s.call(kind, body)
	if err == nil {
		return r, nil
	}
	if errors.Is(err, errTimeout) {
		return reply{}, fmt.Errorf("request %d: %w", kind, err)
	}
	s.end()
	if s.session, err = s.t.session(); err != nil {
		return reply{}, fmt.Errorf("after request %d: %w", kind, err)
	}
	return reply{}, nil
}

// A step is one request of an attack.
type step struct {
	kind byte
	body packet
}

// all asks one request after another, and does not mind the answers.
func (s *stubborn) all(steps ...step) error {
	for _, x := range steps {
		if _, err := s.ask(x.kind, x.body); err != nil {
			return err
		}
	}
	return nil
}

// handle opens a file; it is empty if the server refused.
func (s *stubborn) handle(name string, flags uint32) (string, error) {
	r, err := s.ask(fxOpen, str(name).u32(flags).noAttributes())
	if err != nil || r.kind != fxHandle {
		return "", err
	}
	return r.text(), nil
}

// read returns the beginning of a file, and nothing if the server refused.
func (s *stubborn) read(name string) ([]byte, error) {
	h, err := s.handle(name, forRead)
	if err != nil || h == "" {
		return nil, err
	}
	r, err := s.ask(fxRead, str(h).u64(0).u32(4096))
	if err != nil {
		return nil, err
	}
	if _, err := s.ask(fxClose, str(h)); err != nil {
		return nil, err
	}
	if r.kind != fxData {
		return nil, nil
	}
	return []byte(r.text()), nil
}

// write puts text at the beginning of a file and returns how that ended.
func (s *stubborn) write(name, text string, flags uint32) (status uint32, err error) {
	h, err := s.handle(name, flags)
	if err != nil || h == "" {
		return statusFailure, err
	}
	r, err := s.ask(fxWrite, str(h).u64(0).str(text))
	if err != nil {
		return statusEnded, err
	}
	_, err = s.ask(fxClose, str(h))
	return r.status(), err
}

// list returns the names in a directory, and nothing if the server refused.
func (s *stubborn) list(name string) (names []string, err error) {
	r, err := s.ask(fxOpendir, str(name))
	if err != nil || r.kind != fxHandle {
		return nil, err
	}
	h := r.text()
	for {
		r, err := s.ask(fxReaddir, str(h))
		if err != nil {
			return nil, err
		}
		if r.kind != fxName {
			_, err = s.ask(fxClose, str(h))
			return names, err
		}
		some, err := r.names()
		if err != nil {
			return nil, err
		}
		names = append(names, some...)
	}
}
