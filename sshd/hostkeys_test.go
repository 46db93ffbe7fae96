package sshd

import (
	"bytes"
	"crypto/rand"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestHostKeysAreProved: a client gets a signature of each host key for its own session,
// once, and none of a key that is not the server's.
func TestHostKeysAreProved(t *testing.T) {
	second := newSigner(t)
	f := start(t, func(f *fixture) { f.Gate.HostKeys = append(f.Gate.HostKeys, second) })
	names := func(keys ...ssh.Signer) (list []byte) {
		for _, k := range keys {
			list = appendString(list, k.PublicKey().Marshal())
		}
		return list
	}
	first := f.Gate.HostKeys[0]
	for name, list := range map[string][]byte{
		"nothing":             nil,
		"another's key":       names(first, newSigner(t)),
		"more than there are": names(first, second, first),
		"a part of a key":     names(first)[:20],
	} {
		client := f.must(t)
		if ok, _, err := client.SendRequest(proveHostKeys, true, list); ok || err != nil {
			t.Errorf("%s: got %t, %v", name, ok, err)
		}
	}

	client := f.must(t)
	ok, answer, err := client.SendRequest(proveHostKeys, true, names(second, first))
	if !ok || err != nil {
		t.Fatalf("got %t, %v", ok, err)
	}
	for _, k := range []ssh.Signer{second, first} {
		var next struct {
			Proof []byte
			Rest  []byte `ssh:"rest"`
		}
		var sig ssh.Signature
		if err := ssh.Unmarshal(answer, &next); err != nil {
			t.Fatal(err)
		}
		if err := ssh.Unmarshal(next.Proof, &sig); err != nil {
			t.Fatal(err)
		}
		signed := appendString(appendString(appendString(nil, []byte(proveHostKeys)), client.SessionID()), k.PublicKey().Marshal())
		if err := k.PublicKey().Verify(signed, &sig); err != nil {
			t.Errorf("%s: %v", k.PublicKey().Type(), err)
		}
		answer = next.Rest
	}
	if len(answer) > 0 {
		t.Errorf("%d bytes more", len(answer))
	}
	if ok, _, err := client.SendRequest(proveHostKeys, true, names(first)); ok || err != nil {
		t.Errorf("once more: got %t, %v", ok, err)
	}
}

// TestHostKeysAreAnnounced: the server announces all keys to every client, and no
// certificates.
func TestHostKeysAreAnnounced(t *testing.T) {
	second := newSigner(t)
	cert := &ssh.Certificate{Key: second.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"berth"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, newSigner(t)); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(cert, second)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, func(f *fixture) { f.Gate.HostKeys = append(f.Gate.HostKeys, second, certified) })
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _, requests, err := ssh.NewClientConn(nc, f.addr, &ssh.ClientConfig{
		User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(f.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	req := <-requests
	want := appendString(appendString(nil, f.Gate.HostKeys[0].PublicKey().Marshal()), second.PublicKey().Marshal())
	if req == nil || req.Type != announceHostKeys || req.WantReply || !bytes.Equal(req.Payload, want) {
		t.Errorf("got %+v", req)
	}
}
