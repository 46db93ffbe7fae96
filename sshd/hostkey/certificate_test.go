package hostkey

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCertify(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	keygen := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
		}
	}
	signers, err := Load([]string{file("host_ed25519"), file("host_rsa")}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca", "stranger"} {
		keygen("-t", "ed25519", "-N", "", "-f", file(name))
	}
	for _, name := range []string{"host_ed25519", "host_rsa", "stranger"} {
		keygen("-s", file("ca"), "-h", "-I", name, "-n", "sftp.corp.example", file(name)+".pub")
	}
	keygen("-s", file("ca"), "-I", "alice", "-n", "alice", file("ca")+".pub")

	tests := []struct {
		files []string
		want  string // types, or part of an error
	}{
		{nil, "ssh-ed25519 ssh-rsa"},
		{[]string{"host_rsa-cert.pub"}, "ssh-ed25519 ssh-rsa ssh-rsa-cert-v01@openssh.com"},
		{[]string{"host_rsa-cert.pub", "host_ed25519-cert.pub"}, "ssh-ed25519 ssh-rsa ssh-rsa-cert-v01@openssh.com ssh-ed25519-cert-v01@openssh.com"},
		{[]string{"host_rsa-cert.pub", "host_rsa-cert.pub"}, "for the same key"},
		{[]string{"stranger-cert.pub"}, "none of the host keys"},
		{[]string{"ca-cert.pub"}, "not a host certificate"},
		{[]string{"ca.pub"}, "not a certificate"},
		{[]string{"missing"}, "no such file"},
	}
	for _, tt := range tests {
		files := make([]string, len(tt.files))
		for i, name := range tt.files {
			files[i] = file(name)
		}
		all, err := Certify(signers, files)
		got := strings.Join(types(all), " ")
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != tt.want || !strings.Contains(got, tt.want) {
			t.Errorf("Certify(%q): got %q, want %q", tt.files, got, tt.want)
		}
	}
}
