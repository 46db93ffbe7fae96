package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/test/peers"
)

// A webUser is somebody in front of the console.
type webUser struct {
	t      *testing.T
	url    string
	cookie *http.Cookie
}

// get loads a page, and post sends a form. They do not follow redirects.
func (u *webUser) get(path string) (page, location string) {
	return u.request(http.MethodGet, path, "")
}

func (u *webUser) post(path string, form url.Values) (page, location string) {
	return u.request(http.MethodPost, path, form.Encode())
}

func (u *webUser) request(method, path, body string) (page, location string) {
	u.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, u.url+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if u.cookie != nil {
		r.AddCookie(u.cookie)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		u.cookie = c
	}
	return string(text), res.Header.Get("Location")
}

// startConsole starts a demo whose finance people operate the console at address, and
// whose downloads are slow.
func startConsole(t *testing.T) (s *server, dir, address string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "demo")
	s, err := startDemo(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.done <- nil
	config := filepath.Join(dir, "berth.yaml")
	edit(t, config, "rules:\n", "ssh: {recheck: 1s}\nrules:\n"+
		"  - {name: IT, when: {groups: [finance]}, services: [sftp, console_read, console_operate]}\n"+
		"  - {name: slow, when: {groups: [staff]}, limits: {download_rate: 64KiB}}\n")
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s, dir, s.console
}

// TestConsole logs in to the web page, sees a transfer, ends it, and is out when the
// account is disabled.
func TestConsole(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "sshpass")
	s, dir, address := startConsole(t)
	bob := &webUser{t: t, url: "http://" + address}
	if page, _ := bob.post("/login", url.Values{"name": {"bob"}, "password": {"bob-demo-1"}}); !strings.Contains(page, "You have no access to this server.") || bob.cookie != nil {
		t.Errorf("bob, whom no rule lets in: cookie %v\n%s", bob.cookie, page)
	}
	alice := &webUser{t: t, url: bob.url}
	if page, location := alice.post("/login", url.Values{"name": {"alice"}, "password": {"alice-demo-1"}}); location != "/" {
		t.Fatalf("alice cannot log in:\n%s", page)
	}
	cmd, told := startDownload(t, s, dir)
	kick := regexp.MustCompile(`/kick\?session=([0-9a-f]{16})`)
	page := ""
	eventually(t, "the transfer is on the page", func() bool {
		page, _ = alice.get("/?user=bob")
		return strings.Contains(page, "/big") && kick.MatchString(page)
	})
	id := kick.FindStringSubmatch(page)[1]
	page, _ = alice.get("/kick?session=" + id)
	token := regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`).FindStringSubmatch(page)
	if token == nil {
		t.Fatalf("the question has no form:\n%s", page)
	}
	alice.post("/kick", url.Values{"session": {id}, "csrf": {token[1]}})
	if err := cmd.Wait(); err == nil || !strings.Contains(told.String(), "An operator has ended this session") {
		t.Errorf("the transfer ends with %v, and bob is told %q", err, told.String())
	}
	eventually(t, "the event names the operator", func() bool {
		page, _ = alice.get("/events?type=session_kicked")
		return regexp.MustCompile(`operator&#34;:&#34;alice&#34;,&#34;operator_session&#34;:&#34;[0-9a-f]{16}`).MatchString(page)
	})

	edit(t, filepath.Join(dir, "people.ldif"), "\nuid: alice\n", "\nuid: alice\nnsAccountLock: TRUE\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "alice is out", func() bool {
		_, location := alice.get("/")
		return location == "/login"
	})
}

// TestConsoleWithCode: where the rules ask for a one-time code, no login works without
// one, and each code works once.
func TestConsoleWithCode(t *testing.T) {
	t.Parallel()
	s, dir, _ := startConsole(t)
	s.stop()
	s.done <- nil
	config := filepath.Join(dir, "berth.yaml")
	edit(t, config, "{name: IT, ", "{name: IT, require: [[password, totp]], ")
	edit(t, config, "rules:\n", fmt.Sprintf("totp: {file: %[1]s/totp, key_file: %[1]s/totp-key}\nrules:\n", dir))
	printed, err := exec.Command(berth, "totp", "add", "alice", "--config", config).Output()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := secretOf(string(printed))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	next := codeOf(secret, time.Now().Unix()/30+1) // a server that has just started takes no older one
	for _, try := range []struct{ password, code, location string }{
		{"alice-demo-1", "", ""},
		{"alice-demo-1", "12345", ""},
		{"wrong", next, ""},
		{"alice-demo-1", " " + next, "/"},
		{"alice-demo-1", next, ""},
	} {
		alice := &webUser{t: t, url: "http://" + s.console}
		page, location := alice.post("/login", url.Values{"name": {"alice"}, "password": {try.password}, "code": {try.code}})
		if location != try.location || (alice.cookie == nil) != (location == "") {
			t.Errorf("password %q and code %q: at %q with cookie %v\n%s", try.password, try.code, location, alice.cookie, page)
		}
		if page, _ := alice.get("/"); strings.Contains(page, `id="live"`) != (try.location == "/") {
			t.Errorf("password %q and code %q:\n%s", try.password, try.code, page)
		}
	}
	recorded(t, dir, `"type":"login_rejected".*"user":"alice".*"reason":"code_used"`) // the last
	once := regexp.MustCompile(`"type":"login_accepted".*"user":"alice".*"factors":"keyboard-interactive, totp"`)
	if got := once.FindAllString(readFile(t, filepath.Join(dir, "events.jsonl")), -1); len(got) != 1 {
		t.Errorf("alice was let in %d times, want once: %s", len(got), got)
	}
}

// TestBusyDemo: the people of a busy demonstration transfer files, and the administrator
// sees them on the page that it names. Its end is not delayed.
func TestBusyDemo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := startServer(berth, dir, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir, "--busy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	ida := &webUser{t: t, url: "http://" + s.console}
	if text, location := ida.post("/login", url.Values{"name": {"ida"}, "password": {"ida-demo-1"}}); location != "/" {
		t.Fatalf("ida cannot log in:\n%s", text)
	}
	transfer := regexp.MustCompile(`/report-\d+-\d\.csv \((reading|writing)`)
	eventually(t, "bob transfers a file", func() bool {
		now, _ := ida.get("/?user=bob")
		return transfer.MatchString(now)
	})
	eventually(t, "mallory is refused", func() bool {
		events, _ := ida.get("/events?user=mallory&type=login_denied")
		return strings.Contains(events, ">mallory</td>")
	})
}

// TestConsoleOfNodes: the page of one node ends a session of another one, and drains it. The
// events of that node name the operator.
func TestConsoleOfNodes(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	address, err := peers.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	address = "127.0.0.1:" + address
	var nodes []*farmNode
	for i := range 2 {
		demo := filepath.Join(t.TempDir(), "demo")
		n := &farmNode{demo: demo, file: atomicDemo(t, demo)}
		edit(t, n.file, "admin:", fmt.Sprintf("state: {redis: {urls: [%q], timeout: 10s}}\nssh: {drain_notice: 1s, drain: 1m}\nadmin:", r.URL))
		edit(t, n.file, "events: {", fmt.Sprintf("events: {node: node%d, ", i))
		if i == 0 {
			edit(t, n.file, `console: {listen: "127.0.0.1:0"}`, fmt.Sprintf("console: {listen: %q}", address))
		}
		n.start(t)
		nodes = append(nodes, n)
	}
	ida := &webUser{t: t, url: "http://" + address}
	if page, location := ida.post("/login", url.Values{"name": {"ida"}, "password": {"ida-demo-1"}}); location != "/" {
		t.Fatalf("ida cannot log in:\n%s", page)
	}
	session, err := dialAlice(nodes[1].addr, nodes[1].demo)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	// answer goes to a page with a question, and says yes.
	answer := func(link, question string) (page string) {
		t.Helper()
		page, _ = ida.get(link)
		hidden := regexp.MustCompile(`name="([a-z]+)" value="([^"]*)"`).FindAllStringSubmatch(page[strings.Index(page, "<main>"):], -1)
		if !strings.Contains(page, question) || len(hidden) != 2 {
			t.Fatalf("%s asks:\n%s", link, page)
		}
		form := url.Values{}
		for _, field := range hidden {
			form.Set(field[1], field[2])
		}
		path, _, _ := strings.Cut(link, "?")
		page, _ = ida.post(path, form)
		return page
	}
	kick := regexp.MustCompile(`/kick\?session=[0-9a-f]{16}`)
	page := ""
	eventually(t, "the page shows the session of the other node, and its health", func() bool {
		page, _ = ida.get("/?user=alice")
		return kick.MatchString(page) && strings.Contains(page, ">node1</td>") && strings.Contains(page, "/drain?node=node1")
	})
	answer(kick.FindString(page), "End the session of alice")
	_ = session.Wait()

	if page = answer("/drain?node=node1", "Drain the node node1?"); !strings.Contains(page, "The node node1 is draining.") {
		t.Errorf("after the drain of another node:\n%s", page)
	}
	nodes[1].done <- <-nodes[1].done // stop wants to see it, too
	eventually(t, "the page shows one node", func() bool {
		page, _ = ida.get("/")
		return !strings.Contains(page, "node1") && strings.Contains(page, ">node0</td>")
	})
	for _, event := range []string{"session_kicked", "server_draining"} {
		if all := nodes[1].events(t); !regexp.MustCompile(`"type":"` + event + `".*"operator":"ida","operator_session":"[0-9a-f]{16}"`).MatchString(all) {
			t.Errorf("no event %s names the operator:\n%s", event, all)
		}
	}
	if all := nodes[0].events(t); strings.Contains(all, `"operator":"ida"`) {
		t.Errorf("the node of the page was drained, or ends a session:\n%s", all)
	}
}
