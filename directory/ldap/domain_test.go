package ldap_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/miekg/dns"

	"berth/directory/ldap"
	"berth/test/peers"
)

// A zone is a name server that answers with the records it has just now.
type zone struct {
	addr string

	mu      sync.Mutex
	records []dns.RR
	rcode   int  // instead of an answer
	full    bool // UDP is too short for every answer
	asked   map[string]int
}

// newZone starts a name server for the time of a test.
func newZone(t testing.TB, records ...string) *zone {
	t.Helper()
	z := &zone{asked: map[string]int{}}
	z.set(t, records...)
	port, err := peers.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	z.addr = net.JoinHostPort("127.0.0.1", port)
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		srv := &dns.Server{Addr: z.addr, Net: network, Handler: z, NotifyStartedFunc: func() { close(started) }}
		ended := make(chan error, 1)
		go func() { ended <- srv.ListenAndServe() }()
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-started:
		}
		t.Cleanup(func() { _ = srv.Shutdown() })
	}
	return z
}

// set replaces the records, which are written as in a zone file.
func (z *zone) set(t testing.TB, records ...string) {
	t.Helper()
	var list []dns.RR
	for _, text := range records {
		record, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, record)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records, z.rcode = list, dns.RcodeSuccess
}

func (z *zone) fail(rcode int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcode = rcode
}

// tooLong makes every answer too long for UDP.
func (z *zone) tooLong() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.full = true
}

func (z *zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	reply := new(dns.Msg).SetRcode(question, z.rcode)
	q := question.Question[0]
	z.asked[strings.ToLower(q.Name)]++
	known := false
	for _, record := range z.records {
		if z.rcode != dns.RcodeSuccess || !strings.EqualFold(record.Header().Name, q.Name) {
			continue
		}
		known = true
		if record.Header().Rrtype == q.Qtype {
			reply.Answer = append(reply.Answer, record)
		}
	}
	if !known && z.rcode == dns.RcodeSuccess {
		reply.Rcode = dns.RcodeNameError
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && z.full && q.Qtype == dns.TypeSRV {
		reply.Answer, reply.Truncated = nil, true
	}
	_ = w.WriteMsg(reply)
}

func (z *zone) times(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[name]
}

// urls of the servers that a client knows.
func urls(c *ldap.Client) []string {
	var list []string
	for _, s := range c.Traffic() {
		list = append(list, s.URL)
	}
	return list
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func port(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// domainSettings are those for the servers that a zone names for example.test.
func domainSettings(p *peers.Peer, z *zone) ldap.Settings {
	s := settings(p)
	s.URLs, s.Base, s.Domain, s.Resolver, s.StartTLS = nil, "", "example.test", z.addr, true
	s.ProbeEvery = 20 * time.Millisecond
	return s
}

const localhost = "localhost. 1 IN A 127.0.0.1"

// TestDomain: DNS names the servers, and its records change while people log in.
// No look-up may fail.
func TestDomain(t *testing.T) {
	a, b := peers.OpenLDAP(t), peers.OpenLDAP(t)
	first := fmt.Sprintf("_ldap._tcp.example.test. 0 IN SRV 0 100 %s localhost.", port(t, a.LDAP))
	second := fmt.Sprintf("_ldap._tcp.example.test. 0 IN SRV 10 100 %s localhost.", port(t, b.LDAP))
	nowhere := "_ldap._tcp.example.test. 0 IN SRV 0 0 389 gone.example.test."
	z := newZone(t, second, first, localhost)
	z.tooLong()
	s := domainSettings(a, z)
	s.CAFile = bothAuthorities(t, a, b)
	c := open(t, s)
	urlA, urlB := "ldap://localhost:"+port(t, a.LDAP), "ldap://localhost:"+port(t, b.LDAP)

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			u, err := c.Lookup(ctx, "alice")
			if ctx.Err() == nil && (err != nil || len(u.Groups) == 0) {
				t.Errorf("Lookup = %v, %v while DNS changes, want alice", u, err)
				return
			}
		}
	})

	lists := func(want ...string) func() bool {
		return func() bool { return slices.Equal(urls(c), want) }
	}
	requests := func(url string) (n uint64) {
		for _, s := range c.Traffic() {
			if s.URL == url {
				n = s.Requests
			}
		}
		return n
	}
	eventually(t, "the servers in the order of priority", lists(urlA, urlB))
	if got := c.Settings().Base; got != "dc=example,dc=test" {
		t.Errorf("base %q, want the one of the domain", got)
	}
	eventually(t, "the first server is asked", func() bool { return requests(urlA) > 10 })

	z.fail(dns.RcodeServerFailure)
	asked := z.times("_ldap._tcp.example.test.")
	eventually(t, "DNS is asked while it fails", func() bool { return z.times("_ldap._tcp.example.test.") > asked+2 })
	if !lists(urlA, urlB)() {
		t.Errorf("after a failure of DNS the servers are %q, want those from before", urls(c))
	}

	z.set(t, localhost) // an empty list is a mistake in DNS, too
	asked = z.times("_ldap._tcp.example.test.")
	eventually(t, "DNS is asked while it names none", func() bool { return z.times("_ldap._tcp.example.test.") > asked+2 })
	if !lists(urlA, urlB)() {
		t.Errorf("without records the servers are %q, want those from before", urls(c))
	}

	z.set(t, second, localhost) // the first one is demoted
	eventually(t, "the demoted server leaves the list", lists(urlB))
	a.Kill()
	eventually(t, "the other server is asked", func() bool { return requests(urlB) > 10 })

	z.set(t, second, nowhere, localhost) // preferred, but its name has no address
	eventually(t, "a server without an address is listed", lists("ldap://gone.example.test", urlB))
	before := requests(urlB)
	eventually(t, "the other server is still asked", func() bool { return requests(urlB) > before+10 })
	if !strings.Contains(fmt.Sprint(c.Report(t.Context(), nil)), "gone.example.test") {
		t.Error("the report does not name the server that has no address")
	}

	// Preferred, and it answers, but its certificate has another name.
	wrong := fmt.Sprintf("_ldap._tcp.example.test. 0 IN SRV 0 0 %s wrong.example.test.", port(t, b.LDAP))
	z.set(t, second, wrong, localhost, "wrong.example.test. 1 IN A 127.0.0.1")
	urlWrong := "ldap://wrong.example.test:" + port(t, b.LDAP)
	eventually(t, "a server with another name is listed", lists(urlWrong, urlB))
	before = requests(urlB)
	eventually(t, "the other server is still asked", func() bool { return requests(urlB) > before+10 })
	if n := requests(urlWrong); n > 0 {
		t.Errorf("%d requests to a server whose certificate has another name", n)
	}
}

// bothAuthorities writes the authorities of two servers into one file.
func bothAuthorities(t testing.TB, a, b *peers.Peer) string {
	t.Helper()
	var all []byte
	for _, p := range []*peers.Peer{a, b} {
		text, err := os.ReadFile(p.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDomainReport reads what check prints about a domain.
func TestDomainReport(t *testing.T) {
	p := peers.OpenLDAP(t)
	good := fmt.Sprintf("_ldap._tcp.example.test. 3600 IN SRV 5 100 %s localhost.", port(t, p.LDAP))
	for _, tt := range []struct {
		name    string
		records []string
		change  func(*ldap.Settings)
		want    []string
	}{
		{"good", []string{good, localhost}, nil, []string{
			"ok: domain example.test: servers in DNS (_ldap._tcp.example.test): 1; asked again after 1h0m0s", "ok: server ldap://localhost:",
		}},
		{"no records", []string{localhost}, nil, []string{
			"bad: domain example.test: ask DNS for _ldap._tcp.example.test: DNS has no such records",
		}},
		{"not offered", []string{"_ldap._tcp.example.test. 1 IN SRV 0 0 0 ."}, nil, []string{"DNS has no such records"}},
		{"the certificate has another name", []string{
			good, "wrong.example.test. 1 IN A 127.0.0.1",
			fmt.Sprintf("_ldap._tcp.example.test. 1 IN SRV 0 0 %s wrong.example.test.", port(t, p.LDAP)),
		}, nil, []string{
			"bad: server ldap://wrong.example.test:", "not wrong.example.test; the certificate is for localhost, ldap.example.test, dc1.ad.example.test: give the server one for the name that DNS has",
		}},
		{"another domain and public authorities", []string{good, "_ldap._tcp.example.test. 1 IN SRV 0 0 636 ldap.example.test."}, func(s *ldap.Settings) { s.CAFile = "" }, []string{
			"warning: domain example.test: localhost is not used: it is not in the domain, so ca_file must say who signs its certificate",
		}},
		{"another domain only", []string{good}, func(s *ldap.Settings) { s.CAFile = "" }, []string{
			"bad: domain example.test: domain example.test: DNS names no server that can be used: localhost is not used",
		}},
		{"without StartTLS", []string{"_ldap._tcp.example.test. 1 IN SRV 0 0 389 gone.example.test."}, func(s *ldap.Settings) { s.StartTLS = false }, []string{
			"bad: server ldaps://gone.example.test: ",
		}},
		{"the resolver does not answer", nil, func(s *ldap.Settings) { s.Resolver = "127.0.0.1:1" }, []string{
			"bad: domain example.test: ask DNS for _ldap._tcp.example.test: ", "connection refused",
		}},
		{"beside URLs", []string{good, localhost}, func(s *ldap.Settings) { s.URLs = []string{p.LDAP} }, []string{
			"ok: server " + p.LDAP, "ok: server ldap://localhost:",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := domainSettings(p, newZone(t, tt.records...))
			if tt.change != nil {
				tt.change(&s)
			}
			c := open(t, s)
			if tt.name == "beside URLs" {
				eventually(t, "DNS has been asked", func() bool { return len(urls(c)) == 2 })
			}
			text := reportText(c.Report(t.Context(), nil))
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("the report has no %q:\n%s", want, text)
				}
			}
		})
	}
}

func reportText(findings []ldap.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%v: %s: %s\n", f.Level, f.What, f.Detail)
	}
	return b.String()
}

// TestSite has a scripted domain controller say in which site this host is.
func TestSite(t *testing.T) {
	pinged := make(chan []byte, 10)
	reply := append([]byte{23, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16)...)
	for _, name := range []string{"example.test.", "example.test.", "dc9.example.test.", "EXAMPLE.", "DC9.", ".", "Berlin.", "Hamburg."} {
		packed := make([]byte, 300)
		n, err := dns.PackDomainName(name, packed, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		reply = append(reply, packed[:n]...)
	}
	udp := netlogonServer(t, reply, pinged)

	records := []string{
		localhost,
		"_ldap._tcp.dc._msdcs.example.test. 600 IN SRV 0 100 " + udp + " localhost.",
		"_ldap._tcp.dc._msdcs.example.test. 600 IN SRV 0 100 389 dc1.example.test.",
		"_ldap._tcp.dc._msdcs.example.test. 600 IN SRV 0 100 389 dc2.example.test.",
		"_ldap._tcp.Hamburg._sites.dc._msdcs.example.test. 300 IN SRV 1 100 389 dc2.example.test.",
		"_ldap._tcp.Hamburg._sites.dc._msdcs.example.test. 300 IN SRV 0 100 389 dc3.example.test.",
	}
	z := newZone(t, records...)
	_, caFile := tlsServer(t, time.Now())
	s := ldap.Settings{Kind: "active_directory", Domain: "example.test", Resolver: z.addr, CAFile: caFile, PoolSize: 1, MaxKeys: 1}
	c := open(t, s)
	eventually(t, "servers", func() bool { return len(urls(c)) > 0 })
	got := urls(c)
	if len(got) != 4 || got[0] != "ldaps://dc3.example.test" || got[1] != "ldaps://dc2.example.test" {
		t.Errorf("servers %q, want dc3 and dc2, which are in the site, and then the others", got)
	}
	if ping := string(<-pinged); !strings.Contains(ping, "DnsDomain") || !strings.Contains(ping, "example.test") || !strings.Contains(ping, "Netlogon") {
		t.Errorf("the controller was asked %q", ping)
	}
	if text := reportText(c.Report(t.Context(), nil)); !strings.Contains(text, ": 4, 2 of them in the site Hamburg of this host; asked again after 5m0s") {
		t.Errorf("the report does not show the site:\n%s", text)
	}

	t.Run("no answer", func(t *testing.T) {
		z := newZone(t, records[2:]...) // no controller that answers over UDP has an address
		s := s
		s.Resolver = z.addr
		c := open(t, s)
		eventually(t, "servers", func() bool { return len(urls(c)) == 2 })
		if text := reportText(c.Report(t.Context(), nil)); !strings.Contains(text, "warning: domain example.test: the site of this host is not known, so no server is preferred") {
			t.Errorf("the report does not say that the site is not known:\n%s", text)
		}
	})
}

// netlogonServer answers every search over UDP with one value of Netlogon, and returns
// its port.
func netlogonServer(t *testing.T, value []byte, pinged chan<- []byte) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = pc.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pinged <- slices.Clone(b[:n])
			_, _ = pc.WriteTo(entryOf("Netlogon", value), from)
		}
	})
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	return port
}

// entryOf is a search result entry with one value.
func entryOf(name string, value []byte) []byte {
	text := func(b string) *ber.Packet {
		return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, b, "")
	}
	values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
	values.AppendChild(text(string(value)))
	attribute, attributes := ber.NewSequence(""), ber.NewSequence("")
	attribute.AppendChild(text(name))
	attribute.AppendChild(values)
	attributes.AppendChild(attribute)
	entry := ber.Encode(ber.ClassApplication, ber.TypeConstructed, 4, nil, "")
	entry.AppendChild(text(""))
	entry.AppendChild(attributes)
	message := ber.NewSequence("")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	message.AppendChild(entry)
	return message.Bytes()
}

// TestSambaDomain finds a real domain by its own DNS, and its site by its own answer
// over UDP.
func TestSambaDomain(t *testing.T) {
	p := peers.Samba(t)
	s := settings(p)
	s.URLs, s.Base, s.Domain, s.Resolver = nil, "", p.Domain, p.Resolver
	c := open(t, s)
	u, err := c.Lookup(t.Context(), "alice")
	if err != nil || len(u.Groups) == 0 {
		t.Fatalf("Lookup = %v, %v, want alice", u, err)
	}
	if err := c.Authenticate(t.Context(), u, peers.Password("alice")); err != nil {
		t.Errorf("Authenticate = %v, want nil", err)
	}
	text := reportText(c.Report(t.Context(), nil))
	for _, want := range []string{
		"ok: domain ad.example.test: servers in DNS (_ldap._tcp.dc._msdcs.ad.example.test): 1, 1 of them in the site Default-First-Site-Name of this host; asked again after 15m0s",
		": certificate of ldaps://dc1.ad.example.test: CN=localhost < ",
		"ok: controller ldaps://dc1.ad.example.test: site Default-First-Site-Name; functional level 2008 R2, of the domain 2008 R2, of the forest 2008 R2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}
}
