package sshd

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"slices"

	"golang.org/x/crypto/ssh"
)

// The requests by which a client learns all host keys of a server of which it knows one.
// So it still knows the server when that key is no longer used (OpenSSH's PROTOCOL,
// section 2.5).
const (
	announceHostKeys = "hostkeys-00@openssh.com"
	proveHostKeys    = "hostkeys-prove-00@openssh.com"
)

// plainHostKeys returns the host keys without the certificates.
func (s *Server) plainHostKeys() []ssh.Signer {
	var keys []ssh.Signer
	for _, k := range s.Gate.HostKeys {
		if _, certified := k.PublicKey().(*ssh.Certificate); !certified {
			keys = append(keys, k)
		}
	}
	return keys
}

// announceHostKeys sends all host keys to the client. An error means that the
// connection has ended, which the caller sees.
func (c *conn) announceHostKeys() {
	var list []byte
	for _, k := range c.srv.plainHostKeys() {
		list = appendString(list, k.PublicKey().Marshal())
	}
	c.ssh.SendRequest(announceHostKeys, false, list)
}

// proveHostKeys returns a signature of each host key that the client names. It returns
// nil if one of them is not a key of the server or cannot sign, or if there are too many.
func (c *conn) proveHostKeys(names []byte) []byte {
	keys := c.srv.plainHostKeys()
	var proofs []byte
	for n := 0; len(names) > 0; n++ {
		var next struct {
			Key  []byte
			Rest []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(names, &next) != nil || n == len(keys) {
			return nil
		}
		i := slices.IndexFunc(keys, func(k ssh.Signer) bool { return bytes.Equal(k.PublicKey().Marshal(), next.Key) })
		if i < 0 {
			return nil
		}
		proof, err := keys[i].Sign(rand.Reader, ssh.Marshal(struct {
			Purpose      string
			Session, Key []byte
		}{proveHostKeys, c.ssh.SessionID(), next.Key}))
		if err != nil {
			c.srv.Log.Warn("prove a host key", "session", c.peer.Session, "error", err)
			return nil
		}
		proofs, names = appendString(proofs, ssh.Marshal(proof)), next.Rest
	}
	return proofs
}

// appendString appends a string of the SSH protocol (RFC 4251, section 5).
func appendString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
