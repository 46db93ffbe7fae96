package test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestHomesOnNFS has people whose homes are on NFS with root_squash, and a folder where the
// kernel has quotas. Most kernels of tests have neither, so all this is in a virtual machine
// with a Debian.
func TestHomesOnNFS(t *testing.T) {
	if !strings.Contains(os.Getenv("BERTH_PEERS"), "nfs") {
		t.Skip(`emulates a machine for minutes: runs only when BERTH_PEERS names "nfs" (test/packages.sh nfs)`)
	}
	need(t, "qemu-system-x86_64", "debootstrap", "mke2fs")
	root := guestRoot(t)
	image := filepath.Join(t.TempDir(), "disk")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", root, image, "3G").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	one := func(pattern string) string {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		return found[0]
	}
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-m", "1G", "-smp", "2", "-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot",
		"-kernel", one("boot/vmlinuz-*"), "-initrd", one("boot/initrd.img-*"),
		"-drive", "file=" + image + ",if=virtio,format=raw",
		"-append", "root=/dev/vda rw console=ttyS0 panic=-1 quiet init=/test/guest.sh",
	}
	var out bytes.Buffer
	cmd := exec.Command("qemu-system-x86_64", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(10*time.Minute, func() { _ = cmd.Process.Kill() }) // all is emulated, which takes a minute
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	said := strings.ReplaceAll(out.String(), "\r", "") // a line may begin with what the firmware draws
	for _, want := range []string{
		"mounted nfs", "root is squashed", "alice works: done", "bob reads in the folder of the team: done",
		`bob changes a mode of alice: .*[Pp]ermission denied`, "rings [1-9]", `alice reads what the disk denies: .*[Pp]ermission denied`,
		"home/alice/f 20000:21000 640", "home/alice/d 20000:21000 750", "home/alice/d/h 20000:21000 600",
		"team/of-alice 20000:21001 640", "team/of-bob 20001:21001 640", "alice fills a disk with a quota: .*Failure", "quota [1-9]", "carol lists the folder of the team: .*[Pp]ermission denied.*", "bob uses the same disk: done", "limited/of-bob 20001:21000 640", "homes alice bob", "ended with 0",
	} {
		if !regexp.MustCompile("(?m)guest: " + want + "$").MatchString(said) {
			t.Errorf("the guest did not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// guestRoot makes a Debian with NFS, or copies the one in NFS_ROOT, and adds the server,
// its people and the script.
func guestRoot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	made := exec.Command("debootstrap", "--variant=minbase", "--include=linux-image-amd64,initramfs-tools,nfs-kernel-server,openssh-client,iproute2,kmod,quota,e2fsprogs", "bookworm", root)
	if from := os.Getenv("NFS_ROOT"); from != "" {
		made = exec.Command("cp", "-a", from, root)
	}
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", made, err, out)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/nfs/guest.sh")
	if err != nil {
		t.Fatal(err)
	}
	ldif := "version: 1\n\ndn: dc=x\nobjectClass: top\ndc: x\n\ndn: cn=team,dc=x\nobjectClass: posixGroup\nobjectClass: groupOfNames\ncn: team\ngidNumber: 21001\nmember: uid=alice,dc=x\nmember: uid=bob,dc=x\n"
	for i, name := range []string{"alice", "bob", "carol"} {
		ldif += fmt.Sprintf("\ndn: uid=%s,dc=x\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: %[1]s\ncn: p\nsn: p\nuidNumber: %d\ngidNumber: 21000\nhomeDirectory: /x\nsshPublicKey: %s",
			name, 20000+i, ssh.MarshalAuthorizedKey(key))
	}
	const config = `listen: ["127.0.0.1:2022"]
host_keys: [/test/server/host_ed25519_key]
directories: [{name: x, kind: embedded, ldif: /test/server/people.ldif}]
rules:
  - name: all
    owner: person
    home: {host: "/srv/people/home/%u", create: true}
    folders:
      - {path: /team, host: /srv/people/team, permissions: [full]}
      - {path: /limited, host: /srv/limited, permissions: [full]}
    uploads: atomic
events: {file: /test/server/events.jsonl}
admin: {listen: ""}
`
	dir := filepath.Join(root, "test")
	err = os.MkdirAll(dir+"/server", 0o755)
	for name, f := range map[string]struct {
		text []byte
		mode os.FileMode
	}{
		"berth": {program, 0o755}, "guest.sh": {script, 0o755}, "key": {pem.EncodeToMemory(block), 0o600},
		"server/people.ldif": {[]byte(ldif), 0o600}, "server/berth.yaml": {[]byte(config), 0o644},
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), f.text, f.mode))
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}
