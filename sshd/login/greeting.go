package login

import (
	"os"
	"strings"
)

// text reads one of the files with texts for people. It reads the file at every
// login. If the file cannot be read, the login goes on without the text.
func (g *Gate) text(key, file string) string {
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		g.Log.Warn("read a text for people", "setting", "ssh."+key, "error", err)
	}
	valid := strings.ToValidUTF8(string(text), "?") // or clients end the connection
	if valid == "" || strings.HasSuffix(valid, "\n") {
		return valid
	}
	return valid + "\n" // the client's next line follows
}
