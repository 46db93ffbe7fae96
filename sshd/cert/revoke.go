package cert

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"berth/sshd/privatefile"
)

// ErrListed means that a list has the line already.
var ErrListed = errors.New("is in the list already")

// Revoke adds a line to a text of Settings.Revoked: a public key, a fingerprint,
// "serial: 7" or "id: NAME". Owner and mode of the file stay, or the server might no
// longer be able to read it. A key revocation list of ssh-keygen is an error, and so is
// a line that the server could not read.
func Revoke(file, line string) error {
	if strings.ContainsAny(line, "\r\n") || newRevocations().line(line) != nil {
		return fmt.Errorf("%q cannot be revoked: use a public key, a fingerprint, a serial number or an id", line)
	}
	text, err := privatefile.Read(file, privatefile.AllRead, maxFile)
	switch {
	case err != nil:
		return err
	case bytes.HasPrefix(text, []byte(krlMagic)):
		return errors.New("is a key revocation list: ssh-keygen -k -u changes it")
	case slices.Contains(strings.Split(string(text), "\n"), line):
		return fmt.Errorf("%q: %w", line, ErrListed)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		line = "\n" + line
	}
	_, err = f.WriteString(line + "\n") // at once: the server may read the file meanwhile
	return errors.Join(err, f.Sync(), f.Close())
}
