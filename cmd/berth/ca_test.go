package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestNoAuthorities: an empty table would leave open whether the file was read.
func TestNoAuthorities(t *testing.T) {
	file := filepath.Join(t.TempDir(), "berth.yaml")
	putFile(t, file, `directories: [{name: corp, kind: embedded, ldif: people.ldif}]
rules: [{name: all, home: {host: "/srv/%u"}}]
`)
	out, err := call("ca", "show", "--config", file)
	if err != nil || !strings.Contains(out, "certificates.ca_keys") || strings.Contains(out, "FILE") {
		t.Errorf("%v, %s", err, out)
	}
}
