package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

func TestLogin(t *testing.T) {
	f := newFixture(t)
	b, _ := f.in(t, "rita", "10.0.0.1")
	if c := b.cookie; c.Name != "__Host-berth" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || len(c.Value) != 64 {
		t.Errorf("cookie: %v", c)
	}
	if got := f.events.of(event.LoginAccepted); !slices.Equal(got, []string{"rita"}) {
		t.Errorf("events of logins: %q", got)
	}
	f.events.mu.Lock()
	if e := f.events.all[0]; e.Service != "console_read" || e.Session == "" || e.Remote.Addr().String() != "10.0.0.1" || e.Method != "keyboard-interactive" || e.Fields["rules"] != "readers" {
		t.Errorf("event: %+v", e)
	}
	f.events.mu.Unlock()
	page := text(t, b.do("/", nil))
	if !strings.Contains(page, "&lt;script&gt;alice") || strings.Contains(page, "<script>alice") || !strings.Contains(page, `<progress aria-label="/big" value="5" max="10">`) {
		t.Errorf("page:\n%s", page)
	}
}

// TestRefusedLogins: people who may not use the console get no cookie, and nobody
// learns which names exist.
func TestRefusedLogins(t *testing.T) {
	f := newFixture(t)
	answers := map[string]string{}
	for name, want := range map[string]struct {
		password string
		reason   event.Type
		text     string
	}{
		"rita":  {"wrong", event.LoginRejected, ""},
		"ghost": {"wrong", event.LoginRejected, ""},
		"alice": {"right", event.LoginDenied, "You have no access to this server."},
		"dave":  {"right", event.LoginRejected, "disabled"},
		"erin":  {"right", event.LoginRejected, ""},
		"tom":   {"right", event.LoginRejected, ""},
		"":      {"right", event.LoginRejected, ""},
	} {
		b := f.browser("10.0.1." + string(rune('1'+len(answers))))
		res := b.login(name, want.password)
		page := text(t, res)
		if res.StatusCode != http.StatusForbidden || b.cookie != nil || !strings.Contains(page, want.text) {
			t.Errorf("%q: %s, cookie %v\n%s", name, res.Status, b.cookie, page)
		}
		answers[name] = page
		if got := f.events.of(want.reason); !slices.ContainsFunc(got, func(e string) bool { return strings.HasPrefix(e, name) }) {
			t.Errorf("%q: events %q", name, got)
		}
	}
	if answers["rita"] != answers["ghost"] || answers["rita"] != answers["tom"] {
		t.Errorf("a wrong password, an unknown name and a method that is not accepted get different answers:\n%s\n%s\n%s", answers["rita"], answers["ghost"], answers["tom"])
	}
	if got := f.events.of(event.LoginAccepted); len(got) > 0 {
		t.Errorf("accepted: %q", got)
	}
}

// TestPenaltiesAndShield: an address that fails too often is kept out, over SSH as well,
// and so is a name whose passwords are guessed.
func TestPenaltiesAndShield(t *testing.T) {
	f := newFixture(t)
	source := netip.MustParseAddr("10.0.0.9")
	for range 50 {
		f.browser("10.0.0.9").login("rita", "wrong")
	}
	if got := f.events.of(event.ConnectionRefused); !slices.Contains(got, "source_penalized") {
		t.Errorf("refused at once: %q", got)
	}
	if f.Gate.State.Barred(source) == nil {
		t.Error("the address has no penalty that SSH would see")
	}
	before := f.people.binds
	if res := f.browser("10.0.0.9").login("rita", "right"); res.StatusCode != http.StatusForbidden || f.people.binds != before {
		t.Errorf("from there the right password gets %s, with %d binds more", res.Status, f.people.binds-before)
	}

	f = newFixture(t)
	f.Gate.Directory = directory.NewShield(f.people, 3, time.Hour)
	for i := range 6 {
		f.browser("10.0.2."+string(rune('1'+i))).login("rita", "wrong")
	}
	if got := f.events.of(event.LoginShielded); len(got) == 0 || f.people.binds > 3 {
		t.Errorf("shielded: %q, after %d binds", got, f.people.binds)
	}
}

// TestStrangers: without a session there is nothing but the login page.
func TestStrangers(t *testing.T) {
	f := newFixture(t)
	b := f.browser("10.0.0.1")
	for _, path := range []string{"/", "/stream", "/events", "/folders", "/folders/report?job=1", "/result?job=1", "/rules", "/kick?session=0123456789abcdef", "/drain"} {
		if res := b.do(path, nil); res.Header.Get("Location") != "/login" {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	for _, path := range []string{"/kick", "/drain", "/folders", "/rules", "/logout"} {
		if res := b.do(path, url.Values{"session": {"0123456789abcdef"}, "csrf": {""}}); res.Header.Get("Location") != "/login" {
			t.Errorf("POST %s: %s", path, res.Status)
		}
	}
	b.cookie = &http.Cookie{Name: "__Host-berth", Value: strings.Repeat("0", 64)}
	if !b.out() || len(f.operators.done) > 0 {
		t.Errorf("a cookie that nobody got is accepted; done: %q", f.operators.done)
	}
	for _, path := range []string{"/login", "/console.css", "/console.js", "/", "/nothing"} {
		h := b.do(path, nil).Header
		csp := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Strict-Transport-Security") == "" || h.Get("Cache-Control") == "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	all, err := files.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		name := f.Name()
		source, err := files.ReadFile("page/" + name)
		if err != nil || regexp.MustCompile(`(?i) style=| on[a-z]+=|<style|<script>|(src|href)="?https?:`).Match(source) {
			t.Errorf("%s: has inline style or script, or an address elsewhere: %v", name, err)
		}
	}
}

// TestForgedRequests: a form of another site, or without this session's token, does
// nothing.
func TestForgedRequests(t *testing.T) {
	f := newFixture(t)
	root, csrf := f.in(t, "root", "10.0.0.1")
	_, others := f.in(t, "rita", "10.0.0.2")
	id := "0123456789abcdef"
	for name, form := range map[string]url.Values{
		"no token":           {"session": {id}},
		"an empty token":     {"session": {id}, "csrf": {""}},
		"somebody's token":   {"session": {id}, "csrf": {others}},
		"a token in the URL": {"session": {id}, "csrf": {csrf[:63]}},
	} {
		if res := root.do("/kick?csrf="+csrf, form); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}} {
		root.header = header
		for _, path := range []string{"/kick", "/login", "/logout"} {
			if res := root.do(path, url.Values{"session": {id}, "csrf": {csrf}, "name": {"root"}, "password": {"right"}}); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %v: %s", path, header, res.Status)
			}
		}
	}
	root.header = nil
	if res := root.do("/kick?session="+id+"&csrf="+csrf, nil); res.StatusCode != http.StatusOK || !strings.Contains(text(t, res), "End the session of &lt;script&gt;alice") {
		t.Errorf("GET of /kick: %s", res.Status)
	}
	if len(f.operators.done) > 0 || root.out() {
		t.Errorf("done: %q; logged out: %t", f.operators.done, root.out())
	}
}

// TestOperators end sessions and drain; others only look.
func TestOperators(t *testing.T) {
	f := newFixture(t)
	root, csrf := f.in(t, "root", "10.0.0.1")
	rita, hers := f.in(t, "rita", "10.0.0.2")
	id := "0123456789abcdef"
	if res := rita.do("/kick", url.Values{"session": {id}, "csrf": {hers}}); res.StatusCode != http.StatusForbidden {
		t.Errorf("a reader ends a session: %s", res.Status)
	}
	if page := text(t, rita.do("/", nil)); strings.Contains(page, "/kick") || strings.Contains(page, "/drain") {
		t.Errorf("a reader sees what only operators may do:\n%s", page)
	}
	if page := text(t, root.do("/", nil)); !strings.Contains(page, "/kick?session="+id) || !strings.Contains(page, "/drain") {
		t.Errorf("an operator does not see it:\n%s", page)
	}
	for _, gone := range []string{"", "ffffffffffffffff", "<script>alice"} {
		if res := root.do("/kick", url.Values{"session": {gone}, "csrf": {csrf}}); res.StatusCode != http.StatusNotFound {
			t.Errorf("kick %q: %s", gone, res.Status)
		}
	}
	root.do("/kick", url.Values{"session": {id}, "csrf": {csrf}})
	root.do("/drain", url.Values{"csrf": {csrf}})
	if len(f.operators.done) != 2 || !strings.HasPrefix(f.operators.done[0], "kick "+id+" by root in ") || f.operators.done[1] != "drain by root" {
		t.Errorf("done: %q", f.operators.done)
	}
}

// TestTheft: a cookie at another address ends the session, for both.
func TestTheft(t *testing.T) {
	f := newFixture(t)
	root, _ := f.in(t, "root", "10.0.0.1")
	thief := f.browser("10.0.0.66")
	thief.cookie = root.cookie
	if res := thief.do("/", nil); res.Header.Get("Location") != "/login" {
		t.Errorf("the thief gets %s", res.Status)
	}
	if !root.out() {
		t.Error("the session goes on")
	}
	if got := f.events.of(event.ConnectionClosed); !slices.Equal(got, []string{"root console_address"}) {
		t.Errorf("events: %q", got)
	}
}

func TestLogoutAndLimit(t *testing.T) {
	f := newFixture(t)
	first, csrf := f.in(t, "root", "10.0.0.1")
	f.in(t, "root", "10.0.0.2")
	if res := f.browser("10.0.0.3").login("root", "right"); res.StatusCode != http.StatusForbidden {
		t.Errorf("a third session, with a limit of two: %s", res.Status)
	}
	kept := *first
	if res := first.do("/logout", url.Values{"csrf": {csrf}}); res.Header.Get("Location") != "/login" || first.cookie.MaxAge >= 0 {
		t.Errorf("logout: %s, cookie %v", res.Status, first.cookie)
	}
	if !kept.out() {
		t.Error("the old cookie is still accepted")
	}
	f.in(t, "root", "10.0.0.3") // there is room again
}

// TestSessionsEnd: a session ends when the directory or the rules no longer allow it, when
// it is idle or old, and with the server.
func TestSessionsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fixture)
		after  time.Duration
		want   string
	}{
		"disabled":         {func(f *fixture) { f.people.set("root", directory.StatusDisabled) }, time.Minute + 2*time.Second, "root revoked"},
		"must change":      {func(f *fixture) { f.people.set("root", directory.StatusMustChange) }, time.Minute + 2*time.Second, "root revoked"},
		"no rule any more": {func(f *fixture) { f.Gate.Rules = &policy.Set{} }, time.Minute + 2*time.Second, "root revoked"},
		"no rule, no answer": {func(f *fixture) {
			f.people.down = errors.New("no server answers")
			f.Gate.Rules = &policy.Set{}
		}, time.Minute + 2*time.Second, "root revoked"},
		"no answer":         {func(f *fixture) { f.people.down = errors.New("no server answers") }, time.Minute + 2*time.Second, ""},
		"idle":              {func(*fixture) {}, 16 * time.Minute, "root idle"},
		"not idle for long": {func(*fixture) {}, 14 * time.Minute, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			ctx, stop := context.WithCancel(t.Context())
			var watch sync.WaitGroup
			root, _ := f.in(t, "root", "10.0.0.1")
			tt.change(f)
			watch.Go(func() { f.Watch(ctx) })
			time.Sleep(tt.after)
			got := strings.Join(f.events.of(event.ConnectionClosed), ", ")
			if got != tt.want || root.out() != (tt.want != "") {
				t.Errorf("%s: events %q, want %q; logged out: %t", name, got, tt.want, root.out())
			}
			if tt.want == "root revoked" && len(f.events.of(event.LoginRevoked)) != 1 {
				t.Errorf("%s: no event says why", name)
			}
			stop()
			watch.Wait()
			if !root.out() {
				t.Errorf("%s: a session goes on after the server", name)
			}
		})
	}
}

// TestOldSession: activity does not keep a session for ever.
func TestOldSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		root, _ := f.in(t, "root", "10.0.0.1")
		for range 8*6 - 1 {
			time.Sleep(10 * time.Minute)
			if root.out() {
				t.Fatal("the session ended early")
			}
		}
		time.Sleep(10 * time.Minute)
		if !root.out() {
			t.Error("the session is older than eight hours")
		}
	})
}

// TestChangesAskTheDirectoryFirst: a person who was disabled a second ago can end no
// session.
func TestChangesAskTheDirectoryFirst(t *testing.T) {
	f := newFixture(t)
	root, csrf := f.in(t, "root", "10.0.0.1")
	f.people.set("root", directory.StatusDisabled)
	if res := root.do("/kick", url.Values{"session": {"0123456789abcdef"}, "csrf": {csrf}}); res.Header.Get("Location") != "/login" || len(f.operators.done) > 0 {
		t.Errorf("%s; done: %q", res.Status, f.operators.done)
	}
}

// TestSilentDirectory: a directory that does not answer delays neither what an operator does
// nor the plots, and idle sessions end.
func TestSilentDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		root, csrf := f.in(t, "root", "10.0.0.1")
		f.in(t, "rita", "10.0.0.2")
		f.people.answering = func(ctx context.Context) { <-ctx.Done() }
		ctx, stop := context.WithCancel(t.Context())
		var watch sync.WaitGroup
		watch.Go(func() { f.Watch(ctx) })
		time.Sleep(10 * time.Minute)
		began := time.Now()
		root.do("/kick", url.Values{"session": {"0123456789abcdef"}, "csrf": {csrf}})
		if took := time.Since(began); took > askTime || len(f.operators.done) != 1 {
			t.Errorf("done %q, after %v", f.operators.done, took)
		}
		time.Sleep(6 * time.Minute)
		if got := f.events.of(event.ConnectionClosed); !slices.Equal(got, []string{"rita idle"}) {
			t.Errorf("events: %q", got)
		}
		stop()
		watch.Wait()
		if n := len(f.History.samples); n < 63 {
			t.Errorf("%d samples in 16 minutes", n)
		}
	})
}

// TestOlderAnswer: an answer of the directory that comes late does not replace a newer one.
func TestOlderAnswer(t *testing.T) {
	f := newFixture(t)
	set, err := policy.Compile([]policy.Rule{
		{Name: "operators", When: policy.When{Groups: []string{"it"}}, Services: []string{"console_read", "console_operate"}},
		{Name: "readers", Services: []string{"console_read"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Gate.Rules = set
	f.people.user.Groups = []directory.Group{{Name: "it"}}
	f.in(t, "root", "10.0.0.1")
	s := f.sessions.all()[0]
	found, late := make(chan struct{}), make(chan struct{})
	f.people.answering = func(context.Context) { close(found); <-late }
	older := make(chan struct{})
	go func() { f.reconsider(t.Context(), s); close(older) }()
	<-found
	f.people.mu.Lock()
	f.people.user.Groups, f.people.answering = nil, nil // not in the group any more
	f.people.mu.Unlock()
	f.reconsider(t.Context(), s)
	if s.grant.Load().Serves(operate) == nil {
		t.Fatal("the newer answer changes nothing")
	}
	close(late)
	<-older
	if s.grant.Load().Serves(operate) == nil {
		t.Error("the older answer has replaced the newer one")
	}
}

// TestStream sends the table when it changes, and ends with the session.
func TestStream(t *testing.T) {
	f := newFixture(t)
	srv := httptest.NewServer(f.handler) // without TLS: on a loopback address
	defer srv.Close()
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/login", strings.NewReader("name=root&password=right"))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultTransport.RoundTrip(post)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	get, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	get.AddCookie(res.Cookies()[0])
	stream, err := http.DefaultClient.Do(get)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	next := func() (table string) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &table); err != nil {
					t.Error(err)
				}
				return table
			}
		}
		return ""
	}
	if got := next(); !strings.Contains(got, "1 session<") || !strings.Contains(got, "&lt;script&gt;alice") {
		t.Errorf("first: %q", got)
	}
	f.operators.mu.Lock()
	f.operators.open = nil
	f.operators.mu.Unlock()
	if got := next(); !strings.Contains(got, "0 sessions") {
		t.Errorf("second: %q", got)
	}
	for _, s := range f.sessions.all() {
		f.end(s, event.Idle, nil)
	}
	if got := next(); got != "" {
		t.Errorf("after the end: %q", got)
	}
}

// TestStreamsOfOneSession: one person does not use up what others need, and a stream in which
// nothing changes says that it is alive.
func TestStreamsOfOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		rita, _ := f.in(t, "rita", "10.0.0.1")
		synctest.Wait()
		answers := make(chan *http.Response, 2*mostPages)
		for range mostPages + 1 {
			viewer := *rita
			go func() { answers <- viewer.do("/stream", nil) }()
		}
		synctest.Wait()
		select {
		case res := <-answers:
			if res.StatusCode != http.StatusTooManyRequests {
				t.Errorf("one stream too many: %s", res.Status)
			}
		default:
			t.Error("any number of streams can be open")
		}
		time.Sleep(2 * aliveEvery)
		f.end(f.sessions.all()[0], event.Idle, nil)
		synctest.Wait()
		for range mostPages {
			if res := <-answers; res.StatusCode == http.StatusOK && !strings.Contains(text(t, res), "event: alive\n") {
				t.Error("a stream in which nothing changes sends nothing")
			}
		}
	})
}

func TestEvents(t *testing.T) {
	f := newFixture(t)
	f.File = filepath.Join(t.TempDir(), "events.jsonl")
	var lines strings.Builder
	for range mostRows {
		lines.WriteString(`{"time":"2026-11-24T09:00:00.000Z","type":"file_read_closed","session":"1","user":"bob","path":"/old","outcome":"success"}` + "\n")
	}
	lines.WriteString(`{"time":"2026-11-24T10:00:00.000Z","type":"removed","session":"2","user":"alice","remote":"192.0.2.7:5","path":"/<script>","outcome":"success"}` + "\n")
	if err := os.WriteFile(f.File, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	rita, _ := f.in(t, "rita", "10.0.0.1")
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"":                                  {200, "200 events, the newest first; older ones are not shown"},
		"?user=alice":                       {200, "<p>1 event. This page"},
		"?type=removed&path=/":              {200, "/&lt;script&gt;"},
		"?remote=192.0.2.7&outcome=success": {200, "<p>1 event. This page"},
		"?session=3":                        {200, "0 events"},
		"?type=removd":                      {400, "matches no type of event"},
		"?remote=here":                      {400, "must be an IP address"},
		"?outcome=%3Cb%3E":                  {400, "must be success, failure or refused"},
		"?user=%22%3E%3Cscript%3Ex":         {200, "&#34;&gt;&lt;script&gt;x"},
		"?user=" + strings.Repeat("a*", 30) + "b": {200, "0 events"},
	} {
		res := rita.do("/events"+query, nil)
		page := text(t, res)
		if res.StatusCode != want.status || !strings.Contains(page, want.text) || strings.Contains(page, "<script>x") || strings.Contains(page, "/<script>") {
			t.Errorf("%s: %s, want %q in\n%.3000s", query, res.Status, want.text, page)
		}
	}
	f.File = ""
	if res := rita.do("/events", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("without a file: %s", res.Status)
	}
}

// TestNamesThatTurnText: what people call their files does not change how the rest of a page
// reads.
func TestNamesThatTurnText(t *testing.T) {
	f := newFixture(t)
	const turn = "\u202e"
	f.File = filepath.Join(t.TempDir(), "events.jsonl")
	line := `{"time":"2026-11-24T10:00:00.000Z","type":"renamed","user":"a` + turn + `b","path":"/x` + turn + `gpj.exe","target":"/y` + turn + `","outcome":"success"}` + "\n"
	if err := os.WriteFile(f.File, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &f.operators.open[0]
	s.User, s.Transfers[0].Path = "a"+turn+"b", "/x"+turn+"gpj.exe"
	root, _ := f.in(t, "root", "10.0.0.1")
	for path, want := range map[string]string{
		"/":                     `(reading`,
		"/events":               `<td data-name="Path">&#34;/x\u202egpj.exe&#34; → &#34;/y\u202e&#34;</td>`,
		"/events?type=*":        `&#34;path&#34;:&#34;/x\u202egpj.exe&#34;`,
		"/kick?session=" + s.ID: `End the session of &#34;a\u202eb&#34; from`,
	} {
		if page := text(t, root.do(path, nil)); !strings.Contains(page, want) || strings.Contains(page, turn) {
			t.Errorf("%s: want %q, and no character that turns the text, in\n%s", path, want, page)
		}
	}
}

func TestSettings(t *testing.T) {
	for listen, want := range map[string]string{
		"":               "",
		"127.0.0.1:9443": "",
		"[::1]:9443":     "",
		"10.0.0.5:9443":  "cert_file: missing",
		":9443":          "must be an IP address",
		"host:9443":      "must be an IP address",
		"9443":           "must be an IP address",
	} {
		s := DefaultSettings()
		s.Listen = listen
		errs := s.Check()
		if len(errs) > 1 || (len(errs) == 0) != (want == "") || len(errs) == 1 && !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%q: %v, want %q", listen, errs, want)
		}
	}
	s := Settings{Listen: "10.0.0.5:1", CertFile: "/no/cert", KeyFile: "/no/key"}
	if errs := s.Check(); len(errs) != 3 {
		t.Errorf("no times and no files: %v", errs)
	}
}

// TestNoMoreSessions: a login that finds no place has an end, too.
func TestNoMoreSessions(t *testing.T) {
	f := newFixture(t)
	for i := range mostSessions {
		f.sessions.add(strconv.Itoa(i), &session{})
	}
	if res := f.browser("10.0.0.1").login("rita", "right"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a login: %s", res.Status)
	}
	if accepted, closed := f.events.of(event.LoginAccepted), f.events.of(event.ConnectionClosed); len(accepted) != 1 || !slices.Equal(closed, []string{"rita too_many_sessions_in_total"}) {
		t.Errorf("accepted %q, closed %q", accepted, closed)
	}
}

// TestLoginAfterTheEnd: a login that was under way when the server ended opens no session
// that nobody ends.
func TestLoginAfterTheEnd(t *testing.T) {
	f := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	f.Watch(ctx)
	if res := f.browser("10.0.0.1").login("root", "right"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s, want that it is refused", res.Status)
	}
	if got := f.events.of(event.ConnectionClosed); !slices.Equal(got, []string{"root shutting_down"}) || len(f.sessions.open) > 0 {
		t.Errorf("events %q, %d sessions open", got, len(f.sessions.open))
	}
}
