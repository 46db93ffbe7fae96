package scp

import (
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The server of OpenSSH answers the same client in the same way.
func TestGoldenAgainstOpenSSH(t *testing.T) {
	scp, err := exec.LookPath("scp")
	if err != nil {
		t.Fatalf("OpenSSH's scp is needed: %v", err)
	}
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			tr, err := readTranscript(filepath.Join("testdata", tt.name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			goldenTree(t, dir)
			cmd := exec.CommandContext(t.Context(), "bash", "-c", scp+strings.TrimPrefix(tr.command, "scp"))
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(tr.client)
			out, _ := cmd.Output()
			// OpenSSH ends with a warning where we say that this is the end.
			if ours := strings.ReplaceAll(tr.server, "\x02", "\x01"); string(out) != ours {
				t.Errorf("%s: OpenSSH says %q, we say %q", tr.command, out, ours)
			}
		})
	}
}

// TestDotsAgainstOpenSSH has both servers find names with "..": what comes before it
// must exist, and may be a link.
func TestDotsAgainstOpenSSH(t *testing.T) {
	scp, err := exec.LookPath("scp")
	if err != nil {
		t.Fatalf("OpenSSH's scp is needed: %v", err)
	}
	tree := func() string {
		dir := t.TempDir()
		for _, err := range []error{
			os.MkdirAll(filepath.Join(dir, "d/e"), 0o755), os.Symlink("d/e", filepath.Join(dir, "le")),
			os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o644), os.WriteFile(filepath.Join(dir, "d/g"), []byte("g"), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, words := range []string{
		"-f nope/../f", "-f d/../f", "-f le/../f", "-f le/../g", "-f f/../f", "-f d/e/../../f", "-f nope/../*", "-f le/../g*", "-f d/*/../g", "-f l?/../g", "-f nope/.. f",
		"-t nope/../new", "-t le/../new", "-t d/../new", "-t f/../new", "-t le/..", "-r -t nope/..", "-t le/../e", "-r -t nope/.", "-t nope/.", "-t nope/./", "-r -t f/.", "-t f/.", "-t d/.", "-r -t nope/",
	} {
		says := "\x00\x00\x00"
		if strings.Contains(words, "-t") {
			says = "C0644 1 a\na\x00"
		}
		if strings.Contains(words, "-r") {
			says = "D0755 0 new\n" + says + "E\n"
		}
		theirs, ours := tree(), tree()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", scp+" "+words)
		cmd.Dir, cmd.Stdin = theirs, strings.NewReader(says)
		want, wantErr := cmd.Output()
		got, gotErr := serve(t, open(t, ours), "scp "+words, says)
		if says[0] == 0 && got != string(want) || (gotErr == nil) != (wantErr == nil) {
			t.Errorf("scp %s: OpenSSH says %q, %v, we say %q, %v", words, want, wantErr, got, gotErr)
		}
		if got, want := names(t, ours), names(t, theirs); got != want {
			t.Errorf("scp %s: our tree is %s, want %s", words, got, want)
		}
	}
}

// names lists what is below a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(name string, _ iofs.DirEntry, err error) error {
		all = append(all, strings.TrimPrefix(name, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}
