package hostkey

import (
	"bufio"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// startAgent runs the real ssh-agent until the returned function is called, or
// the test ends.
func startAgent(t *testing.T, socket string) (stop func()) {
	t.Helper()
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			os.Remove(socket)
		}
	}
	t.Cleanup(stop)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it says so when it listens
		t.Fatalf("ssh-agent: %v", err)
	}
	return stop
}

func sshAdd(t *testing.T, socket string, files ...string) {
	t.Helper()
	cmd := exec.Command("ssh-add", append([]string{"-q"}, files...)...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
}

// signs has s sign by each of its algorithms.
func signs(t *testing.T, s ssh.Signer) []string {
	t.Helper()
	algorithms := []string{s.PublicKey().Type()}
	if m, ok := s.(ssh.MultiAlgorithmSigner); ok {
		algorithms = m.Algorithms()
	}
	for _, a := range algorithms {
		sig, err := s.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("x"), a)
		if err != nil || sig.Format != a {
			t.Errorf("sign by %s: %v, %v", a, sig, err)
			continue
		}
		if err := s.PublicKey().Verify([]byte("x"), sig); err != nil {
			t.Errorf("sign by %s: %v", a, err)
		}
	}
	return algorithms
}

func TestAgentHoldsHostKeys(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent")
	stop := startAgent(t, socket)
	var private, public []string
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		file := filepath.Join(dir, kind)
		keygen(t, "-q", "-t", kind, "-N", "", "-f", file)
		private, public = append(private, file), append(public, file+".pub")
	}
	sshAdd(t, socket, private...)
	for _, f := range private {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	signers, err := Load(public, nil, Agent(socket))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := types(signers), []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSA}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, s := range signers {
		signs(t, s)
	}
	if got := signs(t, signers[2]); !slices.Equal(got, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}) {
		t.Errorf("RSA signs by %q, want SHA-2 only", got)
	}
	if old := signers[2].(rsaSigner).WithSHA1(); !slices.Contains(signs(t, old), ssh.KeyAlgoRSA) {
		t.Error("WithSHA1 does not sign with ssh-rsa")
	}

	// The agent may go and come back, with other keys at first.
	stop()
	if _, err := signers[0].Sign(rand.Reader, []byte("x")); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("without the agent: %v, want an error with its socket", err)
	}
	startAgent(t, socket)
	if _, err := signers[0].Sign(rand.Reader, []byte("x")); err == nil {
		t.Error("an agent without the key signed")
	}
	other := filepath.Join(dir, "other")
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", other)
	sshAdd(t, socket, other)
	if _, err := Load(public, nil, Agent(socket)); !errors.Is(err, errNotHeld) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(signers[2].PublicKey())) {
		t.Errorf("Load of keys that the agent lacks = %v, want errNotHeld with the fingerprint", err)
	}
	t.Setenv("SSH_AUTH_SOCK", socket)
	again, err := Load([]string{other + ".pub"}, nil, "SSH_AUTH_SOCK")
	if err != nil {
		t.Fatal(err)
	}
	signs(t, again[0])
}

// TestAgentWithoutAnAnswer: an agent that cannot list its keys, perhaps because it is
// locked, is not said to lack a key.
func TestAgentWithoutAnAnswer(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "ed25519"), filepath.Join(dir, "agent")
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", file)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		io.ReadFull(nc, make([]byte, 5))
		nc.Write([]byte{0, 0, 0, 1, 5}) // SSH_AGENT_FAILURE
	}()
	if _, err := Load([]string{file + ".pub"}, nil, Agent(socket)); err == nil || errors.Is(err, errNotHeld) {
		t.Errorf("Load = %v, want the failure of the agent alone", err)
	}
}

func TestAgentMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ed25519")
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", file)
	t.Setenv("SSH_AUTH_SOCK", "")
	write(t, filepath.Join(dir, "junk.pub"), "junk", 0o600)
	for _, tt := range []struct {
		file  string
		agent Agent
		want  string
	}{
		{file + ".pub", "", "host_key_agent must be its socket"},
		{file + ".pub", "SSH_AUTH_SOCK", "SSH_AUTH_SOCK be set"},
		{file + ".pub", Agent(filepath.Join(dir, "nobody")), "no such file"},
		{filepath.Join(dir, "gone.pub"), "x", "no such file"},
		{filepath.Join(dir, "junk.pub"), "x", "no key found"},
	} {
		if _, err := Load([]string{tt.file}, nil, tt.agent); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.file) {
			t.Errorf("Load(%s) = %v, want %q", tt.file, err, tt.want)
		}
	}
}

// oldAgent ignores what a client asks for: its RSA keys sign with SHA-1.
type oldAgent struct{ agent.ExtendedAgent }

func (a oldAgent) SignWithFlags(key ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	return a.Sign(key, data)
}

// TestOldAgent refuses a signature that is not the one it asked for. Keys of 2048
// bits are long enough.
func TestOldAgent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	keys := agent.NewKeyring()
	k := samples()["rsa"]
	if err := keys.Add(agent.AddedKey{PrivateKey: k.Private}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(oldAgent{keys.(agent.ExtendedAgent)}, nc)
		}
	}()
	s, err := signer(agentKey{Agent(socket), k.Public})
	if err != nil || bits(k.Public) != minRSA {
		t.Fatalf("a key of %d bits: %v", bits(k.Public), err)
	}
	sig, err := s.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSASHA256)
	if !errors.Is(err, ErrNoSignature) || !strings.Contains(err.Error(), "signed by ssh-rsa, not rsa-sha2-256") {
		t.Errorf("got %v, %v, want that the agent signed by ssh-rsa", sig, err)
	}
}
