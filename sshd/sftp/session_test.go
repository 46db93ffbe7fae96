package sftp_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/sshd/sftp"
)

var update = flag.Bool("update", false, "record testdata/session-*.bin anew with the real sftp")

// sessions are what OpenSSH's sftp, or scp over SFTP, was asked to do when it was
// recorded, in the tree of aTree, with a local directory LOCAL that has "up",
// "part" and "tree".
var sessions = map[string][]string{
	"look":   {"pwd", "ls -la", "ls -n d", "cd d", "ls -1", "df", "df -h /d", "ls /l*", "ls -lt /f"},
	"get":    {"get f LOCAL/f", "get -p l LOCAL/l", "reget f LOCAL/part", "get -R d LOCAL/d"},
	"put":    {"put LOCAL/up", "put -p LOCAL/up kept", "put -f LOCAL/up synced", "reput LOCAL/up f", "put -R LOCAL/tree"},
	"change": {"mkdir e", "chmod 600 f", "chmod -h 600 f", "ln -s f s", "ln f h", "rename -l h e/h", "rename e/h d/g", "cp f copy", "rm s", "rmdir e"},
	"no":     {"-get no", "-put LOCAL/up no/up", "-rm no", "-rmdir d", "-mkdir d", "-rename no n", "-ln -s x f", "-chmod 600 no", "-cd no", "-df no"},

	// Arguments of scp.
	"scp-get": {"-r", "-p", "server:~/d*", "LOCAL"},
	"scp-put": {"-r", "-p", "LOCAL/tree", "LOCAL/up", "server:~alice/d"},
}

func sessionFile(name string) string { return filepath.Join("testdata", "session-"+name+".bin") }

// record has the real client do what a session is about.
func record(t *testing.T, name string) {
	t.Helper()
	local := here(t, map[string][]byte{"up": random(300), "part": []byte("con"), "tree/a": []byte("a"), "tree/b/c": nil})
	file, err := filepath.Abs(sessionFile(name))
	must(t, err)
	env := []string{serverVar + "=" + aTree(t).dir, recordVar + "=" + file}
	var commands []string
	for _, c := range sessions[name] {
		commands = append(commands, strings.ReplaceAll(c, "LOCAL", local))
	}
	run := func() (string, error) { return openSSH(t, "sftp", env, []string{"-b", "-"}, commands...) }
	if strings.HasPrefix(name, "scp-") {
		run = func() (string, error) { return openSSH(t, "scp", env, commands) }
	}
	if out, err := run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// readSession returns the packets of the client, INIT first.
func readSession(t testing.TB, name string) []byte {
	t.Helper()
	said, err := os.ReadFile(sessionFile(name))
	must(t, err)
	if !bytes.HasPrefix(said, hello) {
		t.Fatalf("%s begins with %q, want INIT of version 3", sessionFile(name), said[:min(9, len(said))])
	}
	return said
}

// requestName is what Requests and Extensions call a packet of the client.
func requestName(t testing.TB, packet []byte) string {
	t.Helper()
	if packet[0] == fxExtended {
		f := fields{t, packet[5:]}
		return f.string()
	}
	types := sftp.Requests()
	for i, kind := range []byte{
		fxOpen, fxClose, fxRead, fxWrite, fxLstat, fxFstat, fxSetstat, fxFsetstat, fxOpendir, fxReaddir, fxRemove, fxMkdir,
		fxRmdir, fxRealpath, fxStat, fxRename, fxReadlink, fxSymlink,
	} {
		if kind == packet[0] {
			return types[i].Name
		}
	}
	t.Fatalf("a request of type %d", packet[0])
	return ""
}

// notOpenSSHs are requests that OpenSSH's clients do not make. Other clients do.
var notOpenSSHs = []string{
	"fstat", "readlink", "fstatvfs@openssh.com", "home-directory",
	"check-file", "check-file-handle", "check-file-name", "extended",
}

// TestRecordedSessions answers the recorded packets of the real client, all at
// once, and checks that the recording has every request that the client knows.
func TestRecordedSessions(t *testing.T) {
	made := map[string]bool{}
	for name := range sessions {
		t.Run(name, func(t *testing.T) {
			if *update {
				record(t, name)
			}
			said := readSession(t, name)
			requests := split(t, said)[1:]
			s := &script{Reader: bytes.NewReader(said)}
			if err := sftp.Serve(s, aTree(t), sftp.Options{User: "alice"}); err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
			answers := split(t, s.Bytes())[1:]
			if len(answers) != len(requests) {
				t.Fatalf("%d answers to %d requests", len(answers), len(requests))
			}
			for i, a := range answers {
				made[requestName(t, requests[i])] = true
				for _, code := range []int{5, 8} {
					if shown := show(t, a); strings.Contains(shown, fmt.Sprintf(" status %d ", code)) {
						t.Errorf("request %d, %s, is answered by %s", i, requestName(t, requests[i]), shown)
					}
				}
			}
		})
	}
	for _, r := range slices.Concat(sftp.Requests(), sftp.Extensions()) {
		if !made[r.Name] && !slices.Contains(notOpenSSHs, r.Name) {
			t.Errorf("the client never made %s; it made %v", r.Name, slices.Sorted(maps.Keys(made)))
		}
	}
}
