package sshd

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"berth/sshd/scp"
)

// A service is something a session can run.
type service struct {
	name   string   // in rules and events, and the command that starts it
	words  []string // other commands that start it
	help   string   // one line for people; empty for what programs start
	takes  bool     // words after the command
	always bool     // also for somebody who must change the password first
	run    func(ctx context.Context, s *session, command string) (uint32, error)
}

// services returns all services. There is no shell and no other command.
func services() []service {
	return []service{
		{name: "sftp", words: []string{"sftp-server", "internal-sftp"}, run: serveSFTP},
		{name: "scp", run: serveSCP},
		{name: "passwd", words: []string{"change-password"}, always: true, run: servePasswd, help: "change your directory password"},
		{name: "whoami", always: true, run: serveWhoami, help: "show who you are here, your folders and your rights"},
		{name: "quota", run: serveQuota, help: "show the room you have, and what is used of it"},
		{name: "keys", takes: true, run: serveKeys, help: "list your SSH keys; add one: keys add < FILE.pub; remove one: keys remove FINGERPRINT"},
		{name: "certify", run: serveCertify, help: "get a certificate for your key: certify < id.pub > id-cert.pub"},
		{name: "help", always: true, run: serveHelp, help: "show this list"},
	}
}

// A message is an error in a sentence for the user.
type message string

func (m message) Error() string { return string(m) }

// noService returns the message about a command that is not a service.
func noService(command string) error {
	word, _, _ := strings.Cut(command, " ")
	switch path.Base(word) {
	case ".": // without a command, as WinSCP sends it
		return message(scp.NoShell)
	case "rsync":
		return message(scp.NoRsync)
	}
	return message("This server moves files: use sftp or scp, or run 'help' for the list of commands.")
}

// find returns the service for a channel request, or nil.
func find(request, command string) *service {
	word := command
	switch request {
	case "shell":
		return nil
	case "subsystem":
		if command != "sftp" {
			return nil
		}
	case "exec":
		word, _, _ = strings.Cut(strings.TrimSpace(command), " ")
		word = path.Base(word)
	}
	return startedBy(word)
}

func startedBy(word string) *service {
	for _, sv := range services() {
		if sv.name == word || slices.Contains(sv.words, word) {
			return &sv
		}
	}
	return nil
}

// ServiceName returns the name of the service that command starts, which must be
// one word that starts one, or "".
func ServiceName(command string) string {
	if sv := startedBy(command); sv != nil {
		return sv.name
	}
	return ""
}

func serveHelp(_ context.Context, s *session, _ string) (uint32, error) {
	g := s.conn.grant.Load()
	s.say(s.ch, "Files: sftp, scp. Commands:")
	for _, sv := range services() {
		if sv.help != "" && g.Policy.Allows(sv.name) && g.Permits(sv.name) {
			s.say(s.ch, fmt.Sprintf("  %-8s %s", sv.name, sv.help))
		}
	}
	return 0, nil
}
