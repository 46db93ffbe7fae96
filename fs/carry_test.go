package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/policy"
)

// TestPlacesStay checks that paths of the policy, and the directories that lead
// to them, cannot be moved, even with every right there. In another place, other
// rules would apply to what is in them.
func TestPlacesStay(t *testing.T) {
	host := sample(t)
	if err := os.MkdirAll(host+"/way/in", 0o755); err != nil {
		t.Fatal(err)
	}
	p := full(host)
	exe := policy.Names{Deny: []string{"*.exe"}}
	for _, name := range []string{"/d", "/e", "/way/in", "/none"} {
		p.Access = append(p.Access, policy.Access{Path: name, Ops: policy.Full, Names: exe})
	}
	f := mustOpen(t, p, Settings{})
	for what, err := range map[string]error{
		"rename":          f.Rename("/d", "/elsewhere", false),
		"rename the way":  f.Rename("/way", "/elsewhere", false),
		"rename over":     f.Rename("/e", "/d", true),
		"rename to":       f.Rename("/f", "/none", false),
		"rmdir":           f.Rmdir("/e"),
		"rmdir the way":   f.Rmdir("/way"),
		"rename a folder": f.Rename("/", "/elsewhere", false),
	} {
		if !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("%s = %v, want ErrPermission", what, err)
		}
	}
}

// TestRenameBetweenRights checks what it takes to move a file to a place with
// other rights.
func TestRenameBetweenRights(t *testing.T) {
	tests := []struct {
		from, to policy.Op
		want     bool
	}{
		{policy.Full, policy.Full, true},
		{policy.Full, policy.Create, true},
		{policy.Rename | policy.Delete, policy.Create, true},
		{policy.Rename | policy.Delete, policy.Create | policy.Read, false}, // would become readable
		{policy.Rename | policy.Delete | policy.Read, policy.Create | policy.Read, true},
		{policy.Full &^ policy.Delete, policy.Full, false},
		{policy.Full &^ policy.Rename, policy.Full, false},
		{policy.Full, policy.Full &^ policy.Create, false},
		{policy.ReadOnly, policy.Full, false},
	}
	for _, tt := range tests {
		host := sample(t)
		p := full(host)
		p.Access = append(p.Access, policy.Access{Path: "/d", Ops: tt.from}, policy.Access{Path: "/e", Ops: tt.to})
		f := mustOpen(t, p, Settings{})
		if err := f.Rename("/d/g", "/e/g", false); (err == nil) != tt.want {
			t.Errorf("rename from %q to %q = %v, want allowed: %t", tt.from, tt.to, err, tt.want)
		}
	}
}

// TestRenameCarries checks what may lie below a directory that moves to a place
// with other rights.
func TestRenameCarries(t *testing.T) {
	exe := policy.Names{Deny: []string{"*.exe"}}
	tests := map[string]struct {
		from, to policy.Access
		below    string // of the directory
		want     bool
	}{
		"anything":              {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full}, "f l sub", true},
		"no mkdir":              {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full &^ policy.Mkdir}, "", false},
		"no rmdir":              {policy.Access{Ops: policy.Full &^ policy.Rmdir}, policy.Access{Ops: policy.Full}, "", false},
		"no create":             {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full &^ policy.Create}, "f", false},
		"no create, no file":    {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full &^ policy.Create}, "l sub", true},
		"no delete":             {policy.Access{Ops: policy.Full &^ policy.Delete}, policy.Access{Ops: policy.Full}, "f", false},
		"no delete, no file":    {policy.Access{Ops: policy.Full &^ policy.Delete}, policy.Access{Ops: policy.Full}, "sub", true},
		"no symlink":            {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full &^ policy.Symlink}, "f l", false},
		"no symlink, no link":   {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full &^ policy.Symlink}, "f sub", true},
		"not readable before":   {policy.Access{Ops: policy.Full &^ policy.Read}, policy.Access{Ops: policy.Full}, "f", false},
		"refused there":         {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full, Names: exe}, "x.exe", false},
		"refused below there":   {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full, Names: exe}, "sub/x.exe", false},
		"refused, but not here": {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full, Names: exe}, "f l sub", true},
		"refused in both":       {policy.Access{Ops: policy.Full, Names: exe}, policy.Access{Ops: policy.Full, Names: exe}, "x.exe", false},
		"hidden":                {policy.Access{Ops: policy.Full, Names: exe, Hide: true}, policy.Access{Ops: policy.Full}, "x.exe", false},
		"perhaps hidden":        {policy.Access{Ops: policy.Full, Names: exe, Hide: true}, policy.Access{Ops: policy.Full}, "", false},
		"an upload of others":   {policy.Access{Ops: policy.Full}, policy.Access{Ops: policy.Full, Names: exe}, tempPrefix + "x", true},
	}
	for what, tt := range tests {
		host := sample(t)
		if err := os.Mkdir(host+"/d/dir", 0o755); err != nil {
			t.Fatal(err)
		}
		for base := range strings.FieldsSeq(tt.below) {
			at := host + "/d/dir/" + base
			err := os.MkdirAll(filepath.Dir(at), 0o755)
			switch base {
			case "sub":
				err = errors.Join(err, os.Mkdir(at, 0o755))
			case "l":
				err = errors.Join(err, os.Symlink("f", at))
			default:
				err = errors.Join(err, os.WriteFile(at, nil, 0o644))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		tt.from.Path, tt.to.Path = "/d", "/e"
		p := full(host)
		p.Access = append(p.Access, tt.from, tt.to)
		f := mustOpen(t, p, Settings{})
		if err := f.Rename("/d/dir", "/e/dir", false); (err == nil) != tt.want || err != nil && !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("%s: rename = %v, want allowed: %t", what, err, tt.want)
		}
	}
}
