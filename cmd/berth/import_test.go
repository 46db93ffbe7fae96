package main

import (
	"errors"
	"flag"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// imports runs berth import in a folder with the configuration of testdata.
func imports(t *testing.T, args ...string) (out, notes string, err error) {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := root()
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(append([]string{"import"}, args...))
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// TestImport compares the results of an sshd_config and of a backup of SFTPGo, and the
// notes about what could not be carried over.
func TestImport(t *testing.T) {
	t.Chdir("../../config/migrate/testdata")
	for name, args := range map[string][]string{
		"sshd":   {"sshd", "sshd_config", "--config", "base.yaml", "--writable", "upload"},
		"sftpgo": {"sftpgo", "sftpgo.json", "--config", "base.yaml"},
	} {
		out, notes, err := imports(t, args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, notes)
		}
		for file, got := range map[string]string{name + ".want.yaml": out, name + ".want.txt": notes} {
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || got != string(want) {
				t.Errorf("%s: %v, got:\n%s\nwant:\n%s", file, err, got, want)
			}
		}
	}
}

// TestImportMistakes checks that nothing is written, and that the error has
// the reason.
func TestImportMistakes(t *testing.T) {
	t.Chdir("../../config/migrate/testdata")
	dir := t.TempDir()
	two := "directories:\n  - {name: a, kind: embedded, ldif: x}\n  - {name: b, kind: embedded, ldif: y}\nrules: [{name: c}]\n"
	for _, tt := range []struct{ kind, text, base, want string }{
		{"sshd", "Port", "", `f:1: Port: has no value`},
		{"sshd", "Banner \"x", "", "f:1: a quote has no end"},
		{"sshd", "Include f", "", "Include is nested too deeply"},
		{"sshd", "DenyUsers !root *", "", `f:1: DenyUsers "!root": a rule cannot express this`},
		{"sshd", "ChrootDirectory /srv\nForceCommand internal-sftp", "", "no rule of the result allows a login"},
		{"sshd", "AllowUsers !x *\nMatch Group a\nChrootDirectory /a", "", "no rule of the result"},
		{"sshd", "Match Group a\nChrootDirectory none", "", "no rule of the result"},
		{"sshd", "Match Group a\nChrootDirectory a/b", "", "does not load"},
		{"sftpgo", "{", "", "is not a backup of SFTPGo"},
		{"sftpgo", "{}", "", "is not a backup of SFTPGo with users in it"},
		{"sftpgo", "{}", two, "has several directories"},
		{"sftpgo", "{}", "rules: []", "directories: missing"},
	} {
		file, base, out := filepath.Join(dir, "f"), "base.yaml", filepath.Join(dir, "out.yaml")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if tt.base != "" {
			base = filepath.Join(dir, "base.yaml")
			if err := os.WriteFile(base, []byte(tt.base), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, notes, err := imports(t, tt.kind, file, "--config", base, "--out", out)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q\n%s", tt.text, err, tt.want, notes)
		}
		if _, err := os.Stat(out); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%s: a file is written", tt.text)
		}
	}
	if _, _, err := imports(t, "sftpgo", "sftpgo.json", "--config", "base.yaml", "--out", "base.yaml"); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("import over a file: %v, want that it exists", err)
	}
	if left, _ := filepath.Glob(".berth-import-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
