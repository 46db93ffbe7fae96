package fs

import (
	"crypto/rand"
	"path"
	"strings"
)

// tempPrefix begins the name of every file that is not yet what it will be.
// Such files are the server's own: no client sees, opens or makes one.
const tempPrefix = ".berth-upload-"

// newTempName is a name that no other file has.
func newTempName() string { return tempPrefix + strings.ToLower(rand.Text()) }

// isTemp reports whether a base name is that of a temporary file.
func isTemp(base string) bool { return strings.HasPrefix(base, tempPrefix) }

// hasTemp reports whether any element of name is that of a temporary file.
func hasTemp(name string) bool {
	return strings.Contains(name, "/"+tempPrefix) || isTemp(path.Base(name))
}
