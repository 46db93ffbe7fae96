package kerberos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"
)

// A Keytab is the keys of this service. It is safe for concurrent use.
type Keytab struct {
	settings Settings
	replays  replays

	mu    sync.Mutex
	file  os.FileInfo // what keys were read from
	keys  []key
	stale error // why the file could not be read again
}

// A key opens tickets for one service.
type key struct {
	types.EncryptionKey
	service string // host/sftp.corp.example@CORP.EXAMPLE
	realm   string
	version uint32 // kvno
}

// String has no part of the key itself.
func (k key) String() string {
	return fmt.Sprintf("%s version %d %s", k.service, k.version, enctype(k.KeyType))
}

// Open reads the keytab. A file that others may read, that is damaged or that
// holds no key of the service is refused.
func Open(s Settings) (*Keytab, error) {
	k := &Keytab{settings: s}
	if err := k.read(); err != nil {
		return nil, err
	}
	return k, nil
}

// current returns the keys, read again if the file has changed: programs that
// renew a machine's keys do so unattended. A file that cannot be used, maybe
// because it is just being written, leaves the keys as they were.
func (k *Keytab) current() []key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now, err := os.Stat(k.settings.Keytab); err != nil || !unchanged(k.file, now) {
		k.stale = k.read()
	}
	return k.keys
}

// Err returns nil if the keytab is in use as it is now, and else why the keys
// are still those that it held before.
func (k *Keytab) Err() error {
	_ = k.current()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stale
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// maxKeytab bounds what is read, in bytes. A key takes about 100.
const maxKeytab = 1 << 20

// read needs k.mu, but in Open.
func (k *Keytab) read() error {
	info, b, err := readPrivate(k.settings.Keytab)
	if err == nil {
		var keys []key
		if keys, err = k.settings.parse(b); err == nil {
			k.file, k.keys = info, keys
			return nil
		}
	}
	return fmt.Errorf("keytab %s: %w", k.settings.Keytab, err)
}

// readPrivate reads a file that not everybody may read. The mode is that of
// the opened file, so that it cannot be swapped between the check and the read.
func readPrivate(path string) (os.FileInfo, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("is not a file")
	}
	if info.Mode()&0o007 != 0 {
		return nil, nil, fmt.Errorf("mode %04o lets everybody at it: chmod 0600, or 0640 with a group", info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeytab))
	return info, b, cause(err)
}

// cause drops the path, which the caller names.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parse returns the keys of b that open tickets for the service.
func (s *Settings) parse(b []byte) (keys []key, err error) {
	damaged := errors.New("is not a keytab, or is damaged") // the library's errors print the keys
	defer func() {
		if recover() != nil {
			err = damaged
		}
	}()
	var file keytab.Keytab
	if file.Unmarshal(b) != nil {
		return nil, damaged
	}
	var others, weak []string
	for _, e := range file.Entries {
		k := key{
			EncryptionKey: e.Key,
			service:       principal(e.Principal.Components, e.Principal.Realm),
			realm:         e.Principal.Realm,
			version:       e.KVNO,
		}
		switch {
		case !s.serves(k):
			others = append(others, k.service)
		case strong(k.EncryptionKey) != nil && (!s.RC4Tickets || k.KeyType != etypeID.RC4_HMAC):
			weak = append(weak, k.String())
		default:
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		return keys, nil
	}
	if len(weak) > 0 {
		return nil, fmt.Errorf("has no AES key, only %s: make AES keys (on Active Directory set msDS-SupportedEncryptionTypes of the account to 24 and its password anew) or set rc4_tickets", list(weak))
	}
	wanted := s.Principal
	if wanted == "" {
		wanted = "any host/"
	}
	return nil, fmt.Errorf("has no key of %s, only of %s", wanted, list(others))
}

// serves reports whether tickets for the service of k are for us.
func (s *Settings) serves(k key) bool {
	if s.Principal == "" {
		first, _, _ := strings.Cut(k.service, "/") // HOST on Active Directory
		return strings.EqualFold(first, "host")
	}
	return strings.EqualFold(s.Principal, k.service) || strings.EqualFold(s.Principal+"@"+k.realm, k.service)
}

// list joins names for a message, each once.
func list(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
