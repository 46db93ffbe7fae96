package main

import (
	"errors"
	"flag"
	"fmt"
	iofs "io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/config"
	"berth/directory"
	"berth/policy"
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

// TestImport compares what comes of an sshd_config and of a backup of SFTPGo, and what
// is said about the rest.
func TestImport(t *testing.T) {
	t.Chdir("testdata/import")
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

// TestImportGrantsNoMore asks the rules what people get whom the other server gave
// less than a careless import would.
func TestImportGrantsNoMore(t *testing.T) {
	t.Chdir("testdata/import")
	const (
		staff, partner = "sftp-staff", "sftp-partners"
		near, far      = "198.51.100.9", "203.0.113.7"
	)
	full, readOnly := policy.Full.String(), policy.ReadOnly.String()
	for _, tt := range []struct {
		file, user string
		groups     []string
		from       string
		path, want string // the rights there; "": no login
		host       string // of the home
	}{
		// In sshd_config the first block decides, and here a read-only one stays so.
		{"upload", "x", []string{partner}, near, "/upload", full, "/srv/partners/x"},
		{"upload", "x", []string{partner}, near, "/", readOnly, "/srv/partners/x"},
		{"upload", "x", []string{partner}, far, "/", "", ""},
		{"upload", "x", []string{staff}, far, "/upload", readOnly, "/srv/staff"},
		{"reversed", "x", []string{staff, partner}, near, "/upload", readOnly, "/srv/staff"},
		{"upload", "x", []string{"auditors"}, near, "/", "", ""}, // not in AllowGroups
		{"upload", "mallory", []string{staff}, near, "/", "", ""},
		{"upload", "eve", []string{staff}, far, "/", "", ""},
		{"upload", "eve", []string{staff}, near, "/", readOnly, "/srv/staff"},
		{"upload", "x", []string{staff, "leavers"}, near, "/", "", ""},
		{"upload", "ops", []string{staff}, near, "/", "", ""},
		{"upload", "x", nil, near, "/", "", ""},

		{"sftpgo", "alice", nil, near, "/", full, "/srv/sftpgo/data/alice"},
		{"sftpgo", "alice", nil, near, "/archive/a", readOnly, "/srv/sftpgo/data/alice"},
		{"sftpgo", "alice", nil, near, "/private/a", "nothing", "/srv/sftpgo/data/alice"},
		{"sftpgo", "alice", nil, near, "/cloud/a", "nothing", "/srv/sftpgo/data/alice"},
		{"sftpgo", "alice", nil, far, "/", "", ""},
		{"sftpgo", "bob", nil, near, "/", "", ""},
		{"sftpgo", "erin", nil, near, "/", "list, create", "/srv/sftpgo/data/erin"},
		{"sftpgo", "dave", nil, near, "/", "", ""},
		{"sftpgo", "karl", nil, near, "/", "", ""},
		{"sftpgo", "everybody", []string{"first"}, near, "/", "", ""}, // the rules of the base are gone
	} {
		args := []string{"sftpgo", "sftpgo.json"}
		if tt.file != "sftpgo" {
			source, err := os.ReadFile("sshd_config")
			if err != nil {
				t.Fatal(err)
			}
			// Without the block that no rule can say, for which everybody is refused.
			text, _, _ := strings.Cut(string(source), "Match User *,")
			if head, blocks, _ := strings.Cut(text, "Match "); tt.file == "reversed" {
				first, second, _ := strings.Cut(blocks, "Match ")
				second, _, _ = strings.Cut(second, "Match ")
				text = head + "Match " + second + "Match " + first
			}
			file := filepath.Join(t.TempDir(), "sshd_config")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args = []string{"sshd", file, "--writable", "upload"}
		}
		out := filepath.Join(t.TempDir(), "berth.yaml")
		if _, notes, err := imports(t, append(args, "--config", "base.yaml", "--out", out)...); err != nil {
			t.Fatalf("%v\n%s", err, notes)
		}
		cfg, err := config.Load(out)
		if err != nil {
			t.Fatal(err)
		}
		set, err := cfg.Compile()
		if err != nil {
			t.Fatal(err)
		}
		u := &directory.User{Identity: directory.Identity{Source: "local", ID: tt.user}, Name: tt.user}
		for _, g := range tt.groups {
			u.Groups = append(u.Groups, directory.Group{DN: directory.DNOf("cn=" + g + ",dc=x"), Name: g})
		}
		p, err := set.Resolve(policy.Request{User: u, Remote: netip.MustParseAddr(tt.from), Method: "publickey", Time: time.Now()})
		got, host := "", ""
		if err == nil {
			got, host = p.Rights(tt.path).Ops.String(), p.Folders[0].Host
		}
		if got != tt.want || host != tt.host {
			t.Errorf("%s: %s in %v from %s gets %q at %s, home %q; want %q, %q (%v)", tt.file, tt.user, tt.groups, tt.from, got, tt.path, host, tt.want, tt.host, err)
		}
	}
}

// TestImportOfMethods wants each rule to require what sshd required.
func TestImportOfMethods(t *testing.T) {
	t.Chdir("testdata/import")
	const block = "\nMatch Group a\n ChrootDirectory /a\n ForceCommand internal-sftp\n"
	for text, want := range map[string]string{
		block:                               "[]",
		"PasswordAuthentication no" + block: "[]", // the password still goes by keyboard-interactive
		"ChallengeResponseAuthentication no\nPasswordAuthentication=no" + block:                                                "[[publickey]]",
		"PubkeyAuthentication no" + block:                                                                                      "[[password]]",
		"AuthenticationMethods publickey,password publickey,keyboard-interactive:pam hostbased" + block:                        "[[publickey password] [publickey password]]",
		"AuthenticationMethods publickey" + block + " AuthenticationMethods password":                                          "[[password]]",
		"PubkeyAuthentication no" + block + "Match User b\n AuthenticationMethods publickey,password\nMatch all\n Banner none": "",
		block + "Match User b\n PubkeyAuthentication no":                                                                       "[[password]]",
	} {
		file := filepath.Join(t.TempDir(), "sshd_config")
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "berth.yaml")
		_, notes, err := imports(t, "sshd", file, "--config", "base.yaml", "--out", out)
		if want == "" {
			if err == nil || !strings.Contains(notes, "nobody could log in by the methods it leaves") {
				t.Errorf("%s\n%v\n%s", text, err, notes)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s\n%v\n%s", text, err, notes)
		}
		cfg, err := config.Load(out)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(fmt.Sprint(cfg.Rules[0].Require)), "policy.Require"), ",", ""); got != want {
			t.Errorf("%s\nrequires %s, want %s", text, got, want)
		}
	}
}

// TestImportMistakes wants nothing to be written, and the reason to be said.
func TestImportMistakes(t *testing.T) {
	t.Chdir("testdata/import")
	dir := t.TempDir()
	two := "directories:\n  - {name: a, kind: embedded, ldif: x}\n  - {name: b, kind: embedded, ldif: y}\nrules: [{name: c}]\n"
	for _, tt := range []struct{ kind, text, base, want string }{
		{"sshd", "Port", "", `f:1: Port: has no value`},
		{"sshd", "Banner \"x", "", "f:1: a quote has no end"},
		{"sshd", "Include f", "", "Include is nested too deeply"},
		{"sshd", "DenyUsers !root *", "", `f:1: DenyUsers "!root": no rule can say that`},
		{"sshd", "ChrootDirectory /srv\nForceCommand internal-sftp", "", "no rule came out that lets anybody in"},
		{"sshd", "AllowUsers !x *\nMatch Group a\nChrootDirectory /a", "", "no rule came out"},
		{"sshd", "Match Group a\nChrootDirectory none", "", "no rule came out"},
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
