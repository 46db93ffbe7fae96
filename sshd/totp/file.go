package totp

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// The sealed file is this line, a nonce, and the records as JSON, encrypted by
// XChaCha20-Poly1305 with a key derived from the key file.
const header = "berth totp 1\n"

// maxFile bounds what is read, in bytes: 100,000 people take 20 MB.
const maxFile = 32 << 20

// Errors of File.
var (
	ErrExists   = errors.New("has a secret already")
	errSealed   = errors.New("is no such file, was changed, or is sealed with another key")
	errLeftOver = errors.New("is in the way: another berth totp is writing, or one was cut off, and then it must be removed")
)

// A File keeps secrets by the users' stable ids, sealed on disk. It is safe for
// concurrent use.
type File struct {
	settings Settings

	mu      sync.Mutex
	info    os.FileInfo // of what was read; nil if nothing was
	records map[string]record
}

// A record is one user's secret.
type record struct {
	Name  string    `json:"name"` // when it was made, for people
	Added time.Time `json:"added"`
	URI   string    `json:"uri"`
}

// A Person has a secret in a File.
type Person struct {
	ID, Name string
	Added    time.Time
}

// Open returns the file that s names, which need not be there yet. s must have
// passed Check. Errors wrap ErrUnreadable.
func Open(s Settings) (*File, error) {
	f := &File{settings: s}
	_, err := f.current()
	return f, err
}

// secrets returns those of the user with that id.
func (f *File) secrets(id string) ([]string, error) {
	records, err := f.current()
	if err != nil {
		return nil, err
	}
	r, ok := records[id]
	if !ok {
		return nil, nil
	}
	return []string{r.URI}, nil
}

// People returns who has a secret, by name.
func (f *File) People() ([]Person, error) {
	records, err := f.current()
	if err != nil {
		return nil, err
	}
	var people []Person
	for id, r := range records {
		people = append(people, Person{id, r.Name, r.Added})
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	return people, nil
}

// Add makes a secret for somebody and returns it as an otpauth:// URI. The error
// wraps ErrExists if they have one.
func (f *File) Add(id, name string, now time.Time) (uri string, err error) {
	if err := f.makeKey(); err != nil {
		return "", err
	}
	uri = newURI(f.settings.Issuer, name)
	return uri, f.edit(func(records map[string]record) error {
		if _, ok := records[id]; ok {
			return fmt.Errorf("%q %w", name, ErrExists)
		}
		records[id] = record{Name: name, Added: now.UTC().Truncate(time.Second), URI: uri}
		return nil
	})
}

// Remove forgets the secret of whoever has that id.
func (f *File) Remove(id string) error {
	return f.edit(func(records map[string]record) error {
		delete(records, id)
		return nil
	})
}

// current returns what the file holds now: nothing if it is not there. What it
// returns must not be changed.
func (f *File) current() (map[string]record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.settings.File)
	if errors.Is(err, iofs.ErrNotExist) {
		f.info, f.records = nil, nil
		return nil, nil
	}
	if err == nil && f.info != nil && os.SameFile(f.info, now) && f.info.ModTime().Equal(now.ModTime()) && f.info.Size() == now.Size() {
		return f.records, nil
	}
	f.info, f.records = nil, nil
	records, err := f.read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	f.info, f.records = now, records
	return records, nil
}

func (f *File) read() (map[string]record, error) {
	text, err := readPrivate(f.settings.File)
	if err != nil {
		return nil, err
	}
	sealer, err := f.sealer()
	if err != nil {
		return nil, err
	}
	sealed, ok := strings.CutPrefix(string(text), header)
	if !ok || len(sealed) < sealer.NonceSize() {
		return nil, fmt.Errorf("%s: %w", f.settings.File, errSealed)
	}
	nonce, sealed := sealed[:sealer.NonceSize()], sealed[sealer.NonceSize():]
	plain, err := sealer.Open(nil, []byte(nonce), []byte(sealed), []byte(header))
	if err != nil {
		return nil, fmt.Errorf("%s: %w %s", f.settings.File, errSealed, f.settings.KeyFile)
	}
	records := map[string]record{}
	if err := json.Unmarshal(plain, &records); err != nil {
		return nil, fmt.Errorf("%s: what is sealed in it is damaged", f.settings.File)
	}
	return records, nil
}

// edit changes the records and writes them as a whole or not at all. The new
// file, under a fixed name, keeps others from doing the same meanwhile.
func (f *File) edit(change func(map[string]record) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(f.settings.File), 0o700); err != nil {
		return err
	}
	fresh := f.settings.File + ".new"
	out, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, iofs.ErrExist) {
		return fmt.Errorf("%s %w", fresh, errLeftOver)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(fresh)
		}
	}()
	old, err := f.current()
	if err != nil {
		return err
	}
	records := maps.Clone(old)
	if records == nil {
		records = map[string]record{}
	}
	if err := change(records); err != nil {
		return err
	}
	text, err := f.seal(records)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, f.settings.File)
}

func (f *File) seal(records map[string]record) ([]byte, error) {
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
}

// aead is what is used of a cipher.AEAD.
type aead interface {
	NonceSize() int
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

const leastKey = 32 // bytes of the key file: text of any kind, so long that nobody guesses it

func (f *File) sealer() (aead, error) {
	secret, err := readPrivate(f.settings.KeyFile)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(secret))
	if len(text) < leastKey {
		return nil, fmt.Errorf("%s: must hold at least %d bytes", f.settings.KeyFile, leastKey)
	}
	key, err := hkdf.Key(sha256.New, []byte(text), nil, header, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}

// makeKey makes the key file before there is anything that it would have to
// open.
func (f *File) makeKey() error {
	if _, err := os.Stat(f.settings.File); !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.settings.KeyFile), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(f.settings.KeyFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, iofs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	key := make([]byte, leastKey)
	rand.Read(key) // never fails
	_, err = io.WriteString(out, base64.StdEncoding.EncodeToString(key)+"\n")
	return errors.Join(err, out.Sync(), out.Close())
}

// readPrivate reads a file that not everybody may read or write.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is not a file", path)
	case info.Mode()&0o007 != 0:
		return nil, fmt.Errorf("%s: mode %04o is for everybody: chmod o-rwx", path, info.Mode().Perm())
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}
