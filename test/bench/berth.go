package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// berthUser is in the directory that Berth is started with.
const berthUser = "bench"

// ownerUID is the person whose files are served with the option owner: nobody, who has
// an account for OpenSSH. serverUID is the user of the server that acts as the person.
const (
	ownerUID  = 65534
	serverUID = 990
)

// startBerths starts Berth, and the other Berth that it is measured beside, if any.
func (b *bench) startBerths(ctx context.Context) (err error) {
	if b.owner {
		return b.startOwners(ctx)
	}
	if b.old != "" {
		old, err := b.startBerth(ctx, "old", b.old, "")
		if err != nil {
			return err
		}
		b.others = append(b.others, old)
	}
	program, err := b.build(ctx)
	if err != nil {
		return err
	}
	b.berth, err = b.startBerth(ctx, "Berth", program, "")
	return err
}

// startOwners starts Berth with files of a person and, as that person, Berth with files
// of its own.
func (b *bench) startOwners(ctx context.Context) (err error) {
	program, err := b.build(ctx)
	if err != nil {
		return err
	}
	service, err := b.startBerth(ctx, "service", program, "", asUser(ownerUID)...)
	if err != nil {
		return err
	}
	b.others = append(b.others, service)
	const caps = "-all,+setuid,+setgid,+chown"
	as := append(asUser(serverUID), "--inh-caps", caps, "--ambient-caps", caps, "--bounding-set", caps)
	if b.berth, err = b.startBerth(ctx, "Berth", program, ", owner: person", as...); err != nil {
		return err
	}
	return chownAll(b.home, ownerUID)
}

func asUser(uid int) []string {
	id := strconv.Itoa(uid)
	return []string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups"}
}

func chownAll(dir string, uid int) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, uid, uid))
	})
}

// build builds Berth as the Makefile does, and returns the program.
func (b *bench) build(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the Makefile: %w", err)
	}
	program := filepath.Join(b.dir, "berth")
	if out, err := exec.CommandContext(ctx, "make", "-s", "-C", strings.TrimSpace(string(root)), "build", "OUT="+program).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w: %s", err, out)
	}
	return program, nil
}

// startBerth starts program, a Berth, as an administrator would: one person
// in a directory, one rule, events in a file. All else is as it comes. The command as,
// if any, starts it.
func (b *bench) startBerth(ctx context.Context, name, program, owner string, as ...string) (*target, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(b.key + ".pub")
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("ADDR", addr, "DIR", dir, "OWNER", owner, "UID", strconv.Itoa(ownerUID), "HOME", b.home, "USER", berthUser, "KEY", strings.TrimSpace(string(public)))
	for name, text := range map[string]string{"berth.yaml": berthConfig, "people.ldif": berthPeople} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(text)), 0o600); err != nil {
			return nil, err
		}
	}
	if len(as) > 0 {
		uid, _ := strconv.Atoi(as[2])
		as[0], err = exec.LookPath(as[0])
		if err := errors.Join(err, chownAll(dir, uid)); err != nil {
			return nil, err
		}
	}
	p, err := b.launch(filepath.Join(dir, "log"), append(as, program, "serve", "--config", filepath.Join(dir, "berth.yaml"))...)
	if err != nil {
		return nil, err
	}
	t := &target{name: name, addr: addr, user: berthUser, scpUser: berthUser, key: b.key, root: "/", process: p, idle: 2}
	return t, ready(ctx, addr, p)
}

const berthConfig = `listen: [ADDR]
host_keys: [DIR/ssh_host_ed25519_key]
directories:
  - {name: bench, kind: embedded, ldif: DIR/people.ldif}
rules:
  - name: bench
    when: {users: [USER]}
    home: {host: HOME, permissions: [full]OWNER}
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
objectClass: posixAccount
uid: USER
uidNumber: UID
gidNumber: UID
homeDirectory: /
cn: Bench
sn: Bench
sshPublicKey: KEY
`
