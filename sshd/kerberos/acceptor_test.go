package kerberos

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"
	"golang.org/x/crypto/ssh"
)

var _ ssh.GSSAPIServer = (*Acceptor)(nil)

func TestAccept(t *testing.T) {
	tests := []struct {
		name  string
		alter func(*client)
	}{
		{"as it should be", func(*client) {}},
		{"AES 128", func(c *client) { c.enctype = etypeID.AES128_CTS_HMAC_SHA1_96 }},
		{"AES 128 with SHA-2", func(c *client) { c.enctype = etypeID.AES128_CTS_HMAC_SHA256_128 }},
		{"AES 256 with SHA-2", func(c *client) { c.enctype = etypeID.AES256_CTS_HMAC_SHA384_192 }},
		{"sub-key", func(c *client) { c.auth.SubKey = randomKey(t, etypeID.AES128_CTS_HMAC_SHA256_128) }},
		{"delegated credentials", func(c *client) {
			c.auth.Cksum.Checksum = append(gssChecksum(wantsMutual|wantsIntegrity|1), 1, 0, 2, 0, 'x', 'y')
		}},
		{"other spelling of the host", func(c *client) { c.asked = "host/SFTP.Corp.Example" }},
		{"clock four minutes off", func(c *client) { c.auth.CTime = c.auth.CTime.Add(-4 * time.Minute) }},
		{"expired within the skew", func(c *client) { c.ticket.EndTime = time.Now().UTC().Add(-4 * time.Minute) }},
		{"no start", func(c *client) { c.ticket.StartTime = time.Time{} }},
		{"our address among others", func(c *client) {
			c.ticket.CAddr = types.HostAddressesFromNetIPs([]net.IP{net.IPv4(192, 0, 2, 9), net.IPv4(192, 0, 2, 1)})
		}},
		{"a NetBIOS name for an address", func(c *client) {
			c.ticket.CAddr = types.HostAddresses{{AddrType: 20, Address: []byte("DESKTOP         ")}}
		}},
		{"another realm", func(c *client) { c.ticket.CRealm, c.auth.CRealm = "PARTNER.EXAMPLE", "PARTNER.EXAMPLE" }},
		{"another realm by way of one we know", func(c *client) {
			c.ticket.CRealm, c.auth.CRealm = "A.PARTNER.EXAMPLE", "A.PARTNER.EXAMPLE"
			c.ticket.Transited.Contents = []byte("PARTNER.EXAMPLE")
		}},
		{"another realm by a way the KDC has checked", func(c *client) {
			c.ticket.CRealm, c.auth.CRealm = "A.PARTNER.EXAMPLE", "A.PARTNER.EXAMPLE"
			c.ticket.Transited.Contents = []byte("ELSE.EXAMPLE")
			types.SetFlag(&c.ticket.Flags, flags.TransitedPolicyChecked)
		}},
	}
	settings := Settings{Realms: []Realm{{Name: realm}, {Name: "PARTNER.EXAMPLE"}}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := alice()
			tt.alter(c)
			a := open(t, settings).Acceptor(remote)
			answer, who, more, err := a.AcceptSecContext(c.token(t))
			if err != nil || more {
				t.Fatalf("AcceptSecContext: more %t, %v, want none", more, err)
			}
			if want := "alice@" + c.ticket.CRealm; who != want {
				t.Errorf("got client %q, want %q", who, want)
			}
			if !c.believes(t, answer) {
				t.Error("the answer does not repeat the client's time")
			}
			if err := a.VerifyMIC([]byte("session"), c.sign(t, "session")); err != nil {
				t.Errorf("VerifyMIC: %v", err)
			}
			if err := a.VerifyMIC([]byte("other session"), c.sign(t, "session")); !errors.Is(err, ErrBadMIC) {
				t.Errorf("VerifyMIC of another session: got %v, want %v", err, ErrBadMIC)
			}
			if err := a.DeleteSecContext(); err != nil {
				t.Error(err)
			}
			if err := a.VerifyMIC([]byte("session"), c.sign(t, "session")); !errors.Is(err, ErrMalformed) {
				t.Errorf("VerifyMIC without a context: got %v, want %v", err, ErrMalformed)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	now := time.Now().UTC()
	tests := []struct {
		name  string
		alter func(*client)
		want  error
	}{
		{"for another service", func(c *client) { c.asked = "http/sftp.corp.example" }, ErrNotForUs},
		{"for another host", func(c *client) { c.asked = "host/www.corp.example" }, ErrNotForUs},
		{"for our name in another realm", func(c *client) { c.key.realm = "OTHER.EXAMPLE" }, ErrNotForUs},
		{"under another key", func(c *client) { c.key.password = "x" }, ErrWrongKey},
		{"under another kind of key", func(c *client) { c.key.enctype = etypeID.AES128_CTS_HMAC_SHA1_96 }, ErrWrongKey},
		{"RC4 ticket", func(c *client) { c.key.enctype = etypeID.RC4_HMAC }, ErrWrongKey},
		{"expired", func(c *client) { c.ticket.EndTime = now.Add(-6 * time.Minute) }, ErrExpired},
		{"not yet valid", func(c *client) { c.ticket.StartTime = now.Add(6 * time.Minute) }, ErrNotYetValid},
		{"marked invalid", func(c *client) { types.SetFlag(&c.ticket.Flags, flags.Invalid) }, ErrNotYetValid},
		{"clock slow", func(c *client) { c.auth.CTime = now.Add(-6 * time.Minute) }, ErrClockSkew},
		{"clock fast", func(c *client) { c.auth.CTime = now.Add(6 * time.Minute) }, ErrClockSkew},
		{"impossible time", func(c *client) { c.auth.Cusec = 1 << 40 }, ErrMalformed},
		{"claims another name", func(c *client) { c.auth.CName.NameString = []string{"root"} }, ErrMismatch},
		{"claims another realm", func(c *client) { c.auth.CRealm = "OTHER.EXAMPLE" }, ErrMismatch},
		{"from another address", func(c *client) {
			c.ticket.CAddr = types.HostAddressesFromNetIPs([]net.IP{net.IPv4(192, 0, 2, 9)})
		}, ErrAddress},
		{"by way of a stranger's realm", func(c *client) {
			c.ticket.CRealm, c.auth.CRealm = "A.EXAMPLE", "A.EXAMPLE"
			c.ticket.Transited.Contents = []byte(realm + ",EVIL.EXAMPLE")
		}, ErrForeignRealm},
		{"RC4 session", func(c *client) { c.enctype = etypeID.RC4_HMAC }, ErrWeak},
		{"3DES session", func(c *client) { c.enctype = etypeID.DES3_CBC_SHA1_KD }, ErrWeak},
		{"RC4 sub-key", func(c *client) { c.auth.SubKey = randomKey(t, etypeID.RC4_HMAC) }, ErrWeak},
		{"short sub-key", func(c *client) { c.auth.SubKey = types.EncryptionKey{KeyType: aes256, KeyValue: []byte("x")} }, ErrMalformed},
		{"no checksum", func(c *client) { c.auth.Cksum = types.Checksum{} }, ErrMalformed},
		{"checksum of another type", func(c *client) { c.auth.Cksum.CksumType = chksumtype.HMAC_SHA1_96_AES256 }, ErrMalformed},
		{"short checksum", func(c *client) { c.auth.Cksum.Checksum = c.auth.Cksum.Checksum[:23] }, ErrMalformed},
		{"no integrity", func(c *client) { c.auth.Cksum.Checksum = gssChecksum(wantsMutual) }, ErrNoIntegrity},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := alice()
			tt.alter(c)
			a := open(t, Settings{}).Acceptor(remote)
			answer, who, _, err := a.AcceptSecContext(c.token(t))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if answer != nil || who != "" {
				t.Errorf("got answer %x to %q, want none", answer, who)
			}
			c.auth.SubKey = types.EncryptionKey{}
			if err := a.VerifyMIC([]byte("s"), c.sign(t, "s")); err == nil {
				t.Error("VerifyMIC after a refusal: got no error")
			}
		})
	}
}

func TestNoMutual(t *testing.T) {
	c := alice()
	c.auth.Cksum.Checksum = gssChecksum(wantsIntegrity)
	answer, who, _, err := open(t, Settings{}).Acceptor(remote).AcceptSecContext(c.token(t))
	if err != nil || answer != nil || who != "alice@"+realm {
		t.Errorf("got answer %x, %q, %v, want no answer to alice", answer, who, err)
	}
}

func TestRC4Ticket(t *testing.T) {
	rc4 := ours
	rc4.enctype = etypeID.RC4_HMAC
	c := alice()
	c.key = rc4
	_, who, _, err := open(t, Settings{RC4Tickets: true}, rc4).Acceptor(remote).AcceptSecContext(c.token(t))
	if err != nil || who != "alice@"+realm {
		t.Errorf("got %q, %v, want alice", who, err)
	}
}

func TestReplay(t *testing.T) {
	k, c := open(t, Settings{}), alice()
	token := c.token(t)
	for i, want := range []error{nil, ErrReplayed, ErrReplayed} {
		if _, _, _, err := k.Acceptor(remote).AcceptSecContext(token); !errors.Is(err, want) {
			t.Errorf("time %d: got %v, want %v", i+1, err, want)
		}
	}
	c.auth.Cusec ^= 1
	if _, _, _, err := k.Acceptor(remote).AcceptSecContext(c.token(t)); err != nil {
		t.Errorf("the same ticket used again: got %v, want none", err)
	}
}

func TestReplayAtOnce(t *testing.T) {
	k, token := open(t, Settings{}), alice().token(t)
	var accepted atomic.Int32
	var tries sync.WaitGroup
	for range 8 {
		tries.Go(func() {
			if _, _, _, err := k.Acceptor(remote).AcceptSecContext(token); err == nil {
				accepted.Add(1)
			}
		})
	}
	tries.Wait()
	if got := accepted.Load(); got != 1 {
		t.Errorf("got %d accepted, want 1", got)
	}
}

func TestReplaysForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r replays
		sum := func(n int) [32]byte { return [32]byte{byte(n), byte(n >> 8), byte(n >> 16)} }
		for _, step := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {0, false}, {remembered, false}, {time.Second, true}, {time.Second, false}} {
			time.Sleep(step.after)
			if got := r.add(sum(0)); got != step.want {
				t.Errorf("after %v: got %t, want %t", step.after, got, step.want)
			}
		}
		for i := range maxReplays {
			r.add(sum(i + 1))
		}
		if got := len(r.seen); got != maxReplays || got != len(r.order) {
			t.Errorf("got %d and %d remembered, want %d", got, len(r.order), maxReplays)
		}
		if !r.add(sum(0)) {
			t.Error("the oldest is still remembered")
		}
		if r.add(sum(maxReplays)) {
			t.Error("the newest is forgotten")
		}
	})
}

func TestMalformed(t *testing.T) {
	good := alice().token(t)
	tests := map[string][]byte{
		"nothing":          nil,
		"text":             []byte("hello"),
		"half":             good[:len(good)/2],
		"more":             append(slices.Clone(good), 0),
		"not a request":    frame(idReply, []byte{0x30, 0}),
		"empty request":    frame(idRequest, nil),
		"no ticket":        frame(idRequest, wrap(t, asnAppTag.APREQ, []byte{0x30, 0})),
		"SPNEGO":           {0x60, 8, 6, 6, 0x2b, 6, 1, 5, 5, 2},
		"another class":    append([]byte{0x30}, good[1:]...),
		"no name":          nameless(t).token(t),
		"no authenticator": alice().garbled(t),
		"no ciphertext":    alice().request(t, types.EncryptedData{EType: aes256}),
		"short encrypted":  alice().request(t, types.EncryptedData{EType: aes256, Cipher: []byte("abc")}),
	}
	k := open(t, Settings{})
	for name, token := range tests {
		_, who, _, err := k.Acceptor(remote).AcceptSecContext(token)
		if who != "" || known(err) == nil {
			t.Errorf("%s: got %q, %v, want one of this package's errors", name, who, err)
		}
	}
	a := k.Acceptor(remote)
	c := alice()
	if _, _, _, err := a.AcceptSecContext(c.token(t)); err != nil {
		t.Fatal(err)
	}
	mic := c.sign(t, "s")
	for _, bad := range [][]byte{nil, mic[:15], mic[:16], mic[:len(mic)-1], append(slices.Clone(mic), 0), good} {
		if err := a.VerifyMIC([]byte("s"), bad); known(err) == nil {
			t.Errorf("VerifyMIC(%x): got %v, want one of this package's errors", bad, err)
		}
	}
}

// nameless has a ticket for a service of one empty component.
func nameless(t testing.TB) *client {
	t.Helper()
	c := alice()
	c.asked = ""
	return c
}

// garbled encrypts something else than an authenticator.
func (c *client) garbled(t testing.TB) []byte {
	t.Helper()
	c.ticket.Key = randomKey(t, aes256)
	return c.request(t, sealBytes(t, []byte("something else"), c.ticket.Key, keyusage.AP_REQ_AUTHENTICATOR))
}

// known returns which of this package's errors err is.
func known(err error) error {
	for _, e := range []error{
		ErrMalformed, ErrNotForUs, ErrWrongKey, ErrExpired, ErrNotYetValid, ErrClockSkew, ErrReplayed,
		ErrMismatch, ErrAddress, ErrWeak, ErrNoIntegrity, ErrBadMIC, ErrForeignRealm, ErrNotAPerson,
	} {
		if errors.Is(err, e) {
			return e
		}
	}
	return nil
}

// FuzzToken sends random tokens, as a stranger could. None of them may be
// accepted.
func FuzzToken(f *testing.F) {
	f.Add(alice().token(f), []byte("mic"))
	f.Add([]byte("`\x0d\x06\x09*\x86H\x86\xf7\x12\x01\x02\x02\x01\x00n\x000"), []byte("\x04\x04\x00\xff\xff\xff\xff\xff"))
	k := open(f, Settings{}, entry{service, realm, "a key that no seed was made with", 2, aes256})
	key := randomKey(f, aes256)
	f.Fuzz(func(t *testing.T, token, mic []byte) {
		a := k.Acceptor(remote)
		if _, who, _, err := a.AcceptSecContext(token); who != "" || known(err) == nil {
			t.Errorf("got %q, %v, want one of this package's errors", who, err)
		}
		a.key = key
		if err := a.VerifyMIC([]byte("session"), mic); known(err) == nil {
			t.Errorf("VerifyMIC: got %v, want one of this package's errors", err)
		}
	})
}

// FuzzAuthenticator sends what a person with a valid ticket could encrypt. It
// must never prove another person.
func FuzzAuthenticator(f *testing.F) {
	c := alice()
	c.ticket.Key = randomKey(f, aes256)
	for _, name := range []string{"alice", "root"} {
		a := c.auth
		a.CName.NameString = []string{name}
		b, err := a.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	k := open(f, Settings{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) == 0 {
			return // the library cannot encrypt nothing
		}
		sealed := sealBytes(t, plain, c.ticket.Key, keyusage.AP_REQ_AUTHENTICATOR)
		_, who, _, err := k.Acceptor(netip.MustParseAddr("2001:db8::1")).AcceptSecContext(c.request(t, sealed))
		if err == nil && who != "alice@"+realm {
			t.Errorf("got %q, want alice", who)
		}
		if err != nil && (who != "" || known(err) == nil) {
			t.Errorf("got %q, %v, want one of this package's errors", who, err)
		}
	})
}
