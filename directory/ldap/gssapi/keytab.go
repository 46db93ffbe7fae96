package gssapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"berth/sshd/privatefile"
)

// A Keytab is a file with the keys of a service account.
type Keytab struct {
	File      string
	Principal string // the account whose keys are used; empty: that of the first AES key, with accounts of machines first
}

// Account returns whose keys are used, such as svc-berth@CORP.EXAMPLE. The error says what
// is wrong with the file, without its name.
func (k Keytab) Account() (string, error) {
	c, err := k.file().Current()
	if err != nil {
		return "", err
	}
	return c.String(), nil
}

// file is read again when it changes: programs that renew a machine's keys change it unattended.
func (k Keytab) file() *privatefile.File[*credentials] {
	return &privatefile.File[*credentials]{Path: k.File, Forbidden: privatefile.GroupReads, Most: maxKeytab, Parse: k.parse}
}

func (k Keytab) parse(b []byte) (found *credentials, err error) {
	damaged := errors.New("is not a keytab, or is damaged") // the library's errors print the keys
	defer func() {
		if recover() != nil {
			found, err = nil, damaged
		}
	}()
	keys := new(keytab.Keytab)
	if keys.Unmarshal(b) != nil || len(keys.Entries) == 0 {
		return nil, damaged
	}
	var others, weak []string
	for _, e := range keys.Entries {
		c := &credentials{strings.Join(e.Principal.Components, "/"), e.Principal.Realm, keys}
		switch {
		case k.Principal != "" && !strings.EqualFold(k.Principal, c.String()) && k.Principal != c.name:
			others = append(others, c.String())
		case !slices.Contains(strong, e.Key.KeyType):
			weak = append(weak, c.String())
		case found == nil, k.Principal == "" && strings.HasSuffix(c.name, "$") && !strings.HasSuffix(found.name, "$"):
			found = c // the account of a machine is a user, unlike its service names
		}
	}
	slices.Sort(others)
	switch {
	case found != nil:
		found.keepNewest()
		return found, nil
	case len(weak) > 0:
		return nil, fmt.Errorf("has no AES key of %s: make the keytab anew with AES keys (on Active Directory set msDS-SupportedEncryptionTypes of the account to 24 and its password anew)", weak[0])
	default:
		return nil, fmt.Errorf("has no key of bind.principal %q, only of %s", k.Principal, strings.Join(slices.Compact(others), ", "))
	}
}

// credentials are the service account as a keytab has it.
type credentials struct {
	name, realm string
	keys        *keytab.Keytab
}

// keepNewest drops the keys of older passwords. KDCs do not always say which key they
// mean, and the library would then choose by the time in the keytab.
func (c *credentials) keepNewest() {
	newest := uint32(0)
	own := func(components []string, realm string) bool {
		return strings.Join(components, "/") == c.name && realm == c.realm
	}
	for _, e := range c.keys.Entries {
		if own(e.Principal.Components, e.Principal.Realm) {
			newest = max(newest, e.KVNO)
		}
	}
	kept := c.keys.Entries[:0]
	for _, e := range c.keys.Entries {
		if own(e.Principal.Components, e.Principal.Realm) && e.KVNO == newest {
			kept = append(kept, e)
		}
	}
	c.keys.Entries = kept
}

func (c *credentials) String() string { return c.name + "@" + c.realm }

// strong are the types of encryption that tickets may have: AES.
var strong = []int32{etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96, etypeID.AES256_CTS_HMAC_SHA384_192, etypeID.AES128_CTS_HMAC_SHA256_128}

// maxKeytab bounds what is read, in bytes. A key takes about 100.
const maxKeytab = 1 << 20
