package ssh

import (
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// These tests of the patches run inside the patched package: make patches-test.

// fakeTickets is a GSSAPIServer that wants a second token and then refuses.
type fakeTickets struct{ tokens int }

func (f *fakeTickets) AcceptSecContext([]byte) ([]byte, string, bool, error) {
	if f.tokens++; f.tokens%3 == 0 {
		return nil, "", false, errors.New("no ticket")
	}
	return []byte("next"), "u", f.tokens%3 == 1, nil
}
func (f *fakeTickets) VerifyMIC(_, _ []byte) error { return nil }
func (f *fakeTickets) DeleteSecContext() error     { return nil }

// expired is an error that asks for a new password.
type expired struct{}

func (expired) Error() string { return "expired" }
func (e expired) PasswordChange() (string, changeFunc) {
	return "new?", func(_ ConnMetadata, old, new []byte) (*Permissions, error) {
		if string(old) == "old" && string(new) == "new" {
			return nil, nil
		}
		return nil, e
	}
}

// patchedPair is a server with all methods of authentication, and a client that has
// exchanged keys and asked for the authentication service. ended gets what
// NewServerConn returned, and then, if that was no error, what Wait did.
func patchedPair(t testing.TB) (client *handshakeTransport, ended <-chan error) {
	here, there, err := netPipe()
	if err != nil {
		t.Fatal(err)
	}
	config := &ServerConfig{
		MaxAuthTries: 10,
		PasswordCallback: func(_ ConnMetadata, password []byte) (*Permissions, error) {
			switch string(password) {
			case "right":
				return nil, nil
			case "old":
				return nil, expired{}
			}
			return nil, errors.New("wrong")
		},
		KeyboardInteractiveCallback: func(_ ConnMetadata, ask KeyboardInteractiveChallenge) (*Permissions, error) {
			answers, err := ask("", "", []string{"?"}, []bool{false})
			if err == nil && answers[0] != "right" {
				err = errors.New("wrong")
			}
			return nil, err
		},
		GSSAPIWithMICConfig: &GSSAPIWithMICConfig{
			AllowLogin: func(ConnMetadata, string) (*Permissions, error) { return nil, errors.New("nobody") },
			Server:     &fakeTickets{},
		},
	}
	config.AddHostKey(testSigners["ed25519"])
	done := make(chan error, 2)
	go func() {
		defer close(done)
		sc, channels, requests, err := NewServerConn(there, config)
		if done <- err; err != nil {
			there.Close()
			return
		}
		go DiscardRequests(requests)
		go func() {
			for nc := range channels {
				ch, reqs, err := nc.Accept()
				if err != nil {
					continue
				}
				go DiscardRequests(reqs)
				go io.Copy(io.Discard, ch)
			}
		}()
		done <- sc.Wait()
	}()
	clientConfig := &ClientConfig{HostKeyCallback: InsecureIgnoreHostKey()}
	clientConfig.SetDefaults()
	version := []byte(packageVersion)
	theirs, err := exchangeVersions(here, slices.Clone(version))
	if err != nil {
		t.Fatal(err)
	}
	client = newClientTransport(newTransport(here, clientConfig.Rand, true), version, theirs, clientConfig, "", here.RemoteAddr())
	if err := client.waitSession(); err != nil {
		t.Fatal(err)
	}
	if err := client.writePacket(Marshal(&serviceRequestMsg{serviceUserAuth})); err != nil {
		t.Fatal(err)
	}
	return client, done
}

// next returns the next message that is no EXT_INFO and no banner.
func next(t testing.TB, client *handshakeTransport) []byte {
	t.Helper()
	for {
		p, err := client.readPacket()
		if err != nil {
			t.Fatalf("the connection has ended: %v", err)
		}
		if p[0] != msgExtInfo && p[0] != msgUserAuthBanner && p[0] != msgGlobalRequest {
			return p
		}
	}
}

func request(method string, payload ...byte) []byte {
	return Marshal(&userAuthRequestMsg{User: "u", Service: serviceSSH, Method: method, Payload: payload})
}

func password(password string) []byte {
	return request("password", slices.Concat([]byte{0}, Marshal(struct{ P string }{password}))...)
}

// TestUnimplementedNumbers: the answer to each unexpected message names it by its
// number, before and after the login.
func TestUnimplementedNumbers(t *testing.T) {
	client, ended := patchedPair(t)
	if p := next(t, client); p[0] != msgServiceAccept {
		t.Fatalf("message %d, want SERVICE_ACCEPT", p[0])
	}
	sequence := client.conn.(*transport).writer.seqNum // of the next message
	expect := func(message []byte) {
		t.Helper()
		if err := client.writePacket(message); err != nil {
			t.Fatal(err)
		}
		p := next(t, client)
		if p[0] != msgUnimplemented || binary.BigEndian.Uint32(p[1:]) != sequence {
			t.Fatalf("message %d was answered with %v, want UNIMPLEMENTED of %d", message[0], p, sequence)
		}
		sequence++
	}
	for range 3 {
		expect([]byte{75})
		expect([]byte{msgChannelOpen, 0, 0})
	}
	if client.writePacket(password("right")); next(t, client)[0] != msgUserAuthSuccess {
		t.Fatal("no login")
	}
	sequence++
	for range 3 {
		expect([]byte{200, 1, 2, 3})
		expect(Marshal(&serviceRequestMsg{serviceUserAuth}))
	}
	client.Close()
	for range ended {
	}
}

// TestKeyExchangeBeforeTheLogin: the server exchanges keys again only after the login.
func TestKeyExchangeBeforeTheLogin(t *testing.T) {
	client, ended := patchedPair(t)
	if p := next(t, client); p[0] != msgServiceAccept {
		t.Fatalf("message %d, want SERVICE_ACCEPT", p[0])
	}
	again := &kexInitMsg{KexAlgos: []string{KeyExchangeCurve25519}, ServerHostKeyAlgos: []string{KeyAlgoED25519}}
	if err := client.conn.writePacket(Marshal(again)); err != nil {
		t.Fatal(err)
	}
	if p := next(t, client); p[0] != msgUnimplemented {
		t.Fatalf("message %d, want UNIMPLEMENTED", p[0])
	}
	if client.writePacket(password("right")); next(t, client)[0] != msgUserAuthSuccess {
		t.Fatal("no login")
	}
	before := client.algorithms.Load()
	client.requestKeyExchange()
	for deadline := time.Now().Add(20 * time.Second); client.algorithms.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no exchange of keys after the login")
		}
	}
	client.writePacket([]byte{200})
	if p := next(t, client); p[0] != msgUnimplemented {
		t.Errorf("message %d after an exchange of keys, want UNIMPLEMENTED", p[0])
	}
	client.Close()
	for range ended {
	}
}

// TestUnexpectedAreBounded: a login takes no more than maxAuthServerAttempts messages
// that are not expected, and as many dialogues that are left as tries.
func TestUnexpectedAreBounded(t *testing.T) {
	for _, message := range [][]byte{{75}, {msgUnimplemented, 0, 0, 0, 0}, Marshal(&serviceRequestMsg{serviceUserAuth}), request("keyboard-interactive", make([]byte, 8)...)} {
		client, ended := patchedPair(t)
		go func() {
			for {
				if _, err := client.readPacket(); err != nil {
					return
				}
			}
		}()
		sent := 0
		for ; sent < 10*maxAuthServerAttempts; sent++ {
			if client.writePacket(slices.Clone(message)) != nil {
				break
			}
		}
		if err := <-ended; err == nil {
			t.Errorf("message %d: a login", message[0])
		}
		client.Close()
		for range ended {
		}
	}
}

// TestRequestsAreBounded: requests that nobody reads take little memory, as few
// wait and none is longer than 72 KiB. A request of 70 KiB is read.
func TestRequestsAreBounded(t *testing.T) {
	m := &mux{chanList: chanList{}}
	if n := cap(m.newChannel("session", channelInbound, nil).incomingRequests); n > 1 {
		t.Errorf("%d requests of a channel can wait", n)
	}
	here, there := memPipe()
	m = newMux(here)
	if n := cap(m.incomingRequests) + cap(m.incomingChannels); n > 9 {
		t.Errorf("%d requests of a connection can wait", n)
	}
	there.Close()
	client, ended := patchedPair(t)
	client.writePacket(password("right"))
	for next(t, client)[0] != msgUserAuthSuccess {
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	client.writePacket(Marshal(&globalRequestMsg{Type: "x", WantReply: true, Data: make([]byte, 70<<10)}))
	if p := next(t, client); p[0] != msgRequestFailure {
		t.Errorf("70 KiB: message %d, want REQUEST_FAILURE", p[0])
	}
	client.writePacket(Marshal(&globalRequestMsg{Type: "x", Data: make([]byte, 72<<10)}))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("a longer packet is taken")
	}
	client.Close()
	for range ended {
	}
}

// TestNothingRemains: of a connection that the client has filled with packets and that
// has then failed, before or after the login, no goroutine remains.
func TestNothingRemains(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, loggedIn := range []bool{false, true} {
		for range 20 {
			client, ended := patchedPair(t)
			if loggedIn {
				client.writePacket(password("right"))
			}
			client.writePacket([]byte{msgUserAuthRequest}) // malformed before the login
			for range 50 {
				client.writePacket([]byte{msgChannelData, 0, 0, 0, 9, 0, 0, 0, 0}) // of no channel
			}
			for range ended {
			}
			client.Close()
		}
	}
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
}

// FuzzMessages sends messages to a server, before or after a login. Whatever they
// are, the server ends the connection or continues, and does not hang or panic.
func FuzzMessages(f *testing.F) {
	script := func(loggedIn byte, messages ...[]byte) []byte {
		b := []byte{loggedIn}
		for _, m := range messages {
			b = append(append(b, byte(min(len(m), 255))), m[:min(len(m), 255)]...)
		}
		return b
	}
	service := Marshal(&serviceRequestMsg{serviceUserAuth})
	dialogue := request("keyboard-interactive", make([]byte, 8)...)
	ticket := request("gssapi-with-mic", slices.Concat([]byte{0, 0, 0, 1, 0, 0, 0, byte(len(krb5OID))}, []byte(krb5OID))...)
	change := request("password", slices.Concat([]byte{1}, Marshal(struct{ Old, New string }{"old", "new"}))...)
	open := Marshal(&channelOpenMsg{ChanType: "session", PeersID: 1, PeersWindow: 1 << 20, MaxPacketSize: 1 << 15})
	data := slices.Concat([]byte{msgChannelData}, Marshal(struct {
		ID   uint32
		Data string
	}{0, "data"}))
	for _, seed := range [][]byte{
		script(0, service, []byte{75}, service, password("wrong"), password("right")),
		script(0, dialogue, service, dialogue, password("old"), change, []byte{75}),
		script(0, ticket, []byte{msgUserAuthGSSAPIToken, 0, 0, 0, 1, 7}, ticket, []byte{61, 0, 0, 0, 1, 7}, []byte{66, 0, 0, 0, 0}, change),
		script(1, open, data, data, []byte{99, 0, 0, 0, 9}, []byte{200}, []byte{msgChannelClose, 0, 0, 0, 0}, data),
		script(1, open, []byte{95, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 7}, []byte{96, 0, 0, 0, 0}, []byte{3, 0, 0, 0, 0}, []byte{50}),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, messages []byte) {
		if len(messages) == 0 {
			return
		}
		client, ended := patchedPair(t)
		var reading sync.WaitGroup
		reading.Go(func() {
			for {
				if _, err := client.readPacket(); err != nil {
					return
				}
			}
		})
		if messages[0]&1 == 1 {
			client.writePacket(password("right"))
		}
		for rest := messages[1:]; len(rest) > 0; {
			n := min(int(rest[0]), len(rest)-1)
			if message := rest[1 : 1+n]; n > 0 && message[0] != msgKexInit && message[0] != msgNewKeys {
				if client.writePacket(slices.Clone(message)) != nil {
					break
				}
			}
			rest = rest[1+n:]
		}
		client.Close()
		reading.Wait()
		late := time.After(20 * time.Second)
		for {
			select {
			case _, more := <-ended:
				if !more {
					return
				}
			case <-late:
				t.Fatal("the server did not end")
			}
		}
	})
}
