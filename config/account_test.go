package config

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"testing"
)

// TestOwnerAccounts names accounts of this host and numbers as owners of a home.
func TestOwnerAccounts(t *testing.T) {
	const directories = "directories: [{name: a, kind: generic, urls: [ldaps://x], base: dc=x, min_uid: %d}]\nrules: [{name: r, home: {host: /srv, owner: %q}}]\n"
	for _, tt := range []struct {
		min   int
		owner string
		want  string // of the mistake; "": none
	}{
		{1000, "5000:6000", ""},
		{1000, "999:6000", "uid 999 is smaller than min_uid of the directories (1000)"},
		{500, "999:6000", ""},
		{0, "1:6000", ""},
		{1000, "0:6000", "root"},
		{1000, "5000:0", "root"},
		{1000, "root", "root"},
		{1000, "persn", "no account of this host has this name: must be service, person, an account of this host, or UID:GID"},
		{1000, "5000:x", "with two numbers, such as 5000:5000"},
		{1000, "5000", "no account of this host has this name"},
		{1000, "nobody", ""},
	} {
		cfg, err := load(t, fmt.Sprintf(directories, tt.min, tt.owner))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "rules[0].home.owner: ") || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("owner: %s with min_uid %d: %v, want %q", tt.owner, tt.min, err, tt.want)
		}
		if tt.owner != "nobody" || err != nil {
			continue
		}
		got, err := cfg.account(tt.owner)
		nobody, uerr := user.Lookup("nobody")
		if err != nil || uerr != nil || strconv.Itoa(int(got.UID)) != nobody.Uid || strconv.Itoa(int(got.GID)) != nobody.Gid {
			t.Errorf("nobody is %+v, %v; want %+v, %v", got, err, nobody, uerr)
		}
	}
}
