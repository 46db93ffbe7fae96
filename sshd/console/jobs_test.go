package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/directory"
	"berth/policy"
)

// rulesFile is a file with rules, of which only the names count.
type rulesFile struct {
	set  *policy.Set
	file RulesFile
	err  error

	parsing func() // is called when rules are parsed; may be nil
}

func (f *rulesFile) Set() *policy.Set         { return f.set }
func (f *rulesFile) File() (RulesFile, error) { return f.file, f.err }

func (f *rulesFile) Disk() (func(policy.Folder, policy.Op) *policy.ExplainedDisk, error) {
	return nil, nil
}

// Parse returns a rule for alice with a folder of that path, and one for readers.
func (f *rulesFile) Parse(name, text string) (*policy.Set, error) {
	if f.parsing != nil {
		f.parsing()
	}
	path, ok := strings.CutPrefix(text, "folder ")
	if !ok {
		return nil, fmt.Errorf("%s:1: <b>not rules", name)
	}
	return policy.Compile([]policy.Rule{
		{Name: "one", When: policy.When{Users: []string{"alice"}}, Folders: []policy.Mount{{Path: path, Host: "/srv/x", Permissions: []string{"full"}}}},
		{Name: "readers", When: policy.When{Users: []string{"rita"}}, Services: []string{"console_read"}},
	})
}

// answer asks with a form, waits for the job, and returns the page with the result.
func (b *browser) answer(t *testing.T, path string, form url.Values) string {
	t.Helper()
	res := b.do(path, form)
	link := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(link, path+"?job=") {
		t.Fatalf("%s: %s\n%s", path, res.Status, text(t, res))
	}
	b.jobs.running.Wait()
	return text(t, b.do(link, nil))
}

// TestJobPanics: the server continues, and answers the next questions.
func TestJobPanics(t *testing.T) {
	f := newFixture(t)
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	f.people.listPanics = true
	if page := rita.answer(t, "/folders", url.Values{"csrf": {csrf}, "path": {"/shared"}}); !strings.Contains(page, "the server made a mistake") {
		t.Error(page)
	}
	f.people.listPanics = false
	if page := rita.answer(t, "/folders", url.Values{"csrf": {csrf}, "path": {"/shared"}}); !strings.Contains(page, ">alice<") {
		t.Error(page)
	}
}

func TestFolders(t *testing.T) {
	f := newFixture(t)
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	page := rita.answer(t, "/folders", url.Values{"csrf": {csrf}, "path": {"/shared"}})
	for _, want := range []string{"Who can reach /shared", "people looked at: 6", ">alice<", ">dave<", "<td>disabled</td>", "list read", "rule all: named there", "format=csv"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	if strings.Contains(page, "NOT COMPLETE") || strings.Contains(page, "data-stream=\"/") {
		t.Errorf("page:\n%s", page)
	}
	for path, want := range map[string]string{"/nowhere": "no rule has a folder there", "shared": "must begin with /", "": "must begin with /", "/<b>": "/&lt;b&gt;"} {
		if res := rita.do("/folders", url.Values{"csrf": {csrf}, "path": {path}}); res.StatusCode != http.StatusBadRequest || !strings.Contains(text(t, res), want) {
			t.Errorf("%q: %s, want %q", path, res.Status, want)
		}
	}
	if res := rita.do("/folders", url.Values{"path": {"/shared"}}); res.StatusCode != http.StatusForbidden {
		t.Errorf("without a token: %s", res.Status)
	}
	if res := rita.do("/folders?job=0123456789abcdef", nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown job: %s", res.Status)
	}

	id := f.jobs.all[0].ID
	res := rita.do("/folders/report?format=csv&job="+id, nil)
	if got := text(t, res); !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") || !strings.Contains(got, "/shared,alice,corp,active,list read") {
		t.Errorf("as CSV: %v\n%s", res.Header, got)
	}
	for _, query := range []string{"?job=" + id, "?format=csv&job=0", "?format=exe&job=" + id} {
		if res := rita.do("/folders/report"+query, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", query, res.Status)
		}
	}
	f.jobs.forget(time.Now().Add(2 * jobKept))
	if res := rita.do("/folders?job="+id, nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("after two hours: %s", res.Status)
	}
}

// TestLastUse: the page says when each right was used last, and from which events it knows.
func TestLastUse(t *testing.T) {
	f := newFixture(t)
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	ask := func() string {
		t.Helper()
		return rita.answer(t, "/folders", url.Values{"csrf": {csrf}, "path": {"/shared"}})
	}
	if page := ask(); !strings.Contains(page, "not known: no events were read") || strings.Contains(page, "Last use") {
		t.Errorf("without a file of events:\n%s", page)
	}
	f.File = filepath.Join(t.TempDir(), "events.jsonl")
	if page := ask(); !strings.Contains(page, "last logins and uses may be missing: open "+f.File) || !strings.Contains(page, ">alice<") || strings.Contains(page, "NOT COMPLETE") {
		t.Errorf("with a missing one:\n%s", page)
	}
	full := strings.TrimSuffix(f.File, ".jsonl") + "-20260102T000000.000Z.jsonl"
	for name, lines := range map[string]string{
		full: `{"time":"2026-01-01T10:00:00.000Z","type":"login_accepted","user":"alice","user_id":"id-alice","user_directory":"corp","outcome":"success"}` + "\n" +
			`{"time":"2026-01-01T10:01:00.000Z","type":"directory_listed","user":"alice","user_id":"id-alice","user_directory":"corp","path":"/shared","outcome":"success"}` + "\n",
		f.File: `{"time":"2026-01-03T10:00:00.000Z","type":"file_read_closed","user":"alice","user_id":"id-alice","user_directory":"corp","path":"/shared/x","outcome":"success"}` + "\n",
	} {
		if err := os.WriteFile(name, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page := ask()
	for _, want := range []string{
		"since <time>2026-01-01 10:00:00</time> (UTC)", "<td>rule all: named there</td><td><time>2026-01-01</time></td><td>list 2026-01-01, read 2026-01-03</td>",
		"<td>rule all: named there</td><td>none</td><td>none</td>",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
}

// TestPartialResult: if a directory stops in the middle, the result says that
// people are missing.
func TestPartialResult(t *testing.T) {
	f := newFixture(t)
	f.people.listErr = errors.New("the server has gone")
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	for path, form := range map[string]url.Values{"/folders": {"path": {"/shared"}}, "/rules": {"rules": {"folder /new"}}} {
		form.Set("csrf", csrf)
		page := rita.answer(t, path, form)
		for _, want := range []string{"NOT COMPLETE", "the server has gone", ">alice<"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: %q is missing in\n%s", path, want, page)
			}
		}
	}
}

// TestManyResults come in pages. More than can be shown are marked.
func TestManyResults(t *testing.T) {
	f := newFixture(t)
	set, err := policy.Compile([]policy.Rule{
		{Name: "all", Folders: []policy.Mount{{Path: "/shared", Host: "/srv/shared", Permissions: []string{"read_only"}}}, Services: []string{"sftp", "console_read"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Gate.Rules, f.Rules = set, &rulesFile{set: set}
	for i := range mostResult + 1 {
		f.people.states[fmt.Sprintf("p%05d", i)] = directory.StatusActive
	}
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	page := rita.answer(t, "/folders", url.Values{"csrf": {csrf}, "path": {"/shared"}})
	if !strings.Contains(page, "more than 10000 results") || !strings.Contains(page, "Page 1 of 50") || strings.Count(page, "<td>/shared</td>") != mostRows {
		t.Errorf("page of %d bytes:\n%.2000s", len(page), page)
	}
	link := "/folders?job=" + f.jobs.all[0].ID
	for query, want := range map[string]string{"&page=50": "Page 50 of 50", "&page=99": "Page 50 of 50", "&page=-1": "Page 1 of 50", "&page=x": "Page 1 of 50"} {
		if page := text(t, rita.do(link+query, nil)); !strings.Contains(page, want) {
			t.Errorf("%s: %q is missing", query, want)
		}
	}
	page = rita.answer(t, "/rules", url.Values{"csrf": {csrf}, "rules": {"folder /new"}})
	if !strings.Contains(page, "NOT COMPLETE") || !strings.Contains(page, "Access changes for 10000 or more of 10007 people") || !strings.Contains(page, "Page 1 of 50") {
		t.Errorf("whom the rules change: page of %d bytes:\n%.2000s", len(page), page)
	}
}

func TestRules(t *testing.T) {
	f := newFixture(t)
	of := f.Rules.(*rulesFile)
	of.file = RulesFile{Name: "/etc/berth.yaml", First: 7, Lines: []string{"rules:", "  - name: <script>"}, InForce: true}
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	page := text(t, rita.do("/rules", nil))
	for _, want := range []string{"/etc/berth.yaml", `<th scope="row">8</th><td>  - name: &lt;script&gt;</td>`, `required>rules:`} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	of.file.InForce = false
	if page := text(t, rita.do("/rules", nil)); !strings.Contains(page, "not in force before a reload") {
		t.Errorf("a file that has changed:\n%s", page)
	}
	of.file.Lines, of.err = nil, errors.New("no such file")
	if page := text(t, rita.do("/rules", nil)); !strings.Contains(page, "no such file") || !strings.Contains(page, "cannot be shown") {
		t.Errorf("a file that is missing:\n%s", page)
	}
	page = rita.answer(t, "/rules", url.Values{"csrf": {csrf}, "rules": {"folder /new"}})
	for _, want := range []string{"Access changes for 5 of 6 people", "folder /new: /srv/x", "− folder /shared: /srv/shared", "login", "allowed → denied: no rule matches dave", "at every login"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	res := rita.do("/rules", url.Values{"csrf": {csrf}, "rules": {"a\r\n: <b>"}})
	if page := text(t, res); res.StatusCode != http.StatusBadRequest || !strings.Contains(page, "new rules:1: &lt;b&gt;not rules") || !strings.Contains(page, "required>a\n: &lt;b&gt;") {
		t.Errorf("a mistake: %s\n%s", res.Status, page)
	}
	if res := rita.do("/rules", url.Values{"csrf": {csrf}, "rules": {strings.Repeat("x", mostRules)}}); res.StatusCode != http.StatusBadRequest {
		t.Errorf("too long: %s", res.Status)
	}
	if res := rita.do("/folders", url.Values{"csrf": {csrf}, "path": {"/" + strings.Repeat("x", mostForm)}}); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a long path: %s", res.Status)
	}
}

// TestRulesAreParsedOneByOne: what people paste into a form must not use up the memory.
func TestRulesAreParsedOneByOne(t *testing.T) {
	f := newFixture(t)
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	began, end := make(chan struct{}), make(chan struct{})
	f.Rules.(*rulesFile).parsing = func() { began <- struct{}{}; <-end }
	form := url.Values{"csrf": {csrf}, "rules": {"no rules"}}
	first := *rita
	done := make(chan int)
	go func() { done <- first.do("/rules", form).StatusCode }()
	<-began
	second := make(chan *http.Response, 1)
	go func() { second <- rita.do("/rules", form) }()
	select {
	case res := <-second:
		if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text(t, res), "try again") {
			t.Errorf("the second: %s", res.Status)
		}
	case <-began:
		t.Error("two are parsed at once")
	}
	close(end)
	if status := <-done; status != http.StatusBadRequest {
		t.Errorf("the first: %d", status)
	}
}

// TestOneJobAtATime: a second one is refused, and the server's end is the end of the first.
func TestOneJobAtATime(t *testing.T) {
	f := newFixture(t)
	began := make(chan struct{})
	first, err := f.jobs.start(t.Context(), "folders", "rita", func(ctx context.Context, j *job) (any, error) {
		j.people.Add(7)
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	rita, csrf := f.in(t, "rita", "10.0.0.1")
	if page := text(t, rita.do(first.view(1).Link, nil)); !strings.Contains(page, "People looked at so far: 7") || !strings.Contains(page, `data-stream="/result?of=folders&amp;job=`+first.ID) {
		t.Errorf("while it runs:\n%s", page)
	}
	for path, form := range map[string]url.Values{"/folders": {"path": {"/shared"}}, "/rules": {"rules": {"folder /new"}}} {
		form.Set("csrf", csrf)
		if res := rita.do(path, form); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text(t, res), "try again when it has ended") {
			t.Errorf("%s meanwhile: %s", path, res.Status)
		}
	}
	f.jobs.stop()
	if page := text(t, rita.do(first.view(1).Link, nil)); !strings.Contains(page, "context canceled") {
		t.Errorf("after the end:\n%s", page)
	}
	if _, err := f.jobs.start(t.Context(), "folders", "rita", nil); !errors.Is(err, errBusy) {
		t.Errorf("another one after the end: %v", err)
	}
}
