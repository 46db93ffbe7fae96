package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"

	"berth/directory"
)

// A script is an LDAP server in memory that behaves as the test sets it. In a
// bubble of synctest its delays cost no time and are exact.
type script struct {
	mu      sync.Mutex
	open    map[net.Conn]bool
	lost    map[net.Conn]bool // a firewall has dropped the connection: what is sent does not arrive
	stopped bool              // it takes connections and says nothing, as after SIGSTOP
	refuses bool              // it takes no connections
	breaks  bool              // it closes a connection when a search or a change comes
	empty   bool              // it has no entries, not even the base
	strange bool              // it does not know the service account
	slow    time.Duration     // each search below a base takes
	pieces  bool              // its answer begins at once
	binds   int
	dialled int
}

func (s *script) dial(context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialled++
	if s.refuses {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	if s.open == nil {
		s.open, s.lost = map[net.Conn]bool{}, map[net.Conn]bool{}
	}
	s.open[server] = true
	go s.serve(server)
	return client, nil
}

func (s *script) serve(nc net.Conn) {
	defer func() {
		nc.Close()
		s.set(func() { delete(s.open, nc) })
	}()
	for {
		req, err := ber.ReadPacket(nc)
		if err != nil {
			return
		}
		op := req.Children[1]
		s.mu.Lock()
		silent, slow, pieces, breaks := s.stopped || s.lost[nc], s.slow, s.pieces, s.breaks
		code := ldap.LDAPResultSuccess
		if s.empty && op.Tag == ldap.ApplicationSearchRequest && op.Children[0].Value != "" {
			code = ldap.LDAPResultNoSuchObject
		}
		if s.strange && op.Tag == ldap.ApplicationBindRequest {
			code = ldap.LDAPResultInvalidCredentials
		}
		if op.Tag == ldap.ApplicationBindRequest {
			s.binds++
		}
		s.mu.Unlock()
		if silent {
			continue
		}
		if breaks && op.Tag != ldap.ApplicationBindRequest {
			return
		}
		reply := ber.Tag(ldap.ApplicationSearchResultDone)
		switch {
		case op.Tag == ldap.ApplicationBindRequest:
			reply = ldap.ApplicationBindResponse
		case op.Tag == ldap.ApplicationUnbindRequest:
			return
		case op.Children[0].Value != "" && !pieces:
			time.Sleep(slow)
		}
		answer := ber.Encode(ber.ClassApplication, ber.TypeConstructed, reply, nil, "")
		answer.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
		answer.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
		answer.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
		m := ber.NewSequence("")
		m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, req.Children[0].Value, ""))
		m.AppendChild(answer)
		rest := m.Bytes()
		for op.Tag == ldap.ApplicationSearchRequest && pieces && len(rest) > 1 {
			if _, err := nc.Write(rest[:1]); err != nil {
				return
			}
			rest = rest[1:]
			time.Sleep(slow / 10)
		}
		if _, err := nc.Write(rest); err != nil {
			return
		}
	}
}

// set changes how the server behaves.
func (s *script) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// dials returns how many connections were asked for.
func (s *script) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dialled
}

// lose has every open connection forgotten.
func (s *script) lose() {
	s.set(func() {
		for nc := range s.open {
			s.lost[nc] = true
		}
	})
}

// inBubble runs a test with a client of scripted servers, with the limits of the
// defaults.
func inBubble(t *testing.T, servers int, test func(t *testing.T, c *Client, s []*script)) {
	synctest.Test(t, func(t *testing.T) {
		settings := Settings{Kind: "embedded", Base: "dc=x", BindDN: "cn=svc", BindPassword: "x"}.Complete()
		c := &Client{settings: settings, kind: kinds["embedded"], log: hclog.NewNullLogger(), now: time.Now}
		var scripts []*script
		var list []*server
		for i := range servers {
			s := &script{}
			scripts = append(scripts, s)
			list = append(list, &server{url: fmt.Sprint("server ", i+1), dial: s.dial})
		}
		c.pool = newPool(c, list)
		test(t, c, scripts)
		for _, s := range scripts { // so that closing connections need not wait
			s.set(func() { s.stopped = false; clear(s.lost) })
		}
		c.pool.close()
		synctest.Wait()
	})
}

// atOnce runs n searches at the same time and returns how long the longest took.
// None may fail.
func atOnce(t *testing.T, c *Client, n int) time.Duration {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := c.search(t.Context(), request("dc=x", ldap.ScopeBaseObject, "(uid=a)", 1)); err != nil {
				t.Errorf("search = %v, want an answer", err)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// TestLostConnections has idle connections that are lost without notice. A new
// connection works, so nobody is refused and nobody waits for a whole limit.
func TestLostConnections(t *testing.T) {
	for _, idle := range []time.Duration{0, 999 * time.Millisecond, time.Second, 30 * time.Second} {
		t.Run(idle.String(), func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
				s[0].set(func() { s[0].slow = time.Millisecond })
				atOnce(t, c, 6)
				s[0].lose()
				time.Sleep(idle)
				longest := minPatience + 10*time.Millisecond
				if idle < checkAfter { // no question comes before the request
					longest += c.settings.RequestTimeout
				}
				if took := atOnce(t, c, 6); took > longest {
					t.Errorf("searches over lost connections took %v, want at most %v", took, longest)
				}
				synctest.Wait()
				if c.pool.isDown(c.pool.servers[0]) {
					t.Error("the server counts as down")
				}
				if took := atOnce(t, c, 6); took > 10*time.Millisecond {
					t.Errorf("searches afterwards took %v", took)
				}
			})
		})
	}
}

// TestStoppedServer stops the first of two servers as SIGSTOP does, with
// connections in the pool or without: the other one is asked soon, and by those
// who come later at once.
func TestStoppedServer(t *testing.T) {
	for _, idle := range []time.Duration{0, 2 * time.Second, 2 * maxIdle} {
		t.Run(idle.String(), func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
				atOnce(t, c, 20)
				time.Sleep(idle)
				s[0].set(func() { s[0].stopped = true })
				if took := atOnce(t, c, 20); took > 2*minPatience {
					t.Errorf("20 searches took %v, want at most %v", took, 2*minPatience)
				}
				if took := atOnce(t, c, 20); took > 10*time.Millisecond {
					t.Errorf("20 searches later took %v, want no wait", took)
				}
				before := s[0].dials()
				time.Sleep(10 * time.Second)
				if got, most := s[0].dials()-before, 10; got > most || got == 0 {
					t.Errorf("%d connections to the stopped server in 10 s, want 1 to %d", got, most)
				}
				s[0].set(func() { s[0].stopped = false })
				time.Sleep(c.settings.ConnectTimeout + 2*c.settings.ProbeEvery)
				before = s[1].dials()
				atOnce(t, c, 20)
				if s[1].dials() > before || c.pool.isDown(c.pool.servers[0]) {
					t.Error("the first server is back, but not asked")
				}
			})
		})
	}
}

// TestEmptyServer has servers before the last that answer, but have no data, as a replica
// before its first copy: people are looked up on the last one, until the first has the base.
func TestEmptyServer(t *testing.T) {
	for _, empty := range []int{1, 2} {
		inBubble(t, empty+1, func(t *testing.T, c *Client, s []*script) {
			for _, s := range s[:empty] {
				s.set(func() { s.empty = true })
			}
			for range 3 {
				if _, err := c.Lookup(t.Context(), "alice"); !errors.Is(err, directory.ErrNoUser) {
					t.Errorf("%d empty: Lookup = %v, want the answer of the last server", empty, err)
				}
				time.Sleep(3 * c.settings.ProbeEvery)
				if first := c.Traffic()[0]; first.Up || first.Failures != 1 {
					t.Errorf("%d empty: the first counts as up: %t, failures: %d", empty, first.Up, first.Failures)
				}
			}
			s[0].set(func() { s[0].empty = false })
			time.Sleep(2 * c.settings.ProbeEvery)
			if !c.Traffic()[0].Up {
				t.Errorf("%d empty: the first has the base now, but counts as down", empty)
			}
		})
	}
}

// TestEmptyDirectory has no server with data: that is no answer about anybody.
func TestEmptyDirectory(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		s[0].set(func() { s[0].empty = true })
		for range 3 {
			for _, ask := range []func() error{
				func() error { _, err := c.Lookup(t.Context(), "alice"); return err },
				func() error { return c.Ping(t.Context()) },
			} {
				if err := ask(); err == nil || directory.Refused(err) || !strings.Contains(err.Error(), `base "dc=x" does not exist`) {
					t.Errorf("got %v, want an error about the base that is no refusal", err)
				}
			}
		}
	})
}

// TestBrokenChange has the only server end the connection at a change of a password, as when
// it is restarted. It failed at once, so it is asked again at once.
func TestBrokenChange(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		u := &directory.User{Name: "alice", DN: "uid=alice,dc=x", State: directory.State{Status: directory.StatusActive}}
		s[0].set(func() { s[0].breaks = true })
		if err := c.ChangePassword(t.Context(), u, "old", "new"); err == nil || directory.Refused(err) {
			t.Errorf("ChangePassword = %v, want an error that is no refusal", err)
		}
		s[0].set(func() { s[0].breaks = false })
		if _, err := c.Lookup(t.Context(), "alice"); !errors.Is(err, directory.ErrNoUser) {
			t.Errorf("Lookup afterwards = %v, want an answer", err)
		}
	})
}

// TestStrangeServer has the first server come back without the service account, as one that is
// set up anew. The probe that finds out must not keep anybody from using the other one.
func TestStrangeServer(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
		s[0].set(func() { s[0].refuses = true })
		atOnce(t, c, 1)
		s[0].set(func() { s[0].refuses, s[0].strange = false, true })
		start := time.Now()
		for range 5 {
			time.Sleep(2 * c.settings.ProbeEvery)
			atOnce(t, c, 20)
			s[1].lose() // so that connections are made again
			time.Sleep(2 * maxIdle)
		}
		s[0].set(func() {
			if most := 1 + int(time.Since(start)/rebind); s[0].binds == 0 || s[0].binds > most {
				t.Errorf("the first server got %d binds, want 1 to %d: one for each %v", s[0].binds, most, rebind)
			}
		})
	})
}

// TestOnlyServerStops: nobody waits for longer than the limits, and later
// callers do not wait at all. When the server continues, all of them succeed
// again.
func TestOnlyServerStops(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		atOnce(t, c, 20)
		s[0].set(func() { s[0].stopped = true })
		start := time.Now()
		if _, err := c.search(t.Context(), request("dc=x", ldap.ScopeBaseObject, "(uid=a)", 1)); err == nil || answered(err) {
			t.Errorf("search = %v, want no answer", err)
		}
		if took, limit := time.Since(start), c.settings.RequestTimeout+c.settings.ConnectTimeout; took > limit {
			t.Errorf("search took %v, want at most %v", took, limit)
		}
		start = time.Now()
		if _, err := c.search(t.Context(), request("dc=x", ldap.ScopeBaseObject, "(uid=a)", 1)); err == nil || time.Since(start) > 0 {
			t.Errorf("search after that = %v in %v, want an error at once", err, time.Since(start))
		}
		s[0].set(func() { s[0].stopped = false })
		time.Sleep(c.settings.ConnectTimeout + 2*c.settings.ProbeEvery)
		if took := atOnce(t, c, 20); took > 10*time.Millisecond {
			t.Errorf("20 searches when the server is back took %v", took)
		}
	})
}

// TestSlowSearch has searches that take long be no reason to leave a server.
func TestSlowSearch(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
		s[0].set(func() { s[0].slow = 4 * time.Second })
		for range 3 {
			atOnce(t, c, 8)
		}
		if s[1].dials() > 0 || c.pool.isDown(c.pool.servers[0]) {
			t.Errorf("the second server was asked %d times, want the first to be asked", s[1].dials())
		}
	})
}

// TestSlowConnect has a server that needs long to connect be asked all the same,
// when no other is there, and as the first one when it always needs as long.
func TestSlowConnect(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
		dial := c.pool.servers[0].dial
		c.pool.servers[0].dial = func(ctx context.Context) (net.Conn, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(3 * time.Second):
				return dial(ctx)
			}
		}
		s[1].set(func() { s[1].refuses = true })
		if took := atOnce(t, c, 8); took > minPatience+3*time.Second {
			t.Errorf("searches took %v", took)
		}
		s[1].set(func() { s[1].refuses = false })
		time.Sleep(2 * maxIdle)
		before := s[1].dials()
		atOnce(t, c, 8)
		if s[1].dials() > before {
			t.Error("the second server was asked, though the first was as slow as always")
		}
	})
}

// TestEmptyPasswords are refused before anything is sent: a bind without a
// password succeeds at many servers (RFC 4513, section 5.1.2).
func TestEmptyPasswords(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		u := &directory.User{Name: "alice", DN: "uid=alice,dc=x"}
		for name, err := range map[string]error{
			"Authenticate":   c.Authenticate(t.Context(), u, ""),
			"ChangePassword": c.ChangePassword(t.Context(), u, "", "N3w-Passw0rd!"),
		} {
			if !errors.Is(err, directory.ErrBadPassword) || directory.Proved(err) {
				t.Errorf("%s = %v, want ErrBadPassword, not proved", name, err)
			}
		}
		if n := s[0].dials(); n > 0 {
			t.Errorf("%d connections, want none", n)
		}
	})
}

// TestIdleConnectionsEnd has connections that are not needed any more end, though
// one is in use all the time.
func TestIdleConnectionsEnd(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		s[0].set(func() { s[0].slow = time.Millisecond })
		atOnce(t, c, 5)
		for range 10 {
			time.Sleep(maxIdle / 5)
			atOnce(t, c, 1)
		}
		c.pool.mu.Lock()
		defer c.pool.mu.Unlock()
		if n := len(c.pool.idle); n != 1 {
			t.Errorf("%d idle connections after %v with one request at a time, want 1", n, 2*maxIdle)
		}
		if n := s[0].dials(); n != 5 {
			t.Errorf("%d connections in all, want the first 5", n)
		}
	})
}

// TestStreamIsNoSilence has a long answer that comes in pieces be no reason to
// probe the server.
func TestStreamIsNoSilence(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		atOnce(t, c, 1)
		s[0].set(func() { s[0].slow, s[0].pieces = 3*time.Second, true })
		before := s[0].dials()
		atOnce(t, c, 1)
		if n := s[0].dials() - before; n > 0 {
			t.Errorf("%d connections besides the one that is busy, want none", n)
		}
	})
}

// TestCure names the attributes to index, and no others.
func TestCure(t *testing.T) {
	r := reporter{c: testClient(Settings{Kind: "active_directory", LoginAttributes: []string{"uid"}, MemberAttributes: []string{"member"}, MemberUIDAttribute: none})}
	got := r.cure(ldap.NewError(ldap.LDAPResultAdminLimitExceeded, errors.New("")))
	if want := "; have the server index uid, member for equality, or raise the limits of the service account"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.cure(ldap.NewError(ldap.LDAPResultBusy, errors.New(""))); got != "" {
		t.Errorf("busy: got %q, want nothing", got)
	}
}

// TestRefusedTLS leaves no connection behind when TLS cannot be started.
func TestRefusedTLS(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		c.settings.StartTLS = true
		if _, err := c.search(t.Context(), request("dc=x", ldap.ScopeBaseObject, "(uid=a)", 1)); err == nil {
			t.Error("search without TLS = nil, want an error")
		}
		synctest.Wait()
		s[0].mu.Lock()
		defer s[0].mu.Unlock()
		if n := len(s[0].open); n > 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

// TestGivenBackAfterTheEnd has a search that ends after the client is closed. Its
// connection is closed too.
func TestGivenBackAfterTheEnd(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, _ []*script) {
		cn, err := c.pool.take(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		c.pool.close()
		c.pool.put(cn, nil)
		if !cn.IsClosing() || len(c.pool.idle) > 0 {
			t.Errorf("closing: %t, idle: %d; want the connection closed", cn.IsClosing(), len(c.pool.idle))
		}
	})
}

// TestGivenBack has searches that end in several ways. The connection is kept if
// the server has only refused something.
func TestGivenBack(t *testing.T) {
	for want, errs := range map[bool][]error{
		true:  {nil, ldap.NewError(ldap.LDAPResultNoSuchObject, errors.New("x")), fmt.Errorf("y: %w", ldap.NewError(ldap.LDAPResultSizeLimitExceeded, errors.New("x")))},
		false: {ldap.NewError(ldap.LDAPResultOperationsError, errors.New("x")), ldap.NewError(ldap.LDAPResultBusy, errors.New("x")), errNoAnswer},
	} {
		for _, ended := range errs {
			inBubble(t, 1, func(t *testing.T, c *Client, _ []*script) {
				cn, err := c.pool.take(t.Context(), false)
				if err != nil {
					t.Fatal(err)
				}
				c.pool.put(cn, ended)
				if kept := len(c.pool.idle) == 1; kept != want || cn.IsClosing() == want {
					t.Errorf("after %v: kept %t, closing %t; want it kept: %t", ended, kept, cn.IsClosing(), want)
				}
			})
		}
	}
}

// TestRefusesNoMore has the only server refuse connections and accept them again. It
// is asked at once, not only by the next probe.
func TestRefusesNoMore(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, c *Client, s []*script) {
		s[0].set(func() { s[0].refuses = true })
		if _, err := c.pool.take(t.Context(), false); err == nil {
			t.Fatal("a connection to a server that refuses them")
		}
		s[0].set(func() { s[0].refuses = false })
		if took := atOnce(t, c, 1); took > 0 {
			t.Errorf("a search took %v, want no wait", took)
		}
	})
}

// TestClosedConnection closes a connection of the pool during a search. The search
// is made again over a new one, and the server does not count as down.
func TestClosedConnection(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
		atOnce(t, c, 1)
		s[0].set(func() { s[0].slow = 200 * time.Millisecond })
		var wg sync.WaitGroup
		wg.Go(func() { atOnce(t, c, 1) })
		time.Sleep(100 * time.Millisecond)
		s[0].set(func() {
			for nc := range s[0].open {
				nc.Close()
			}
		})
		wg.Wait()
		if n, other := s[0].dials(), s[1].dials(); n != 2 || other != 0 || c.pool.isDown(c.pool.servers[0]) {
			t.Errorf("%d connections to the server and %d to the other one, down: %t; want 2, 0, false", n, other, c.pool.isDown(c.pool.servers[0]))
		}
	})
}

// TestDyingServer kills the first of two servers. Its connections break when they are used,
// several after each other; new ones are refused, or break as well, because a process of
// the server lives longer than the others. No request may fail.
func TestDyingServer(t *testing.T) {
	for _, refuses := range []bool{true, false} {
		t.Run(fmt.Sprint("refuses ", refuses), func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
				s[0].set(func() { s[0].slow = time.Millisecond })
				atOnce(t, c, 6)
				s[0].set(func() { s[0].breaks, s[0].refuses = true, refuses })
				atOnce(t, c, 1)
				atOnce(t, c, 6)
				if !c.pool.isDown(c.pool.servers[0]) || s[1].dials() == 0 {
					t.Error("the server that breaks every connection does not count as down")
				}
			})
		})
	}
}
