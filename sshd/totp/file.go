package totp

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"berth/sshd/privatefile"
)

// The encrypted file has this line, a nonce, and the records as JSON. The
// records are encrypted by XChaCha20-Poly1305 with a key derived from the key
// file.
const header = "berth totp 1\n"

// maxFile is the longest file that is read, in bytes: 100,000 people take 20 MB.
const maxFile = 32 << 20

// Errors of File.
var (
	ErrExists = errors.New("has a secret already")
	errSealed = errors.New("is not a file of secrets, was changed, or is encrypted with another key than the one in")
)

// A File stores the secrets of people in an encrypted file. It is safe for
// concurrent use.
type File struct {
	settings Settings
	only     string // name of the directory, if there is one only
	sealed   privatefile.File[map[string]record]
}

// A record is one person's secret. Its key in the file is that of the person.
type record struct {
	Person
	URI string `json:"uri"`
}

// A Person has a secret in a File. Directory and ID identify the person.
type Person struct {
	ID        string    `json:"id"`        // stable id in the directory
	Directory string    `json:"directory"` // name of the directory; empty: the secret can be used by nobody
	Name      string    `json:"name"`      // when the secret was made, for people
	Added     time.Time `json:"added"`
}

// key is the key of a person's secret in the file: the text of the identity.
func (p Person) key() string { return p.ID + "@" + p.Directory }

// Open returns the file that s names, which need not exist yet; directories are
// the names of those configured. s must have passed Check. Errors wrap
// ErrUnreadable.
//
// A secret that an older version made does not name the directory of its person. If
// there is only one directory, the person is of that directory. If there are several,
// the secret is of nobody, because an id may be in two of them.
func Open(s Settings, directories ...string) (*File, error) {
	f := &File{settings: s}
	if len(directories) == 1 {
		f.only = directories[0]
	}
	f.sealed = privatefile.File[map[string]record]{Path: s.File, Forbidden: privatefile.GroupReads, Most: maxFile, Parse: f.open}
	_, err := f.current()
	return f, err
}

// People returns who has a secret, by name.
func (f *File) People() ([]Person, error) {
	records, err := f.current()
	if err != nil {
		return nil, err
	}
	var people []Person
	for _, r := range records {
		people = append(people, r.Person)
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.Name+"\x00"+a.key(), b.Name+"\x00"+b.key()) })
	return people, nil
}

// Add makes a secret for a person and returns it as an otpauth:// URI. The error
// wraps ErrExists if they have one.
func (f *File) Add(p Person) (uri string, err error) {
	// A key is made only if there is no file of secrets: that has a key already.
	if _, err := os.Stat(f.settings.File); errors.Is(err, iofs.ErrNotExist) {
		key := make([]byte, leastKey)
		rand.Read(key) // never fails
		err := privatefile.Create(f.settings.KeyFile, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600)
		if err != nil && !errors.Is(err, iofs.ErrExist) {
			return "", err
		}
	}
	uri = newURI(f.settings.Issuer, p.Name)
	return uri, f.edit(func(records map[string]record) error {
		if _, ok := records[p.key()]; ok {
			return fmt.Errorf("%q %w", p.Name, ErrExists)
		}
		p.Added = p.Added.UTC().Truncate(time.Second)
		records[p.key()] = record{p, uri}
		return nil
	})
}

// Remove removes the secret of a person.
func (f *File) Remove(p Person) error {
	return f.edit(func(records map[string]record) error {
		delete(records, p.key())
		return nil
	})
}

// current returns what the file holds now: nothing if it does not exist. The map
// must not be changed.
func (f *File) current() (map[string]record, error) {
	records, err := f.sealed.Current()
	switch {
	case err == nil:
		return records, nil
	case errors.Is(err, iofs.ErrNotExist): // the error of the read, and not of a new Stat: the file may have been made since then
		return map[string]record{}, nil
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrUnreadable, f.settings.File, err)
}

func (f *File) open(text []byte) (map[string]record, error) {
	sealer, err := f.sealer()
	if err != nil {
		return nil, err
	}
	sealed, ok := strings.CutPrefix(string(text), header)
	if !ok || len(sealed) < sealer.NonceSize() {
		return nil, fmt.Errorf("%w %s", errSealed, f.settings.KeyFile)
	}
	nonce, sealed := sealed[:sealer.NonceSize()], sealed[sealer.NonceSize():]
	plain, err := sealer.Open(nil, []byte(nonce), []byte(sealed), []byte(header))
	if err != nil {
		return nil, fmt.Errorf("%w %s", errSealed, f.settings.KeyFile)
	}
	stored := map[string]record{}
	if err := json.Unmarshal(plain, &stored); err != nil {
		return nil, errors.New("the records in it are damaged")
	}
	records := map[string]record{}
	for id, r := range stored {
		if r.ID == "" { // of an older version, which kept secrets by the id alone
			r.ID, r.Directory = id, f.only
		}
		records[r.key()] = r
	}
	return records, nil
}

func (f *File) edit(change func(map[string]record) error) error {
	return privatefile.Rewrite(f.settings.File, func() ([]byte, error) {
		old, err := f.current()
		if err != nil {
			return nil, err
		}
		records := maps.Clone(old)
		if err := change(records); err != nil {
			return nil, err
		}
		plain, err := json.Marshal(records)
		if err != nil {
			return nil, err
		}
		sealer, err := f.sealer()
		if err != nil {
			return nil, err
		}
		nonce := make([]byte, sealer.NonceSize())
		rand.Read(nonce) // never fails
		return sealer.Seal(append([]byte(header), nonce...), nonce, plain, []byte(header)), nil
	})
}

const leastKey = 32 // bytes of the key file: text of any kind, so long that nobody guesses it

func (f *File) sealer() (cipher.AEAD, error) {
	secret, err := privatefile.Read(f.settings.KeyFile, privatefile.GroupReads, 64<<10)
	if err != nil {
		// Not wrapped: a missing key must not look like a missing file of secrets, which means that nobody has one.
		return nil, fmt.Errorf("key file %s: %v", f.settings.KeyFile, err)
	}
	text := strings.TrimSpace(string(secret))
	if len(text) < leastKey {
		return nil, fmt.Errorf("key file %s: must hold at least %d bytes", f.settings.KeyFile, leastKey)
	}
	key, err := hkdf.Key(sha256.New, []byte(text), nil, header, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}
