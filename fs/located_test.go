package fs

import (
	"errors"
	"os"
	"testing"

	"berth/policy"
)

// TestHostPath checks where names are on this machine: in folders, by links on the
// way and at the end, open, missing and in no folder.
func TestHostPath(t *testing.T) {
	home, team := t.TempDir(), t.TempDir()
	err := errors.Join(os.Mkdir(home+"/d", 0o755), os.WriteFile(home+"/d/f", nil, 0o644),
		os.Symlink("d", home+"/way"), os.Symlink("/d/f", home+"/file"), os.Symlink("/team/x", home+"/other"))
	if err != nil {
		t.Fatal(err)
	}
	p := full(home)
	p.Folders = append(p.Folders, policy.Folder{Path: "/team", Host: team})
	f := mustOpen(t, p, Settings{})
	for _, c := range []struct {
		name string
		last bool
		want string
	}{
		{"/", true, home},
		{"/d/f", false, home + "/d/f"},
		{"/way/f", false, home + "/d/f"},
		{"/way/f", true, home + "/d/f"},
		{"/way/new", false, home + "/d/new"},
		{"/file", false, home + "/file"},
		{"/file", true, home + "/d/f"},
		{"/way/", false, home + "/d"},
		{"/team", true, team},
		{"/team/a/b", false, team + "/a/b"},
		{"/none/x", false, home + "/none/x"},
		{"relative", false, ""},
	} {
		if got := f.(*View).HostPath(c.name, c.last); got != c.want {
			t.Errorf("HostPath(%q, %v) = %q, want %q", c.name, c.last, got, c.want)
		}
	}
	for name, want := range map[string]string{"/way/f": home + "/d/f", "/file": home + "/d/f", "/team/new": team + "/new"} {
		file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.(LocatedFile).HostPath(); got != want {
			t.Errorf("the file that was opened as %q is %q, want %q", name, got, want)
		}
		_ = file.Close()
	}
}
