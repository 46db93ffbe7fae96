package kerberos

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// TestClocks has tickets and authenticators just within, and just beyond, what
// the clocks of client and server may differ.
func TestClocks(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const within, beyond = skew - time.Second, skew + time.Second
	ticket := func(start, end time.Duration) error {
		return inTime(&messages.EncTicketPart{StartTime: now.Add(start), EndTime: now.Add(end), Flags: types.NewKrbFlags()}, now)
	}
	made := func(d time.Duration) error {
		return fresh(&types.Authenticator{CTime: now.Add(d)}, now)
	}
	for name, tt := range map[string]struct{ got, want error }{
		"begins soon":       {ticket(within, time.Hour), nil},
		"begins later":      {ticket(beyond, time.Hour), ErrNotYetValid},
		"ended just now":    {ticket(-time.Hour, -within), nil},
		"ended":             {ticket(-time.Hour, -beyond), ErrExpired},
		"client is slow":    {made(-within), nil},
		"client too slow":   {made(-beyond), ErrClockSkew},
		"client is fast":    {made(within), nil},
		"client is too far": {made(beyond), ErrClockSkew},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
}

// TestReplaysAreRememberedLongEnough presents an authenticator that was made by
// a fast clock again, as long as it could be accepted.
func TestReplaysAreRememberedLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r replays
		sum := [32]byte{1}
		r.add(sum)
		time.Sleep(2*skew - time.Second)
		if r.add(sum) {
			t.Error("it was forgotten while its time stamp can still be accepted")
		}
		time.Sleep(2 * time.Second)
		if !r.add(sum) {
			t.Error("it is remembered longer than it could be accepted")
		}
	})
}

// TestStrong checks that only keys of exactly the length of their type are
// accepted.
func TestStrong(t *testing.T) {
	for size, ok := range map[int]bool{0: false, 16: false, 31: false, 32: true, 33: false} {
		if err := strong(types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: make([]byte, size)}); (err == nil) != ok {
			t.Errorf("a key of %d bytes: %v", size, err)
		}
	}
}

// TestOwnClients need no realm in between that is accepted.
func TestOwnClients(t *testing.T) {
	k := open(t, Settings{})
	for realm, want := range map[string]error{"CORP.EXAMPLE": nil, "OTHER.EXAMPLE": ErrForeignRealm} {
		ticket := &messages.EncTicketPart{CRealm: realm, Flags: types.NewKrbFlags(), Transited: messages.TransitedEncoding{Contents: []byte("FAR.EXAMPLE")}}
		if err := k.trustworthy(ticket, "CORP.EXAMPLE"); !errors.Is(err, want) {
			t.Errorf("a client of %s by way of FAR.EXAMPLE: got %v, want %v", realm, err, want)
		}
	}
}

// TestServes takes host/ for the service, and nothing that only begins like it.
func TestServes(t *testing.T) {
	for service, want := range map[string]bool{"host/a@R": true, "HOST/a@R": true, "hostile/a@R": false, "ho/a@R": false, "nfs/host@R": false} {
		if got := (&Settings{}).serves(key{service: service, realm: "R"}); got != want {
			t.Errorf("serves(%s) = %t", service, got)
		}
	}
}
