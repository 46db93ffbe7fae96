package test

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestContainer makes the root directory that dist/Containerfile puts into an image,
// and runs the image's commands in it as a user without an account: the server, the
// health check, a transfer.
func TestContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the root directory and the user of a process")
	}
	need(t, "sshpass", "sftp", "unshare", "chroot")
	text, err := os.ReadFile("../dist/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	words := func(instruction string) (list []string) {
		m := regexp.MustCompile(`(?m)^` + instruction + ` (\[.*\])$`).FindSubmatch(text)
		if m == nil || json.Unmarshal(m[1], &list) != nil {
			t.Fatalf("Containerfile: no %s", instruction)
		}
		return list
	}
	serve := append(words("ENTRYPOINT"), words("CMD")...)
	health := words("HEALTHCHECK .*CMD")
	target := regexp.MustCompile(`(?m)^RUN make (\S+) ROOT=\S+$`).FindSubmatch(text)
	if target == nil {
		t.Fatal("Containerfile: no make target for the root directory")
	}

	root := filepath.Join(t.TempDir(), "root")
	for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("make", "-s", "-C", "..", string(target[1]), "ROOT="+root).CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", target[1], err, out)
	}
	program, err := elf.Open(filepath.Join(root, serve[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if libraries, _ := program.ImportedLibraries(); len(libraries) > 0 {
		t.Errorf("the program needs %v, which an empty image lacks", libraries)
	}

	const user = 54321
	files := map[string]string{
		"etc/berth/berth.yaml": `listen: ["127.0.0.1:0"]
host_keys: [/run/secrets/ssh_host_ed25519_key]
directories: [{name: local, kind: embedded, ldif: /var/lib/berth/people.ldif}]
rules: [{name: all, when: {hours: "Mon-Sun 00:00-24:00 Europe/Berlin"}, home: {host: "/srv/berth/%u", create: true}}]
events: {file: stdout}
admin: {listen: "127.0.0.1:0", socket: /run/berth/berth.sock}
`,
		"var/lib/berth/people.ldif": "dn: dc=x\nobjectClass: domain\ndc: x\n\ndn: uid=al,dc=x\nobjectClass: inetOrgPerson\nuid: al\ncn: al\nsn: al\nuserPassword: container-1\n",
		"srv/berth/.keep":           "",
	}
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(root, "run/secrets/ssh_host_ed25519_key")
	if out, err := exec.Command(berth, "keys", "make", secret).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{secret, filepath.Join(root, "srv/berth"), filepath.Join(root, "var/lib/berth/people.ldif")} {
		if err := os.Chown(name, user, user); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(secret), 0o755); err != nil {
		t.Fatal(err)
	}
	// As a runtime does: the root is read-only, but for volumes.
	const script = `root=$1; shift; mkdir -p "$root/proc"
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root" && mount --rbind /proc "$root/proc" || exit
for dir in run/berth var/lib/berth srv/berth; do mount --bind "$0/$dir" "$root/$dir" && mount -o remount,bind,rw "$root/$dir" || exit; done
exec chroot --userspec=+54321:+54321 "$root" "$@"`
	inside := func(command []string) *exec.Cmd {
		return exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, root, root}, command...)...)
	}

	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	server := inside(serve)
	server.Stdout, server.Stderr = output, output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	defer server.Process.Kill()
	said := func() string {
		text, _ := os.ReadFile(output.Name())
		return string(text)
	}
	var port string
	eventually(t, "the server to listen", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the server ends: %v\n%s", err, said())
		default:
		}
		m := listening.FindStringSubmatch(said())
		if m != nil {
			port = m[2]
		}
		return m != nil
	})
	if out, err := inside(health).CombinedOutput(); err != nil {
		t.Errorf("the health check: %v\n%s\n%s", err, out, said())
	}
	transfer := exec.Command("sshpass", "-p", "container-1", "sftp", "-F", "/dev/null", "-P", port, "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "PubkeyAuthentication=no", "al@127.0.0.1")
	transfer.Stdin = strings.NewReader("put /etc/hostname kept\n")
	if out, err := transfer.CombinedOutput(); err != nil {
		t.Errorf("sftp: %v\n%s\n%s", err, out, said())
	}
	if fi, err := os.Stat(filepath.Join(root, "srv/berth/al/kept")); err != nil || fi.Sys().(*syscall.Stat_t).Uid != user {
		t.Errorf("the file that was put: %v, %v", fi, err)
	}
	eventually(t, "the event on standard output", func() bool { return strings.Contains(said(), `"type":"file_write_closed"`) })

	stop := regexp.MustCompile(`(?m)^STOPSIGNAL SIGTERM$`)
	if !stop.Match(text) {
		t.Error("Containerfile: the signal is not SIGTERM")
	}
	server.Process.Signal(syscall.SIGTERM)
	if err := <-ended; err != nil {
		t.Errorf("the server ends with %v\n%s", err, said())
	}
	if out, err := inside(health).CombinedOutput(); err == nil {
		t.Errorf("the health check of a server that has ended succeeds: %s", out)
	}
}
