package sshd

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"berth/policy"
	"berth/sshd/scp"
	"berth/sshd/sftp"
)

// linkFirst are the clients, by the beginning of their identification, that use the order
// of the draft in SYMLINK unless the server is OpenSSH. All others use OpenSSH's order.
var linkFirst = []string{
	"SSH-2.0-AsyncSSH_",
	"SSH-2.0-libssh_", "SSH-2.0-libssh-", // not libssh2
	"SSH-2.0-phpseclib_",
	"SSH-2.0-ssh2js", // of Node
	"SSH-2.0-WinSCP_",
}

func serveSFTP(ctx context.Context, s *session, _ string) (uint32, error) {
	files, err := s.open("sftp")
	if err != nil {
		return 1, err
	}
	defer files.Close()
	opt := sftp.Options{
		User: s.conn.grant.Load().User.Name, LinkFirst: slices.ContainsFunc(linkFirst, func(prefix string) bool { return strings.HasPrefix(s.conn.client, prefix) }),
		Names:  s.conn.nameOf,
		Copied: files.copied, Unseen: files.unseen, Done: ctx.Done(),
		Log: s.conn.log(),
	}
	return status(sftp.Serve(s.ch, files, opt))
}

// nameOf is the name of the person or of one of their groups by its number on the disk.
// It is empty for others, and where the files are the service's: its numbers may be
// somebody else's in the directory.
func (c *conn) nameOf(id uint32, group bool) string {
	g := c.grant.Load()
	if !slices.ContainsFunc(g.Policy.Folders, func(f policy.Folder) bool { return f.Belongs == policy.Person }) {
		return ""
	}
	if !group {
		if id == g.Policy.User.POSIX.UID {
			return g.Policy.User.Name
		}
		return ""
	}
	for _, known := range g.Policy.User.Groups {
		if known.GID == id && id != 0 {
			return known.Name
		}
	}
	return ""
}

// serveSCP runs one scp command, as `scp -O` starts it.
func serveSCP(ctx context.Context, s *session, command string) (uint32, error) {
	cmd, err := scp.Parse(command)
	if err != nil {
		s.say(s.ch.Stderr(), err.Error())
		return 1, err
	}
	files, err := s.open("scp")
	if err != nil {
		return 1, err
	}
	defer files.Close()
	opt := scp.Options{
		InPlace: s.conn.grant.Load().Policy.Uploads != policy.Atomic,
		Ahead:   strings.HasPrefix(s.conn.client, "SSH-2.0-OpenSSH_"),
		Log:     s.conn.log(),
	}
	return status(cmd.Serve(ctx, s.ch, s.ch.Stderr(), files, opt))
}

// log returns the server's log for what the user of c does.
func (c *conn) log() hclog.Logger {
	return c.srv.Log.With("session", c.peer.Session, "user", c.grant.Load().User.Name)
}

// open opens the view of the session. If that fails, the client gets a sentence,
// and the log has the reason.
func (s *session) open(service string) (*observed, error) {
	files, err := s.conn.observe(service)
	if err != nil {
		s.say(s.ch.Stderr(), "Your folders cannot be opened. Please tell your administrator (session "+s.conn.peer.Session+").")
	}
	s.files.Store(files)
	return files, err
}

func status(err error) (uint32, error) {
	if err == nil || errors.Is(err, io.EOF) {
		return 0, nil
	}
	return 1, err
}
