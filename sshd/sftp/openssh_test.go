package sftp_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// batch runs OpenSSH's sftp with commands on a server of dir.
func batch(t *testing.T, dir string, commands ...string) (string, error) {
	t.Helper()
	return openSSH(t, "sftp", []string{serverVar + "=" + dir}, []string{"-b", "-"}, commands...)
}

// openSSH runs OpenSSH's sftp or scp, with lines to read, on a server that is
// this test binary with variables. It returns what the client printed, and
// whether it was content.
func openSSH(t *testing.T, program string, env, args []string, lines ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("these tests need OpenSSH's clients (package openssh-client): %v", err)
	}
	self, err := os.Executable()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"-D", self}, args...)...)
	cmd.Env = append(append(os.Environ(), "TZ=UTC"), env...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// here is a directory with files to send: names and contents.
func here(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, contents := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), contents, 0o644))
	}
	return dir
}

// sameFile compares two files of this machine.
func sameFile(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	must(t, err)
	b, err := os.ReadFile(want)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Errorf("%s has %d bytes and is not the %d of %s", got, len(a), len(b), want)
	}
}

func TestOpenSSHTransfers(t *testing.T) {
	dir, local := t.TempDir(), here(t, map[string][]byte{"big": random(5<<20 + 1), "empty": nil, "with space": []byte("x")})
	out, err := batch(t, dir,
		"put "+local+"/big", "put "+local+"/empty", `put "`+local+`/with space"`,
		"get big "+local+"/back", "get empty "+local+"/back-empty", `get "with space" "`+local+`/back space"`,
		"put -p "+local+"/big kept", "get -p kept "+local+"/kept")
	if err != nil {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	for got, want := range map[string]string{"back": "big", "back-empty": "empty", "back space": "with space", "kept": "big"} {
		sameFile(t, filepath.Join(local, got), filepath.Join(local, want))
	}
	sent, err := os.Stat(filepath.Join(local, "big"))
	must(t, err)
	kept, err := os.Stat(filepath.Join(dir, "kept"))
	must(t, err)
	if !kept.ModTime().Equal(sent.ModTime().Truncate(time.Second)) || kept.Mode() != sent.Mode() {
		t.Errorf("put -p made it %v %v, want %v %v", kept.Mode(), kept.ModTime(), sent.Mode(), sent.ModTime())
	}
}

func TestOpenSSHResumes(t *testing.T) {
	whole := random(1 << 20)
	dir, local := t.TempDir(), here(t, map[string][]byte{"up": whole, "down": whole[:300001]})
	must(t, os.WriteFile(filepath.Join(dir, "up"), whole[:200002], 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "down"), whole, 0o600))
	if out, err := batch(t, dir, "reput "+local+"/up", "reget down "+local+"/down"); err != nil {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	sameFile(t, filepath.Join(dir, "up"), filepath.Join(local, "up"))
	sameFile(t, filepath.Join(local, "down"), filepath.Join(dir, "down"))
}

func TestOpenSSHTrees(t *testing.T) {
	files := map[string][]byte{}
	for i := range 300 {
		files[fmt.Sprintf("tree/d%d/e/f%d", i%7, i)] = random(i)
	}
	dir, local := t.TempDir(), here(t, files)
	if out, err := batch(t, dir, "put -R "+local+"/tree", "get -R tree "+local+"/back"); err != nil {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	for name := range files {
		sameFile(t, filepath.Join(dir, name), filepath.Join(local, name))
		sameFile(t, filepath.Join(local, "back", strings.TrimPrefix(name, "tree")), filepath.Join(local, name))
	}
}

func TestOpenSSHCommands(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), random(100000), 0o600))
	out, err := batch(t, dir,
		"pwd", "mkdir d", "cd d", "pwd", "cd ..", "chmod 640 f", "ls -l", "ls -la", "ls -1", "df", "df -h d",
		"ln -s f s", "ln f h", "rename h d/h", "cp f copy", "ls d", "rm d/h", "rmdir d", "ls -n", "chmod -h 600 f")
	if err != nil {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	for _, want := range []string{
		`Remote working directory: /\n`, `Remote working directory: /d\n`, `-rw-r----- .* 100000 .* f\n`, `drwx.* d\n`, `drwx.* \.\n`, `drwx.* \.\.\n`,
		`Avail +\(root\)`, `%Capacity`, `d/h +\n`, `lrwxrwxrwx .* s\n`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("sftp printed\n%s\nwant a match of %s", out, want)
		}
	}
	sameFile(t, filepath.Join(dir, "copy"), filepath.Join(dir, "f"))
	if target, err := os.Readlink(filepath.Join(dir, "s")); err != nil || target != "f" {
		t.Errorf("ln -s f s made a link to %q, %v, want f", target, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "d")); err == nil {
		t.Error("rmdir d left it there")
	}
}

func TestOpenSSHRefusals(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "d/e"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	tests := []struct{ command, want string }{
		{"get no", `not found`},
		{"rm no", `No such file`},
		{"rmdir d", `Failure`},
		{"rmdir f", `No such file|not a directory`},
		{"rm d", `Failure`},
		{"mkdir d", `Failure`},
		{"ln -s x f", `Failure`},
		{"cd no", `No such file`},
		{"ls no", `not found`},
		{"chmod 600 no", `No such file`},
	}
	var commands []string
	for _, tt := range tests {
		commands = append(commands, "-"+tt.command) // and go on when it is refused
	}
	out, err := batch(t, dir, commands...)
	if err != nil {
		t.Fatalf("sftp: %v\n%s", err, out)
	}
	said := strings.Split(out, "sftp> -")[1:]
	for i, tt := range tests {
		if i >= len(said) || !regexp.MustCompile(tt.want).MatchString(said[i]) {
			t.Errorf("sftp printed\n%s\nwant a match of %s to %s", out, tt.want, tt.command)
		}
	}
	if strings.Contains(out, dir) {
		t.Errorf("a refusal names the host path:\n%s", out)
	}
}

func TestOpenSSHListsManyFiles(t *testing.T) {
	dir := t.TempDir()
	const n = 3000
	for i := range n {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%04d", i)), nil, 0o600))
	}
	out, err := batch(t, dir, "ls -1", "ls -l", "ls -l file-*")
	if err != nil {
		t.Fatalf("sftp: %v", err)
	}
	for i, listed := range strings.Split(out, "sftp> ")[1:] {
		_, listed, _ = strings.Cut(listed, "\n") // the command
		if got := strings.Count(listed, "file-"); got != n {
			t.Errorf("listing %d has %d files, want %d", i, got, n)
		}
	}
}
