package kerberos

import (
	"fmt"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/types"
)

// aes is the encryption types that sessions may use, with the length of their
// keys in bytes. With any other, tokens would have the layout of RFC 1964 and
// the strength of its time.
var aes = map[int32]int{
	etypeID.AES128_CTS_HMAC_SHA1_96:    16,
	etypeID.AES256_CTS_HMAC_SHA1_96:    32,
	etypeID.AES128_CTS_HMAC_SHA256_128: 16,
	etypeID.AES256_CTS_HMAC_SHA384_192: 32,
}

// enctypes is what encryption types are called in krb5.conf and by klist.
var enctypes = map[int32]string{
	etypeID.AES128_CTS_HMAC_SHA1_96:    "aes128-cts-hmac-sha1-96",
	etypeID.AES256_CTS_HMAC_SHA1_96:    "aes256-cts-hmac-sha1-96",
	etypeID.AES128_CTS_HMAC_SHA256_128: "aes128-cts-hmac-sha256-128",
	etypeID.AES256_CTS_HMAC_SHA384_192: "aes256-cts-hmac-sha384-192",
	etypeID.DES3_CBC_SHA1_KD:           "des3-cbc-sha1",
	etypeID.RC4_HMAC:                   "rc4-hmac",
}

func enctype(id int32) string {
	if name, ok := enctypes[id]; ok {
		return name
	}
	return fmt.Sprintf("encryption type %d", id)
}

// strong returns nil for an AES key of the right length.
func strong(k types.EncryptionKey) error {
	size, ok := aes[k.KeyType]
	if !ok {
		return fmt.Errorf("%w: %s for the session: AES is needed", ErrWeak, enctype(k.KeyType))
	}
	if len(k.KeyValue) != size {
		return fmt.Errorf("%w: %s key of %d bytes", ErrMalformed, enctype(k.KeyType), len(k.KeyValue))
	}
	return nil
}
