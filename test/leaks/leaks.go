// Package leaks looks for passwords in the output of a server under test: its
// log, its events, its metrics, the dump of a crash. The passwords are found in
// the sources of the tests themselves, so that no list has to be kept. Start at
// Passwords and Find.
package leaks

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// shapes are what the passwords of this project's tests and of its sample people
// look like: alice-demo-1, svc-Passw0rd, Better-9-Horse, First-Pass-77.
var shapes = regexp.MustCompile(`[\pL\d]+-demo-\d|[\pL\d]*-?Passw0rd[!\d]*|[A-Z][a-z]+-(?:\d-[A-Z][a-z]+|Pass-\d+)`)

var (
	// people are those of the fixtures, whose passwords are made of their names.
	people = regexp.MustCompile(`(?:template "person" |peers\.Password\()"(\pL+)"`)

	// given are passwords that a script types in.
	given = regexp.MustCompile(`sshpass -p (\S+)`)
)

// Passwords returns all passwords in the files below roots. One that is given
// to a program and has none of the known shapes is an error.
func Passwords(roots ...string) ([]string, error) {
	var all []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all = append(all, shapes.FindAllString(string(text), -1)...)
			for _, m := range people.FindAllStringSubmatch(string(text), -1) {
				all = append(all, m[1]+"-Passw0rd")
			}
			for _, m := range given.FindAllStringSubmatch(string(text), -1) {
				password := strings.Trim(m[1], `'"`)
				if password != "" && shapes.FindString(password) != password {
					return fmt.Errorf("%s: password %q: make it look like Better-9-Horse, so that it is looked for", path, password)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// forms are what a password may look like in an output.
func forms(password string) [][]byte {
	raw := []byte(password)
	wide := make([]byte, 0, 2*len(raw)) // as Active Directory takes it
	for _, unit := range utf16.Encode([]rune(password)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	all := [][]byte{raw, wide}
	for _, b := range [][]byte{raw, wide} {
		all = append(all,
			[]byte(hex.EncodeToString(b)),
			[]byte(strings.TrimRight(base64.StdEncoding.EncodeToString(b), "=")),
			[]byte(strings.Trim(fmt.Sprint(b), "[]")), // %v of bytes
		)
	}
	return all
}

// outputs are the names of files in which a server says something.
var outputs = regexp.MustCompile(`\.log$|^events.*\.jsonl|\.gz$`)

// Find looks for passwords in the outputs below dir. It returns a line for each
// that it finds, and how many bytes it has searched.
func Find(dir string, passwords []string) (found []string, looked int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !outputs.MatchString(d.Name()) {
			return err
		}
		text, err := read(path)
		if err != nil {
			return err
		}
		looked += len(text)
		for _, p := range passwords {
			for _, form := range forms(p) {
				if i := bytes.Index(text, form); i >= 0 {
					found = append(found, fmt.Sprintf("%s: the password %q: %s", path, p, line(text, i)))
					break
				}
			}
		}
		return nil
	})
	return found, looked, err
}

// read returns what is in a file, unpacked.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".gz") {
		return io.ReadAll(f)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(z)
}

// line is the line of text that byte i is in.
func line(text []byte, i int) string {
	text, _, _ = bytes.Cut(text[bytes.LastIndexByte(text[:i], '\n')+1:], []byte("\n"))
	return string(text[:min(len(text), 500)])
}
