package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/test/peers"
)

// buildPackages makes the packages of one version for this machine and returns
// the .deb and the .rpm.
func buildPackages(t *testing.T, version string) (deb, rpm string) {
	t.Helper()
	if !slices.Contains(strings.Split(os.Getenv("BERTH_PEERS"), ","), "package") {
		t.Skip(`runs only when BERTH_PEERS names "package", as make test-peers does`)
	}
	need(t, "lintian", "rpmlint", "debootstrap", "systemd-nspawn", "nsenter", "sshpass", "sftp", "man")
	dir := t.TempDir()
	cmd := exec.Command("make", "-C", "..", "package", "OUT="+dir, "VERSION="+version)
	cmd.Env = append(os.Environ(), "ARCHS="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make package: %v\n%s", err, out)
	}
	one := func(pattern string) string {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(found))
		}
		return found[0]
	}
	return one("*.deb"), one("*.rpm")
}

// TestPackageLint: built twice, a package has the same bytes, and the linters of
// both formats find nothing that is not explained.
func TestPackageLint(t *testing.T) {
	deb, rpm := buildPackages(t, "1.0.0")
	deb2, rpm2 := buildPackages(t, "1.0.0")
	for first, second := range map[string]string{deb: deb2, rpm: rpm2} {
		a, err := os.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(second)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two builds differ", filepath.Base(first))
		}
	}
	for _, lint := range [][]string{
		{"lintian", "--allow-root", "--fail-on", "error,warning", deb},
		{"rpmlint", "--config", "../dist/rpmlint.toml", rpm},
	} {
		if out, err := exec.Command(lint[0], lint[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", lint[0], err, out)
		}
	}
}

// A machine is a Debian that systemd has booted in a container.
type machine struct {
	t      *testing.T
	root   string
	leader string // process id of its systemd
}

// boot makes a small Debian, or copies the one in DEBIAN_ROOT, and boots it.
func boot(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, root: filepath.Join(t.TempDir(), "root")}
	made := exec.Command("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", "bookworm", m.root)
	if root := os.Getenv("DEBIAN_ROOT"); root != "" {
		made = exec.Command("cp", "-a", root, m.root)
	}
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", made, err, out)
	}
	c := exec.Command("systemd-nspawn", "-q", "--boot", "--register=no", "--keep-unit", "--console=pipe", "-D", m.root)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { c.Wait(); close(done) }()
	t.Cleanup(func() {
		exec.Command("nsenter", "-t", m.leader, "-a", "systemctl", "poweroff").Run()
		select {
		case <-done:
		case <-time.After(time.Minute):
			c.Process.Kill()
			<-done
		}
	})
	children := fmt.Sprintf("/proc/%d/task/%[1]d/children", c.Process.Pid)
	eventually(t, "the container to boot", func() bool {
		text, _ := os.ReadFile(children)
		pids := strings.Fields(string(text))
		if len(pids) == 0 {
			return false
		}
		m.leader = pids[0]
		out, _ := exec.Command("nsenter", "-t", m.leader, "-a", "systemctl", "is-system-running").Output()
		return slices.Contains([]string{"running\n", "degraded\n"}, string(out))
	})
	return m
}

// try runs a shell command in the machine.
func (m *machine) try(script string) (string, error) {
	cmd := exec.Command("nsenter", "-t", m.leader, "-a", "sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try for what must work.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		status, _ := m.try("systemctl status --no-pager --full berth; journalctl --no-pager -u berth")
		m.t.Fatalf("%s: %v\n%s\n%s", script, err, out, status)
	}
	return out
}

// put copies a file into the machine.
func (m *machine) put(file, path string) {
	m.t.Helper()
	if out, err := exec.Command("cp", file, filepath.Join(m.root, path)).CombinedOutput(); err != nil {
		m.t.Fatalf("cp: %v %s", err, out)
	}
}

// documented returns the commands of a page of docs that follow a heading, a line
// each, without comments.
func documented(t *testing.T, page, heading string) []string {
	t.Helper()
	_, text, ok := strings.Cut(documents(t)[page], "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var commands []string
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if command, indented := strings.CutPrefix(line, "    "); indented && !fenced {
			command, _, _ = strings.Cut(command, "  #")
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	if !ok || len(commands) == 0 {
		t.Fatalf("%s has no commands below %q", page, heading)
	}
	return commands
}

// TestPackageLife installs the package in a machine with systemd, fills in the
// configuration, serves, backs up and restores, upgrades, goes back, removes and
// purges, with the commands of docs/install.md and docs/backup.md. The unit's
// restrictions are in force.
func TestPackageLife(t *testing.T) {
	deb, _ := buildPackages(t, "1.0.0")
	newer, _ := buildPackages(t, "1.0.1")
	m := boot(t)
	m.put(deb, "/root/berth_1.0.0_amd64.deb")
	m.put(newer, "/root/berth_1.0.1_amd64.deb")
	page := func(name, heading string) string {
		return "set -e; cd /root; " + strings.Join(documented(t, "docs/"+name+".md", heading), "\n")
	}

	m.run(page("install", "Install"))
	if out, err := m.try("systemctl is-active berth || systemctl is-enabled berth"); err == nil {
		t.Errorf("the installation has started or enabled the service: %s", out)
	}
	if out, err := m.try("berth check"); err == nil || !strings.Contains(out, "berth init makes one") {
		t.Errorf("berth check does not name berth init: %v %s", err, out)
	}

	port, err := peers.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(m.root, path), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	write("/var/lib/berth/people.ldif", `dn: dc=example,dc=org
objectClass: domain
dc: example

dn: uid=alice,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: posixAccount
uid: alice
uidNumber: 20000
gidNumber: 5000
homeDirectory: /
cn: Alice
sn: Archer
userPassword: package-test-1

dn: cn=staff,dc=example,dc=org
objectClass: groupOfNames
cn: staff
member: uid=alice,dc=example,dc=org
`)
	m.run("chown berth:berth /var/lib/berth/people.ldif")
	m.run(fmt.Sprintf("berth init --ldif /var/lib/berth/people.ldif --group staff --folder /srv/berth/home --listen 127.0.0.1:%s --admin 127.0.0.1:0", port))
	if out := m.run("stat -c '%U:%G %a' /etc/berth/berth.yaml /var/lib/berth/ssh_host_ed25519_key /srv/berth/home"); out != "root:berth 640\nberth:berth 600\nberth:berth 750\n" {
		t.Errorf("what berth init made belongs to: %s", out)
	}
	config := m.run("cat /etc/berth/berth.yaml")
	known := filepath.Join(t.TempDir(), "known_hosts")
	sftp := func(command string) (string, error) {
		cmd := exec.Command("sshpass", "-p", "package-test-1", "sftp", "-F", "/dev/null", "-P", port, "-o", "StrictHostKeyChecking=accept-new",
			"-o", "UserKnownHostsFile="+known, "-o", "PubkeyAuthentication=no", "alice@127.0.0.1")
		cmd.Stdin = strings.NewReader(command)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	works := func(command string) {
		t.Helper()
		if out, err := sftp(command); err != nil || !strings.Contains(out, "sftp> ") {
			t.Fatalf("sftp %s: %v %s\n%s", command, err, out, m.run("journalctl --no-pager -u berth"))
		}
	}

	m.run(page("install", "Start"))
	works("put /etc/hostname kept")
	m.run("systemctl reload berth")
	log := filepath.Join(m.root, "/var/log/berth")
	recorded(t, log, `"server_reloaded"`)
	if out := m.run("systemctl status --no-pager berth"); !strings.Contains(out, "active (running)") {
		t.Errorf("systemctl status: %s", out)
	}
	if out := m.run("ls /srv/berth/home/alice"); !strings.Contains(out, "kept") {
		t.Errorf("the file is not in /srv/berth: %s", out)
	}

	// With the drop-in of docs/owner.md the service makes a home that is the person's.
	m.run("set -e\n" + strings.Join(documented(t, "docs/owner.md", "The shortest way"), "\n"))
	write("/etc/berth/berth.yaml", strings.NewReplacer(`/srv/berth/home/%u`, `/srv/people/home/%u`, "create: true}", "create: true, owner: person}").Replace(config))
	if out := m.run("berth check 2>&1 && systemctl reload berth"); strings.Contains(out, "(owner)") {
		t.Errorf("berth check says that the service cannot act as people:\n%s", out)
	}
	eventually(t, "the reload", func() bool {
		return strings.Count(readFile(t, filepath.Join(log, "events.jsonl")), `"server_reloaded"`) == 2
	})
	works("mkdir d\nput /etc/hostname d/f\nchmod 640 d/f")
	if out := m.run("cd /srv/people/home && stat -c '%u:%g %a' alice alice/d alice/d/f ../team"); out != "20000:5000 700\n20000:5000 750\n20000:5000 640\n0:5001 2770\n" {
		t.Errorf("the home of the person, what is in it, and the folder of the team are %s", out)
	}
	const caps = "00000000000004c1" // CAP_CHOWN, CAP_SETGID, CAP_SETUID, and of the unit CAP_NET_BIND_SERVICE
	if out := m.run("grep -h ^Cap /proc/$(systemctl show -p MainPID --value berth)/status | cut -f2 | sort -u"); out != caps+"\n" {
		t.Errorf("the capabilities of the service are %s, want %s in all sets", out, caps)
	}
	write("/etc/berth/berth.yaml", config)
	m.run("rm -r /etc/systemd/system/berth.service.d && systemctl daemon-reload && systemctl restart berth")
	if out := m.run("grep ^CapBnd /proc/$(systemctl show -p MainPID --value berth)/status"); out != "CapBnd:\t0000000000000400\n" {
		t.Errorf("without the drop-in the service may have the capabilities %s", out)
	}

	// The priorities of the journal are those of the log.
	write("/etc/berth/berth.yaml", "rules: [{")
	m.try("kill -HUP $(systemctl show -p MainPID --value berth)")
	eventually(t, "an error in the journal", func() bool {
		out, _ := m.try("journalctl --no-pager -o json -u berth -p err")
		var entry struct{ Message, Priority string }
		for line := range strings.Lines(out) {
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Priority == "3" && strings.Contains(entry.Message, "[ERROR]") {
				return true
			}
		}
		return false
	})
	write("/etc/berth/berth.yaml", config)

	m.run(page("backup", "Back up"))
	before := m.run("sha256sum /var/lib/berth/ssh_host_*_key")

	pid := m.run("systemctl show -p MainPID --value berth")
	m.run(page("install", "Upgrade") + "\ntrue")
	if out := m.run("cat /etc/berth/berth.yaml"); out != config {
		t.Errorf("the upgrade has changed the configuration: %s", out)
	}
	if now := m.run("systemctl show -p MainPID --value berth"); now == pid {
		t.Error("the new version was not started by the commands for an upgrade")
	}
	if out := m.run("berth version"); !strings.HasPrefix(out, "berth 1.0.1") {
		t.Errorf("after the upgrade: %s", out)
	}
	works("get kept /dev/null")

	m.run(page("install", "Go back"))
	if out := m.run("berth version"); !strings.HasPrefix(out, "berth 1.0.0") {
		t.Errorf("after going back: %s", out)
	}
	works("get kept /dev/null")

	m.run(page("install", "Remove"))
	if out, err := sftp("ls"); err == nil {
		t.Errorf("the server runs after the package was removed: %s", out)
	}
	m.run("test ! -e /usr/bin/berth && test -s /etc/berth/berth.yaml && test -s /var/lib/berth/ssh_host_ed25519_key && test -s /var/log/berth/events.jsonl")

	m.run(page("install", "Purge"))
	m.run("test ! -e /etc/berth && test ! -e /var/lib/berth && test ! -e /var/log/berth && test -s /srv/berth/home/alice/kept && id berth")
	if out := m.run("find /etc /usr /var -name '*berth*' -not -path '/var/lib/dpkg/*' -not -path '/var/log/journal/*'"); out != "" {
		t.Errorf("left after the purge: %s", out)
	}

	// A machine that was lost comes back from the backup.
	m.run("dpkg -i /root/berth_1.0.1_amd64.deb")
	m.run(page("backup", "Restore"))
	if after := m.run("sha256sum /var/lib/berth/ssh_host_*_key"); after != before {
		t.Errorf("the host keys after the restore are others: %s, want %s", after, before)
	}
	works("get kept /dev/null")
}

// TestUnit: systemd knows every key of the unit and understands its value.
func TestUnit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("BERTH_PEERS") != "" {
			t.Fatal("systemd-analyze is needed:", err)
		}
		t.Skip("the unit is not verified: there is no systemd-analyze")
	}
	text, err := os.ReadFile("../dist/berth.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "berth.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/bin/berth", plain)), 0o644); err != nil {
		t.Fatal(err)
	}
	dropIn, err := os.ReadFile("../dist/berth-owner.conf")
	if err = errors.Join(err, os.Mkdir(unit+".d", 0o755), os.WriteFile(unit+".d/owner.conf", dropIn, 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestExposureOfUnit: the table in docs/install.md has each line that systemd-analyze
// marks in the unit, with its part, and no other.
func TestExposureOfUnit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("BERTH_PEERS") != "" {
			t.Fatal("systemd-analyze is needed:", err)
		}
		t.Skip("the exposure of the unit is not looked at: there is no systemd-analyze")
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "../dist/berth.service").Output()
	if err != nil {
		t.Fatalf("systemd-analyze: %v\n%s", err, out)
	}
	var got, want []string
	for _, m := range regexp.MustCompile(`(?m)^✗ (\S+) .* (\d\.\d)\s*$`).FindAllStringSubmatch(string(out), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+=.*?)` \\| (\\d\\.\\d) \\|").FindAllStringSubmatch(documents(t)["docs/install.md"], -1) {
		want = append(want, strings.ReplaceAll(m[1], `\|`, "|")+" "+m[2])
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(got) == 0 || !slices.Equal(got, want) {
		t.Errorf("systemd-analyze marks %q\ndocs/install.md has     %q", got, want)
	}
}

// TestPackageUnit: what the service may do has not grown.
func TestPackageUnit(t *testing.T) {
	deb, _ := buildPackages(t, "1.0.0")
	root := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v %s", err, out)
	}
	score := func() float64 {
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--root="+root, "--no-pager", "berth.service").CombinedOutput()
		m := regexp.MustCompile(`Overall exposure level for berth.service: ([0-9.]+)`).FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("systemd-analyze: %v %s", err, out)
		}
		s, _ := strconv.ParseFloat(string(m[1]), 64)
		return s
	}
	if s := score(); s > 1.8 {
		t.Errorf("the exposure of the unit is %v, want 1.8 at most", s)
	}
	_, dropIn, _ := strings.Cut(documents(t)["docs/install.md"], "\n```ini\n")
	dropIn, _, _ = strings.Cut(dropIn, "```")
	dir := filepath.Join(root, "etc/systemd/system/berth.service.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "override.conf"), []byte(dropIn), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := score(); s > 1.5 {
		t.Errorf("the exposure of the unit with the lines of docs/install.md is %v, want 1.5 at most", s)
	}
}
