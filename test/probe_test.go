package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/peers"
)

// TestProbeOfOpenSSH probes OpenSSH's own server, with a key of the user who
// runs the test.
func TestProbeOfOpenSSH(t *testing.T) {
	need(t, "ssh-keygen", "ssh-keyscan")
	addr, dir := startOpenSSH(t)
	host, port, _ := net.SplitHostPort(addr)
	known, err := exec.Command("ssh-keyscan", "-p", port, host).Output()
	if err != nil {
		t.Fatalf("ssh-keyscan: %v", err)
	}
	if err := os.WriteFile(dir+"/known_hosts", known, 0o600); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(berth, "probe", me.Username+"@"+addr, folder, "--identity", dir+"/key", "--known-hosts", dir+"/known_hosts").CombinedOutput()
	if err != nil || strings.Contains(string(out), "FAIL") {
		t.Fatalf("probe: %v\n%s", err, out)
	}
	for _, want := range []string{"SSH-2.0-OpenSSH_", "ok    compare", "statvfs@openssh.com", "0 entries in " + folder} {
		if !strings.Contains(string(out), want) {
			t.Errorf("probe said\n%s\nwant %q in it", out, want)
		}
	}
	if left, _ := os.ReadDir(folder); len(left) != 0 {
		t.Errorf("probe left %v", left)
	}
}

// startOpenSSH runs a private sshd, for the time of the test, and returns where
// it listens and a directory with "key", which may log in.
func startOpenSSH(t *testing.T) (addr, dir string) {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // not in the PATH of ordinary users
	}
	if os.Geteuid() == 0 { // it wants this empty directory of its own
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir = t.TempDir()
	for _, key := range []string{"key", "host_key"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	port, err := peers.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", port)
	config := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %[2]s/host_key\nPidFile none\nAuthorizedKeysFile %[2]s/key.pub\n"+
		"StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n", port, dir)
	if err := os.WriteFile(dir+"/sshd_config", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(sshd, "-D", "-e", "-f", dir+"/sshd_config")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "sshd to listen", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr, dir
}
