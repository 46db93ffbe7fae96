package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
	"berth/sshd/event/audit"
)

func TestEventsVerify(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public := put("host.pub", string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	record := func(name string, sign bool) (path, text string) {
		s := audit.DefaultSettings()
		s.File = filepath.Join(dir, name)
		f, err := audit.Open(s, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		if sign {
			f.Sign(key)
		}
		f.Emit(event.Event{Type: event.Removed, Path: "/secret plans"})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		all, err := os.ReadFile(s.File)
		if err != nil {
			t.Fatal(err)
		}
		return s.File, string(all)
	}
	good, text := record("good.jsonl", true)
	unsigned, _ := record("unsigned.jsonl", false)
	changed := put("changed.jsonl", strings.Replace(text, "secret", "boring", 1))
	plain := put("plain.jsonl", `{"type":"removed"}`+"\n")
	other := "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	tests := []struct {
		args []string
		code int // of the process
		want string
	}{
		{[]string{good, "--key", public}, 0, "intact: 3 lines in 1 file, from 2"},
		{[]string{good, "--key", ssh.FingerprintSHA256(key.PublicKey())}, 0, "by SHA256:"},
		{[]string{good}, 0, "note: compare the key with the server's"},
		{[]string{good, "--key", other}, 1, "good.jsonl:1: the checkpoint is signed with " + ssh.FingerprintSHA256(key.PublicKey())},
		{[]string{changed, "--key", public}, 1, "changed.jsonl:2: it does not follow on the line before"},
		{[]string{changed, "--key", public}, 1, "BROKEN in 1 place; 3 lines"},
		{[]string{unsigned}, 1, "NOT PROVED, because no checkpoint has a signature; 2 lines"},
		{[]string{plain}, 2, "no line has a chain"},
		{[]string{filepath.Join(dir, "none.jsonl")}, 2, "no such file"},
		{[]string{good, "--key", filepath.Join(dir, "none.pub")}, 2, "none.pub: no such file"},
		{[]string{good, "--key", plain}, 2, "plain.jsonl: "},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs(append([]string{"events", "verify"}, tt.args...))
		cmd.SetOut(&out)
		err := cmd.Execute()
		if err != nil && !errors.Is(err, errReported) {
			out.WriteString(err.Error())
		}
		if got := codeOf(err); got != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: code %d, want %d; got %s, want %q in it", tt.args, got, tt.code, &out, tt.want)
		}
	}
}

// TestSearchOfEveryFile: a shell pattern names the file in use and the full ones. Each event
// is printed once, and a full file that was removed in between is noticed.
func TestSearchOfEveryFile(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	s := audit.DefaultSettings()
	s.File, s.MaxSize, s.Compress = "events.jsonl", 3000, false
	f, err := audit.Open(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	f.Sign(key)
	const events = 50
	for range events {
		f.Emit(event.Event{Type: event.Removed, Path: "/x"})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	search := func(files ...string) (found, code int, problems string) {
		var out, problem bytes.Buffer
		cmd := root()
		cmd.SetArgs(append([]string{"events", "search", "--type", "removed", "--json"}, files...))
		cmd.SetOut(&out)
		cmd.SetErr(&problem)
		code = codeOf(cmd.Execute())
		return strings.Count(out.String(), "\n"), code, problem.String()
	}
	all, err := filepath.Glob("events*.jsonl")
	if err != nil || len(all) < 4 {
		t.Fatalf("files: %q, %v", all, err)
	}
	var dotted []string
	for _, file := range all {
		dotted = append(dotted, "./"+file)
	}
	verify := func(files ...string) (code int, printed string) {
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs(append([]string{"events", "verify"}, files...))
		cmd.SetOut(&out)
		return codeOf(cmd.Execute()), out.String()
	}
	full, err := os.ReadFile(all[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{all[1] + ".gz.part", s.File + ".running", s.File + ".webhook", s.File + ".webhook.refused", s.File + ".syslog"} {
		if err := os.WriteFile(name, full[:len(full)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	every, err := filepath.Glob("events*")
	if err != nil || len(every) != len(all)+5 {
		t.Fatalf("files: %q, %v", every, err)
	}
	if code, printed := verify(every...); code != 0 {
		t.Errorf("verify %q: code %d\n%s", every, code, printed)
	}
	for _, files := range [][]string{all, every, dotted, append(dotted, all...), {s.File, s.File}} {
		if found, code, problems := search(files...); found != events || code != 0 || strings.Contains(problems, "signature") {
			t.Errorf("%q: %d events, code %d, want %d and 0:\n%s", files, found, code, events, problems)
		}
	}
	if err := os.Remove(all[1]); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][]string{{s.File}, append(all[:1:1], all[2:]...)} {
		if _, code, problems := search(files...); code != 1 || !strings.Contains(problems, "lines are missing before it") {
			t.Errorf("%q, and a file is missing: code %d, want 1:\n%s", files, code, problems)
		}
		if code, printed := verify(files...); code != 1 {
			t.Errorf("verify %q, and a file is missing: code %d, want 1:\n%s", files, code, printed)
		}
	}
}

// TestEventsInNoFile: a standard stream keeps no events, whatever it is called.
func TestEventsInNoFile(t *testing.T) {
	here, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	for _, stream := range []string{"", "-", "stdout", "stderr"} {
		d := demo{Dir: filepath.Join(t.TempDir(), "demo"), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}
		if err := d.prepare(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(d.Dir, "berth.yaml")
		replace(t, file, `file: "`+d.Dir+`/events.jsonl"`, `file: "`+stream+`"`)
		if out, code := called(t, "events", "search", "--config="+file); code != 2 || !strings.Contains(out, "events are not kept in a file") {
			t.Errorf("%q: search exits with %d: %s", stream, code, out)
		}
		cfg, err := loadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		set, err := cfg.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if may := needs(cfg, set)[here]; may != 0 {
			t.Errorf("%q: the working folder may be reached: %v", stream, may)
		}
	}
}
