package test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A household is a server that runs as the user berth, with what dist/berth-owner.conf
// gives it, and keeps the files of people as theirs.
type household struct {
	*server
	dir    string // everybody can reach it, and only root and the server can write to it
	people int    // p0, p1, ...: uid 20000 and on
}

// Numbers of the household. Everybody is in the group of all; those with an even number
// are in the team.
const (
	berthUID = 990
	firstUID = 20000
	allGID   = 21000
	teamGID  = 21001

	publicUID = 22000 // to whom all in /public belongs
)

// withoutUID are people who have no usable number, and what their entries say.
var withoutUID = map[string]string{"nobody": "", "root0": "uidNumber: 0\n", "system": "uidNumber: 999\n"}

func newHousehold(t *testing.T, people int) *household {
	t.Helper()
	need(t, "setpriv", "sftp", "scp")
	if os.Getuid() != 0 {
		t.Skip("only root can start a server that acts as other people")
	}
	dir, err := os.MkdirTemp("/tmp", "berth-household-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &household{dir: dir, people: people}
	program, err := os.ReadFile(berth)
	if err != nil {
		t.Fatal(err)
	}
	var ldif strings.Builder
	ldif.WriteString("version: 1\n\ndn: dc=x\nobjectClass: top\ndc: x\n\ndn: ou=people,dc=x\nobjectClass: organizationalUnit\nou: people\n\ndn: ou=groups,dc=x\nobjectClass: organizationalUnit\nou: groups\n")
	group := "\ndn: cn=all,ou=groups,dc=x\nobjectClass: posixGroup\ncn: all\ngidNumber: %d\n\ndn: cn=team,ou=groups,dc=x\nobjectClass: posixGroup\nobjectClass: groupOfNames\ncn: team\ngidNumber: %d\n"
	members := fmt.Sprintf(group, allGID, teamGID)
	errs := []error{
		os.Chmod(dir, 0o755), os.WriteFile(dir+"/berth", program, 0o755), os.MkdirAll(dir+"/server/keys", 0o755),
		os.Mkdir(dir+"/homes", 0o755), os.Mkdir(dir+"/team", 0o755), os.Chown(dir+"/team", 0, teamGID), os.Chmod(dir+"/team", 0o770|iofs.ModeSetgid),
		os.Mkdir(dir+"/public", 0o700), os.Chown(dir+"/public", publicUID, publicUID+1),
	}
	var firstKey []byte
	for i := range people {
		public, private, err := ed25519.GenerateKey(nil)
		errs = append(errs, err)
		key, err := ssh.NewPublicKey(public)
		errs = append(errs, err)
		block, err := ssh.MarshalPrivateKey(private, "")
		errs = append(errs, err, os.WriteFile(h.keyFile(i), pem.EncodeToMemory(block), 0o600))
		fmt.Fprintf(&ldif, "\ndn: uid=p%d,ou=people,dc=x\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: p%d\ncn: p\nsn: p\nuidNumber: %d\ngidNumber: %d\nhomeDirectory: /x\nsshPublicKey: %s",
			i, i, firstUID+i, allGID, ssh.MarshalAuthorizedKey(key))
		if i == 0 {
			firstKey = ssh.MarshalAuthorizedKey(key)
		}
		if i%2 == 0 {
			members += fmt.Sprintf("member: uid=p%d,ou=people,dc=x\n", i)
		}
	}
	for name, number := range withoutUID { // all have the key of p0
		fmt.Fprintf(&ldif, "\ndn: uid=%s,ou=people,dc=x\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: n\nsn: n\n%sgidNumber: %d\nsshPublicKey: %s", name, number, allGID, firstKey)
	}
	config := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/server/host_key]
directories: [{name: x, kind: embedded, ldif: %[1]s/server/people.ldif}]
rules:
  - name: all
    owner: person
    home: {host: "%[1]s/homes/%%u", create: true, skeleton: [inbox]}
    folders:
      - {path: /team, host: "%[1]s/team", permissions: [full], umask: "007"}
      - {path: /look, host: "%[1]s/team", permissions: [read_only]}
      - {path: /public, host: "%[1]s/public", permissions: [full], owner: "22000:22001"}
    uploads: atomic
events: {file: %[1]s/server/events.jsonl}
admin: {listen: "127.0.0.1:0"}
`, dir)
	keygen := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir+"/server/host_key")
	errs = append(errs, keygen.Run(),
		os.WriteFile(dir+"/server/people.ldif", []byte(ldif.String()+members), 0o600),
		os.WriteFile(dir+"/server/berth.yaml", []byte(config), 0o644),
		chownAll(dir+"/server", berthUID), os.Chown(dir+"/homes", berthUID, berthUID))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	t.Cleanup(func() { h.stop() })
	return h
}

func chownAll(dir string, uid int) error {
	return filepath.WalkDir(dir, func(name string, _ iofs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, uid, uid))
	})
}

// as is a command of the service.
func (h *household) as(caps string, args ...string) []string {
	return append([]string{
		"--reuid", fmt.Sprint(berthUID), "--regid", fmt.Sprint(berthUID), "--clear-groups", "--no-new-privs",
		"--inh-caps", caps, "--ambient-caps", caps, "--bounding-set", caps, h.dir + "/berth",
	}, append(args, "--config", h.dir+"/server/berth.yaml")...)
}

const ownerCaps = "-all,+setuid,+setgid,+chown"

func (h *household) start(t *testing.T) {
	t.Helper()
	s, err := startServer("setpriv", h.dir+"/server", h.as(ownerCaps, "serve")...)
	if err != nil {
		t.Fatal(err)
	}
	h.server = s
}

func (h *household) keyFile(i int) string { return fmt.Sprintf("%s/server/keys/p%d", h.dir, i) }

func (h *household) client(i int) (*sftp.Client, error) {
	text, err := os.ReadFile(h.keyFile(i))
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	conn, err := ssh.Dial("tcp", h.addr, &ssh.ClientConfig{
		User: fmt.Sprintf("p%d", i), Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return nil, err
	}
	c, err := sftp.NewClient(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// openssh runs sftp or scp as person i.
func (h *household) openssh(i int, program, input string, args ...string) (string, error) {
	key := h.dir + fmt.Sprintf("/key%d", i) // ssh wants it to be the caller's
	text, err := os.ReadFile(h.keyFile(i))
	if err == nil {
		err = os.WriteFile(key, text, 0o600)
	}
	if err != nil {
		return "", err
	}
	cmd := exec.Command(program, append([]string{
		"-q", "-P", h.port(), "-i", key, "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oIdentitiesOnly=yes",
	}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ids are owner, group and mode of a file on the disk.
func ids(name string) string {
	var st syscall.Stat_t
	if err := syscall.Lstat(name, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o7777)
}

// TestFilesOfPeople works in homes and in a folder of a group, with OpenSSH's clients.
func TestFilesOfPeople(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 3)
	local := t.TempDir() + "/f"
	if err := os.WriteFile(local, []byte("of p0"), 0o644); err != nil {
		t.Fatal(err)
	}
	must := func(i int, program, input string, args ...string) string {
		t.Helper()
		out, err := h.openssh(i, program, input, args...)
		if err != nil {
			t.Errorf("p%d: %s %v %s: %v\n%s", i, program, args, input, err, out)
		}
		return out
	}
	refused := func(i int, input string) {
		t.Helper()
		if out, err := h.openssh(i, "sftp", input, "-b", "-", fmt.Sprintf("p%d@127.0.0.1", i)); err == nil || !strings.Contains(strings.ToLower(out), "permission denied") {
			t.Errorf("p%d: %s: %v\n%s", i, input, err, out)
		}
	}
	must(0, "sftp", "put "+local+" inbox/f\nmkdir d\nput "+local+" /team/f\nmkdir /team/d\nput "+local+" /team/private\nchmod 600 /team/private\nsymlink f /team/l\nput "+local+" /public/f\n", "-b", "-", "p0@127.0.0.1")
	if out := must(0, "sftp", "ls -l inbox\nls -l /team\n", "-b", "-", "p0@127.0.0.1"); !regexp.MustCompile(`rw-r----- +. p0 +all +5 .* inbox/f\n`).MatchString(out) || !regexp.MustCompile(`rw-r----- +. p0 +team +5 .* /team/f\n`).MatchString(out) {
		t.Errorf("ls shows\n%s", out)
	}
	must(0, "scp", "", local, "p0@127.0.0.1:/team/d/g")
	must(0, "scp", "", "-O", local, "p0@127.0.0.1:/team/d/old")
	for name, want := range map[string]string{
		"homes/p0":         "20000:21000 700",
		"homes/p0/inbox":   "20000:21000 750",
		"homes/p0/inbox/f": "20000:21000 640",
		"homes/p0/d":       "20000:21000 750",
		"team/f":           "20000:21001 640",
		"team/d":           "20000:21001 2770",
		"team/d/g":         "20000:21001 640",
		"team/d/old":       "20000:21001 640",
		"team/private":     "20000:21001 600",
		"team/l":           "20000:21001 777",
		"public/f":         "22000:22001 640",
	} {
		if got := ids(h.dir + "/" + name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	must(2, "sftp", "get /team/d/g "+local+"2\nput "+local+" /team/d/of2\nrename /team/f /team/f2\n", "-b", "-", "p2@127.0.0.1")
	if got := ids(h.dir + "/team/d/of2"); got != "20002:21001 640" {
		t.Errorf("the file of p2 is %s", got)
	}
	must(1, "sftp", "ls /public\nget /public/f "+local+"1\nrm /public/f\nmkdir /public/of1\n", "-b", "-", "p1@127.0.0.1")
	if got := ids(h.dir + "/public/of1"); got != "22000:22001 750" {
		t.Errorf("the directory of the account is %s", got)
	}
	refused(2, "get /team/private "+local+"3\n") // the disk
	refused(2, "chmod 666 /team/d/g\n")
	must(2, "sftp", "rm /team/d/g\n", "-b", "-", "p2@127.0.0.1") // of others, where the directory is the group's
	if out, err := h.openssh(1, "sftp", "ls /team\n", "-b", "-", "p1@127.0.0.1"); err == nil {
		t.Errorf("p1, who is not in the team, lists its folder:\n%s", out)
	}
	// Both must agree: the disk permits p0 all in the team's folder, the rules of /look do not.
	for _, command := range []string{"put " + local + " /look/x\n", "rm /look/f2\n", "chgrp 21000 /look/d\n", "chmod 755 /look/d\n"} {
		refused(0, command)
	}
	must(0, "sftp", "get /look/d/of2 "+local+"4\nchgrp 21000 /team/d/old\n", "-b", "-", "p0@127.0.0.1")
	if got := ids(h.dir + "/team/d/old"); got != "20000:21000 640" {
		t.Errorf("the file with another group of p0 is %s", got)
	}
	refused(0, "chgrp 0 /team/d/old\n")
	refused(1, "chgrp 21001 inbox\n") // p1 is not in the team
	for name := range withoutUID {
		if out, err := h.openssh(0, "sftp", "ls\n", "-b", "-", name+"@127.0.0.1"); err == nil {
			t.Errorf("%s, who has no usable uid, logs in:\n%s", name, out)
		}
	}
	for _, why := range []string{"uidNumber: one value is needed", `uidNumber \"0\": must be a number from 1`, "uid 999 is smaller than min_uid (1000)"} {
		recorded(t, h.dir+"/server", `"reason":"no_uid".*`+regexp.QuoteMeta(why))
	}
	for caps, warned := range map[string]bool{ownerCaps: false, "-all": true, "-all,+setuid,+setgid": true} {
		out, err := exec.Command("setpriv", h.as(caps, "check")...).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("(owner)")) != warned {
			t.Errorf("berth check with %s: %v\n%s", caps, err, out)
		}
	}
	h.stop()
	s, err := startServer("setpriv", h.dir+"/server", h.as("-all", "serve")...)
	if err != nil {
		t.Fatal(err)
	}
	h.server = s
	if log, err := os.ReadFile(s.output); err != nil || !bytes.Contains(log, []byte("(owner)")) {
		t.Errorf("the start without capabilities says nothing of it: %v\n%s", err, log)
	}
}

// TestPeopleWorkAtOnce has many sessions of 20 people that work in their homes and in one
// folder. Afterwards each thing belongs to the person whose name it has.
func TestPeopleWorkAtOnce(t *testing.T) {
	slow(t)
	t.Parallel()
	const people = 20
	h := newHousehold(t, people)
	var all sync.WaitGroup
	for session := range 2 * people {
		all.Go(func() {
			i := session % people
			c, err := h.client(i)
			if err != nil {
				t.Errorf("p%d: %v", i, err)
				return
			}
			defer c.Close()
			rnd := rand.New(rand.NewPCG(7, uint64(session)))
			for n := range 60 {
				folder := "/inbox"
				if i%2 == 0 && rnd.IntN(2) == 0 {
					folder = "/team"
				}
				name := fmt.Sprintf("%s/p%d-%d-%d", folder, i, session, n)
				switch rnd.IntN(6) {
				case 0:
					err = c.Mkdir(name)
				case 1:
					err = c.Symlink("nowhere", name)
				case 2:
					if err = c.Mkdir(name); err == nil {
						err = errors.Join(put(c, name+"/in", 1), c.Chmod(name+"/in", 0o660))
					}
				case 3:
					err = errors.Join(put(c, name+"-x", 100), c.Rename(name+"-x", name))
				case 4:
					_, err = c.ReadDir(folder)
				default:
					err = put(c, name, rnd.IntN(100_000))
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
	if n := auditHousehold(t, h); n < people*60 {
		t.Errorf("only %d files and directories were made", n)
	}
}

func put(c *sftp.Client, name string, size int) error {
	f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(make([]byte, size)))
	return errors.Join(err, f.Close())
}

// auditHousehold wants all in homes and in the team's folder to be of the person whose name
// it has, or whose directory it is in. It returns how much there is.
func auditHousehold(t *testing.T, h *household) (n int) {
	t.Helper()
	for _, root := range []string{h.dir + "/homes", h.dir + "/team"} {
		err := filepath.WalkDir(root, func(name string, _ iofs.DirEntry, err error) error {
			if err != nil || name == root {
				return err
			}
			rest := strings.TrimPrefix(name, root+"/")
			if i := strings.Index(rest, "-p"); strings.HasPrefix(rest, ".berth-upload-") && i >= 0 { // a broken upload of the team
				rest = rest[i+1:]
			}
			var who int
			if _, err := fmt.Sscanf(rest, "p%d", &who); err != nil {
				t.Errorf("whose is %s?", rest)
				return nil
			}
			if got := ids(name); !strings.HasPrefix(got, fmt.Sprintf("%d:", firstUID+who)) {
				t.Errorf("%s is %s", name, got)
			}
			n++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return n
}

// TestPeopleAndKill kills the server in the middle of uploads and first logins, again and
// again. Nothing that is left belongs to anybody else.
func TestPeopleAndKill(t *testing.T) {
	slow(t)
	t.Parallel()
	h := newHousehold(t, 30)
	made := 0
	for round := range 10 {
		var all sync.WaitGroup
		uploaded := make(chan struct{}, 1000)
		for j := range 6 {
			i := (round*3 + j) % h.people // three are new in each round
			all.Go(func() {
				c, err := h.client(i)
				if err != nil {
					return // the server was killed
				}
				defer c.Close()
				for n := 0; ; n++ {
					name := fmt.Sprintf("/inbox/p%d-%d", i, n%4)
					if i%2 == 0 && n%2 == 0 {
						name = fmt.Sprintf("/team/p%d-%d", i, n%4)
					}
					if put(c, name, 200_000) != nil {
						return
					}
					select {
					case uploaded <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 1 + round {
			select {
			case <-uploaded:
			case <-time.After(30 * time.Second):
				t.Fatal("nothing was uploaded")
			}
		}
		if err := h.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		<-h.done
		for _, left := range glob(t, h.dir+"/homes/.berth-home-*") { // of a login that was just making a home: nobody's yet
			if got := ids(left); !strings.HasPrefix(got, fmt.Sprintf("%d:", berthUID)) && !strings.HasPrefix(got, "20") {
				t.Errorf("%s is %s", left, got)
			}
			if err := os.RemoveAll(left); err != nil {
				t.Error(err)
			}
		}
		made = auditHousehold(t, h)
		h.start(t)
	}
	if made < 100 {
		t.Errorf("only %d files and directories are left", made)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
