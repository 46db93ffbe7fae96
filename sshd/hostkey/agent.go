package hostkey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"berth/sshd/privatefile"
)

// An Agent is the socket of an ssh-agent, or SSH_AUTH_SOCK for the one that the
// environment variable names.
type Agent string

// agentAnswers is how long an agent may take for a signature. Keys in
// hardware need about a second.
const agentAnswers = 10 * time.Second

// ask connects to the agent for one request, so that the agent can be restarted at any
// time.
func (a Agent) ask(request func(agent.ExtendedAgent) error) error {
	socket := string(a)
	if socket == "SSH_AUTH_SOCK" {
		socket = os.Getenv(socket)
	}
	if socket == "" {
		return errors.New("no agent: host_key_agent must be its socket, or SSH_AUTH_SOCK be set")
	}
	nc, err := net.DialTimeout("unix", socket, agentAnswers)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(agentAnswers)); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if err := request(agent.NewClient(nc)); err != nil {
		return fmt.Errorf("agent %s: %w", socket, err)
	}
	return nil
}

// load returns the signer of a public key file whose private half the agent
// holds.
func (a Agent) load(path string) (ssh.Signer, error) {
	text, err := privatefile.Read(path, privatefile.AllRead, mostText)
	if err != nil {
		return nil, err
	}
	k, err := ParsePublic(text)
	if err != nil {
		return nil, err
	}
	err = a.ask(func(c agent.ExtendedAgent) error {
		keys, err := c.List()
		if err != nil || slices.ContainsFunc(keys, func(other *agent.Key) bool { return bytes.Equal(other.Blob, k.Public.Marshal()) }) {
			return err
		}
		return fmt.Errorf("%w %s among its %d: add it with ssh-add", errNotHeld, ssh.FingerprintSHA256(k.Public), len(keys))
	})
	if err != nil {
		return nil, err
	}
	return signer(agentKey{a, k.Public})
}

// ErrNoSignature means that an agent did not sign for the server.
var ErrNoSignature = errors.New("no signature by the key")

var errNotHeld = errors.New("does not hold the key")

type agentKey struct {
	agent Agent
	pub   ssh.PublicKey
}

func (k agentKey) PublicKey() ssh.PublicKey { return k.pub }

func (k agentKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(rand, data, k.pub.Type())
}

// agentFlags ask for another algorithm than SHA-1 with RSA keys (section 4.5.1
// of draft-miller-ssh-agent).
var agentFlags = map[string]agent.SignatureFlags{
	ssh.KeyAlgoRSASHA256: agent.SignatureFlagRsaSha256,
	ssh.KeyAlgoRSASHA512: agent.SignatureFlagRsaSha512,
}

func (k agentKey) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var sig *ssh.Signature
	err := k.agent.ask(func(c agent.ExtendedAgent) (err error) {
		sig, err = c.SignWithFlags(k.pub, data, agentFlags[algorithm])
		return err
	})
	if err == nil && sig.Format != algorithm { // an old agent ignores flags
		err = fmt.Errorf("agent %s signed by %s, not %s", k.agent, sig.Format, algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSignature, err)
	}
	return sig, nil
}
