package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// edit changes the server's file as an administrator does.
func edit(t *testing.T, s *Server, old, fresh string) {
	t.Helper()
	data := readAll(t, s.store.file)
	if !strings.Contains(data, old) {
		t.Fatalf("%q is not in the file", old)
	}
	if err := os.WriteFile(s.store.file, []byte(strings.Replace(data, old, fresh, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Second) // coarse clocks of file systems
	if err := os.Chtimes(s.store.file, later, later); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRestart checks that changes are there after a restart, and that no
// password is in the clear.
func TestRestart(t *testing.T) {
	file := peopleFile(t)
	s := open(t, Settings{LDIF: file})
	asErin := bound(t, s, erin, "erin-demo-1")
	if got := tryChange(asErin, "", "erin-demo-1", "erin-demo-2"); got != fine {
		t.Fatalf("change: got %+v", got)
	}
	keys := ldap.NewModifyRequest(erin, nil)
	keys.Add("sshPublicKey", []string{"ssh-ed25519 AAAA erin"})
	if err := asService(t, s).Modify(keys); err != nil {
		t.Fatal(err)
	}
	id := attribute(t, asService(t, s), erin, "entryUUID")[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	text := readAll(t, file)
	if strings.Contains(text, "-demo-") {
		t.Errorf("a password is in the clear:\n%s", text)
	}
	for _, want := range []string{"# The people of example.org", "# left the company\ndn: uid=dave", "{ARGON2}$argon2id$"} {
		if !strings.Contains(text, want) {
			t.Errorf("file: got\n%s\nwant %q in it", text, want)
		}
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v want 0600", st.Mode(), err)
	}
	if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); rest != nil {
		t.Errorf("left behind: %q", rest)
	}

	s = open(t, Settings{LDIF: file})
	if readAll(t, file) != text {
		t.Errorf("the second start wrote the file")
	}
	bound(t, s, erin, "erin-demo-2")
	service := asService(t, s)
	if got := attribute(t, service, erin, "sshPublicKey"); len(got) != 1 || got[0] != "ssh-ed25519 AAAA erin" {
		t.Errorf("sshPublicKey: got %q", got)
	}
	if got := attribute(t, service, erin, "entryUUID")[0]; got != id {
		t.Errorf("entryUUID: got %s want %s", got, id)
	}
}

func TestReload(t *testing.T) {
	s := open(t, Settings{})
	service := asService(t, s)
	edit(t, s, "cn: Bob Baker", "cn: Robert Baker")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := attribute(t, service, bob, "cn"); len(got) != 1 || got[0] != "Robert Baker" {
		t.Errorf("cn: got %q want Robert Baker", got)
	}
	edit(t, s, "dn: "+bob, "dn: bob")
	err := s.Reload()
	if want := s.store.file + ":"; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), `"bob" is not a DN`) {
		t.Errorf("bad file: got %v want %s…", err, want)
	}
	if got := attribute(t, service, bob, "cn"); len(got) != 1 || got[0] != "Robert Baker" {
		t.Errorf("after a bad file: got cn %q want Robert Baker", got)
	}
}

// TestEdited checks that an edited file is never overwritten, and that wrong
// passwords are counted nevertheless, also after the reload.
func TestEdited(t *testing.T) {
	p := DefaultPolicy()
	p.MaxFailure = 2
	s := open(t, Settings{Policy: p})
	c := bound(t, s, bob, "bob-demo-1")
	edit(t, s, "cn: Bob Baker", "cn: Robert Baker")
	want := outcome{ldap.LDAPResultUnavailable, int8(noPolicyError)}
	if got := tryChange(c, "", "bob-demo-1", "bob-demo-2"); got != want {
		t.Errorf("change: got %+v want %+v", got, want)
	}
	for range 2 {
		tryBind(dial(t, s), alice, "wrong")
	}
	if text := readAll(t, s.store.file); !strings.Contains(text, "Robert Baker") {
		t.Fatalf("the edited file was overwritten:\n%s", text)
	}
	locked := outcome{ldap.LDAPResultInvalidCredentials, 1}
	for range 2 { // the second time after the reload
		if got, _ := tryBind(dial(t, s), alice, "alice-demo-1"); got != locked {
			t.Errorf("alice: got %+v want %+v", got, locked)
		}
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	if got := tryChange(c, "", "bob-demo-1", "bob-demo-2"); got != fine {
		t.Errorf("change after the reload: got %+v want %+v", got, fine)
	}
	if text := readAll(t, s.store.file); !strings.Contains(text, "Robert Baker") || !strings.Contains(text, "pwdAccountLockedTime") {
		t.Errorf("file: got\n%s\nwant Robert and the lock", text)
	}
}

// TestUnwritable checks that a change that cannot be written is refused, and
// that the old password stays valid.
func TestUnwritable(t *testing.T) {
	s := open(t, Settings{})
	c := bound(t, s, bob, "bob-demo-1")
	if err := os.Remove(s.store.file); err != nil { // works for root too
		t.Fatal(err)
	}
	want := outcome{ldap.LDAPResultUnavailable, int8(noPolicyError)}
	if got := tryChange(c, "", "bob-demo-1", "bob-demo-2"); got != want {
		t.Errorf("change: got %+v want %+v", got, want)
	}
	keys := ldap.NewModifyRequest(bob, nil)
	keys.Add("sshPublicKey", []string{"k"})
	if err := asService(t, s).Modify(keys); codeOf(err) != ldap.LDAPResultUnavailable || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("modify: got %v want code 52 and why", err)
	}
	if err := s.Writable(); err == nil {
		t.Error("Writable = nil want an error")
	}
	if got := attribute(t, asService(t, s), bob, "sshPublicKey"); got != nil {
		t.Errorf("sshPublicKey: got %q want none", got)
	}
	if got, _ := tryBind(dial(t, s), bob, "bob-demo-1"); got != fine {
		t.Errorf("old password: got %+v want %+v", got, fine)
	}
}

// TestUnwritableStart checks that a file that cannot be written, here one
// without a name, is served nevertheless.
func TestUnwritableStart(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc/self/fd")
	}
	f, err := os.Open(peopleFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	s := open(t, Settings{LDIF: fmt.Sprintf("/proc/self/fd/%d", f.Fd())})
	c := bound(t, s, bob, "bob-demo-1")
	want := outcome{ldap.LDAPResultUnavailable, int8(noPolicyError)}
	if got := tryChange(c, "", "bob-demo-1", "bob-demo-2"); got != want {
		t.Errorf("change: got %+v want %+v", got, want)
	}
}

// TestLink checks that a symbolic link to the file stays a link.
func TestLink(t *testing.T) {
	file := peopleFile(t)
	link := filepath.Join(t.TempDir(), "link.ldif")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	open(t, Settings{LDIF: link})
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("link: got %v, %v want a symbolic link", st.Mode(), err)
	}
	if strings.Contains(readAll(t, file), "alice-demo-1") {
		t.Error("the file behind the link was not written")
	}
}

func TestOpenErrors(t *testing.T) {
	bad := writeLDIF(t, "dn: dc=org\ndc: org\n")
	tests := []struct {
		name string
		s    Settings
		want string
	}{
		{"no file", Settings{LDIF: filepath.Join(t.TempDir(), "none.ldif")}, "reading the LDIF file"},
		{"directory", Settings{LDIF: t.TempDir()}, "reading the LDIF file"},
		{"bad file", Settings{LDIF: bad}, bad + ":1: dc=org has no objectClass"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(tt.s, nil)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v want %q in it", err, tt.want)
			}
		})
	}
}

// TestFileTooLarge checks that a file that is too large is refused before it is
// read.
func TestFileTooLarge(t *testing.T) {
	file := peopleFile(t)
	if err := os.Truncate(file, maxFile+1); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Settings{LDIF: file, hashMemory: 64}, nil)
	if err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("Open = %v, want an error about the size", err)
	}
	if err == nil {
		s.Close()
	}
}

// TestFileKeepsItsOwner has root open the file of a service, with passwords in the
// clear, which are replaced.
func TestFileKeepsItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	file := peopleFile(t)
	if err := os.Chown(file, 65534, 65533); err != nil {
		t.Fatal(err)
	}
	before := readAll(t, file)
	open(t, Settings{LDIF: file})
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if of := fi.Sys().(*syscall.Stat_t); of.Uid != 65534 || of.Gid != 65533 || readAll(t, file) == before {
		t.Errorf("belongs to %d:%d, want the owner it had, and another content", of.Uid, of.Gid)
	}
}
