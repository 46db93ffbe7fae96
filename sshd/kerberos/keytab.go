package kerberos

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"berth/sshd/privatefile"
)

// A Keytab is the keys of this service. It is safe for concurrent use.
type Keytab struct {
	settings Settings
	only     string // name of the directory, if there is one only
	replays  replays
	file     privatefile.File[[]key]
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

// maxKeytab bounds what is read, in bytes. A key takes about 100.
const maxKeytab = 1 << 20

// Open reads the keytab; directories are the names of those configured. A file
// that others may read, that is damaged or that holds no key of the service is
// refused.
func Open(s Settings, directories ...string) (*Keytab, error) {
	if err := errors.Join(s.Check(directories...)...); err != nil {
		return nil, err
	}
	k := &Keytab{settings: s, file: privatefile.File[[]key]{Path: s.Keytab, Forbidden: privatefile.GroupReads, Most: maxKeytab, Parse: s.parse}}
	if len(directories) == 1 {
		k.only = directories[0]
	}
	return k, k.Err()
}

// current returns the keys, read again if the file has changed: programs that
// renew a machine's keys do so unattended. While the file cannot be used, for
// example because it is being written, the last keys are used.
func (k *Keytab) current() []key {
	keys, _ := k.file.Current()
	return keys
}

// Err returns nil if the keys in use are those that the keytab has now.
// Otherwise it says why older keys are still used.
func (k *Keytab) Err() error {
	if _, err := k.file.Current(); err != nil {
		return fmt.Errorf("keytab %s: %w", k.settings.Keytab, err)
	}
	return nil
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
	return nil, fmt.Errorf("has no key of %s, only of %s", cmp.Or(s.Principal, "any host/"), list(others))
}

// serves reports whether tickets for the service of k are accepted.
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
