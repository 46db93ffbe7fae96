package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// berthUser is in the directory that Berth is started with.
const berthUser = "bench"

// startBerth builds Berth and starts it as an administrator would: one person
// in a directory, one rule, events in a file. All else is as it comes.
func (b *bench) startBerth(ctx context.Context) (*target, error) {
	dir := filepath.Join(b.dir, "berth")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "berth")
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the Makefile: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "make", "-s", "-C", strings.TrimSpace(string(root)), "build", "OUT="+program).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make build: %w: %s", err, out)
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(b.key + ".pub")
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("ADDR", addr, "DIR", dir, "HOME", b.home, "USER", berthUser, "KEY", strings.TrimSpace(string(public)))
	for name, text := range map[string]string{"berth.yaml": berthConfig, "people.ldif": berthPeople} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o600); err != nil {
			return nil, err
		}
	}
	p, err := b.launch(filepath.Join(dir, "log"), program, "serve", "--config", filepath.Join(dir, "berth.yaml"))
	if err != nil {
		return nil, err
	}
	t := &target{name: "Berth", addr: addr, user: berthUser, scpUser: berthUser, key: b.key, root: "/", process: p, idle: 2}
	return t, ready(ctx, addr, p)
}

const berthConfig = `listen: [ADDR]
host_keys: [DIR/ssh_host_ed25519_key]
directories:
  - {name: bench, kind: embedded, ldif: DIR/people.ldif}
rules:
  - name: bench
    when: {users: [USER]}
    home: {host: HOME, permissions: [full]}
    services: [sftp, scp]
admin: {listen: ""}
events: {file: DIR/events.jsonl}
log: {level: warn}
`

const berthPeople = `version: 1

dn: dc=bench,dc=example
objectClass: dcObject
objectClass: organization
dc: bench
o: Bench

dn: uid=USER,dc=bench,dc=example
objectClass: inetOrgPerson
objectClass: ldapPublicKey
uid: USER
cn: Bench
sn: Bench
sshPublicKey: KEY
`
