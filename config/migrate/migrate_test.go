package migrate

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/config"
	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// configured is base.yaml with what was found.
func configured(t *testing.T, found *Result) *config.Config {
	t.Helper()
	text, err := found.Over(string(read(t, "base.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(write(t, "berth.yaml", text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestGrantsNoMore asks the rules what people get whom the other server gave
// less than a careless import would.
func TestGrantsNoMore(t *testing.T) {
	t.Chdir("testdata")
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
		var found *Result
		var err error
		if tt.file == "sftpgo" {
			found, err = SFTPGo(read(t, "sftpgo.json"), false, false)
		} else {
			source := read(t, "sshd_config")
			// Without the block that no rule can say, for which everybody is refused.
			text, _, _ := strings.Cut(string(source), "Match User *,")
			if head, blocks, _ := strings.Cut(text, "Match "); tt.file == "reversed" {
				first, second, _ := strings.Cut(blocks, "Match ")
				second, _, _ = strings.Cut(second, "Match ")
				text = head + "Match " + second + "Match " + first
			}
			found, err = SSHD{Writable: []string{"upload"}}.Read(write(t, "sshd_config", text))
		}
		if err != nil {
			t.Fatal(err)
		}
		set, err := configured(t, found).Compile()
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

// TestReadOnlyStays: people who could only read because of options of internal-sftp can
// only read with Berth, whatever block sets the options.
func TestReadOnlyStays(t *testing.T) {
	t.Chdir("testdata")
	const (
		global  = "AllowGroups sftp readers\nChrootDirectory /srv/%u\nForceCommand internal-sftp\n"
		folder  = "Match Group sftp\n ChrootDirectory /srv/%u\n"
		forced  = "Match Group sftp\n ChrootDirectory /srv/%u\n ForceCommand internal-sftp\n"
		readers = "Match Group readers\n ForceCommand internal-sftp -R\n"
	)
	full, readOnly := policy.Full.String(), policy.ReadOnly.String()
	for _, tt := range []struct {
		name, text string
		groups     []string
		want       string
	}{
		{"all may write", global, []string{"sftp"}, full},
		{"no reader", global + readers, []string{"sftp"}, full},
		{"a block of its own", global + readers, []string{"readers"}, readOnly},
		{"before that with the folder", readers + folder, []string{"sftp", "readers"}, readOnly},
		{"after that with the folder", folder + readers, []string{"sftp", "readers"}, readOnly},
		{"the first command counts", forced + readers, []string{"sftp", "readers"}, full},
		{"the first command counts, too", readers + forced, []string{"sftp", "readers"}, readOnly},
		{"both have a folder", folder + "Match Group readers\n ChrootDirectory /srv/readers\n ForceCommand internal-sftp -R\n", []string{"sftp", "readers"}, readOnly},
		{"no reader among them", folder + "Match Group readers\n ChrootDirectory /srv/readers\n ForceCommand internal-sftp -R\n", []string{"sftp"}, full},
		{"several options in a word", "Match Group sftp\n ChrootDirectory /srv/%u\n ForceCommand internal-sftp -lINFO -eR\n", []string{"sftp"}, readOnly},
		{"a value that is no option", "Match Group sftp\n ChrootDirectory /srv/%u\n ForceCommand internal-sftp -d -R -l INFO -u0027\n", []string{"sftp"}, full},
	} {
		found, err := SSHD{Writable: []string{"upload"}}.Read(write(t, "sshd_config", tt.text))
		if err != nil {
			t.Fatal(err)
		}
		set, err := configured(t, found).Compile()
		if err != nil {
			t.Fatal(err)
		}
		u := &directory.User{Identity: directory.Identity{Source: "local", ID: "x"}, Name: "x"}
		for _, g := range tt.groups {
			u.Groups = append(u.Groups, directory.Group{DN: directory.DNOf("cn=" + g + ",dc=x"), Name: g})
		}
		p, err := set.Resolve(policy.Request{User: u, Remote: netip.MustParseAddr("192.0.2.1"), Method: "publickey", Time: time.Now()})
		got := ""
		if err == nil {
			got = p.Rights("/upload").Ops.String()
		}
		if got != tt.want {
			t.Errorf("%s: in %v one may %q, want %q (%v)\n%v", tt.name, tt.groups, got, tt.want, err, found.Notes)
		}
	}
}

// TestIncludeInMatch: a block in a file that another block includes is about people who
// meet both lines.
func TestIncludeInMatch(t *testing.T) {
	included := write(t, "included", "Match Address 198.51.100.0/24\n ChrootDirectory /srv/%u\n ForceCommand internal-sftp\n")
	found, err := SSHD{}.Read(write(t, "sshd_config", "Match Group partners\n Include "+included+"\n PasswordAuthentication no\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range found.Rules {
		if r.Home != nil && (!slices.Equal(r.When.Groups, []string{"partners"}) || !slices.Equal(r.When.From, []string{"198.51.100.0/24"})) {
			t.Errorf("a home for %+v", r.When)
		}
	}
	if len(found.Rules) != 2 {
		t.Errorf("rules: %+v", found.Rules)
	}
}

// TestMethods checks that each rule requires the same methods as sshd.
func TestMethods(t *testing.T) {
	t.Chdir("testdata")
	const block = "\nMatch Group a\n ChrootDirectory /a\n ForceCommand internal-sftp\n"
	for text, want := range map[string]string{
		block: "[]",
		"UsePAM yes\nPasswordAuthentication no" + block:                                                                        "[]", // the password still goes by keyboard-interactive
		"PasswordAuthentication no" + block:                                                                                    "[[publickey]]",
		"UsePAM no\nPasswordAuthentication no" + block:                                                                         "[[publickey]]",
		"AuthenticationMethods publickey keyboard-interactive" + block:                                                         "[[publickey]]",
		"ChallengeResponseAuthentication no\nPasswordAuthentication=no" + block:                                                "[[publickey]]",
		"PubkeyAuthentication no" + block:                                                                                      "[[password]]",
		"UsePAM yes\nAuthenticationMethods publickey,password publickey,keyboard-interactive:pam hostbased" + block:            "[[publickey password] [publickey password]]",
		"AuthenticationMethods publickey" + block + " AuthenticationMethods password":                                          "[[password]]",
		"PubkeyAuthentication no" + block + "Match User b\n AuthenticationMethods publickey,password\nMatch all\n Banner none": "",
		block + "Match User b\n PubkeyAuthentication no":                                                                       "[[password]]",
	} {
		found, err := SSHD{}.Read(write(t, "sshd_config", text+"\n"))
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		if want == "" {
			if notes := strings.Join(found.Notes, "\n"); slices.ContainsFunc(found.Rules, func(r policy.Rule) bool { return !r.Deny }) || !strings.Contains(notes, "nobody could log in by the methods it leaves") {
				t.Errorf("%s\n%v\n%s", text, found.Rules, notes)
			}
			continue
		}
		cfg := configured(t, found)
		if got := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(fmt.Sprint(cfg.Rules[0].Require)), "policy.Require"), ",", ""); got != want {
			t.Errorf("%s\nrequires %s, want %s", text, got, want)
		}
	}
}

// TestRevokedKeys: revoked keys stay revoked, with authorities or without.
func TestRevokedKeys(t *testing.T) {
	t.Chdir("testdata")
	for text, want := range map[string]cert.Settings{
		"RevokedKeys /etc/ssh/revoked":                                                                    {Revoked: []string{"/etc/ssh/revoked"}},
		"RevokedKeys /etc/ssh/revoked\nTrustedUserCAKeys /etc/ssh/ca.pub":                                 {CAKeys: []string{"/etc/ssh/ca.pub"}, Revoked: []string{"/etc/ssh/revoked"}},
		"RevokedKeys /etc/ssh/revoked\nTrustedUserCAKeys /etc/ssh/ca.pub\nAuthorizedPrincipalsFile /p/%u": {Revoked: []string{"/etc/ssh/revoked"}},
		"RevokedKeys none\nTrustedUserCAKeys none":                                                        {},
	} {
		found, err := SSHD{}.Read(write(t, "sshd_config", text+"\nMatch Group a\n ChrootDirectory /a\n ForceCommand internal-sftp\n"))
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		got := configured(t, found).Certificates
		if !slices.Equal(got.Revoked, want.Revoked) || !slices.Equal(got.CAKeys, want.CAKeys) {
			t.Errorf("%s\nrevoked %q, authorities %q", text, got.Revoked, got.CAKeys)
		}
	}
}
