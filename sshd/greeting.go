package sshd

import (
	"os"
	"strings"
)

// banner returns the text everyone sees before logging in.
func (s *Server) banner() string { return s.text("banner", s.Banner) }

// greet shows the message of the day to somebody who has logged in. Clients take
// a banner as long as they have not been told so, and there is no other text
// that one for files would show.
func (l *login) greet() {
	if text := l.srv.text("motd", l.srv.MOTD); text != "" {
		l.pre.SendAuthBanner(text)
	}
}

// text reads one of the files with texts for people, each time anew. Without it
// the login goes on.
func (s *Server) text(key, file string) string {
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.Log.Warn("read a text for people", "setting", "ssh."+key, "error", err)
	}
	if len(text) == 0 || strings.HasSuffix(string(text), "\n") {
		return string(text)
	}
	return string(text) + "\n" // the client's next line follows
}
