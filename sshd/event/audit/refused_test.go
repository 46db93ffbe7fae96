package audit

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
)

// picky is a server that refuses a request with one of some texts in it, or all.
type picky struct {
	mu    sync.Mutex
	texts []string
	all   bool
	asked int
	took  strings.Builder
}

func (p *picky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.all || slices.ContainsFunc(p.texts, func(text string) bool { return strings.Contains(string(body), text) }) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.took.Write(body)
}

func (p *picky) has(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.took.String(), text)
}

func (p *picky) set(all bool, texts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all, p.texts = all, texts
}

func pickyHook(t *testing.T, p *picky, change ...func(*Settings)) (*File, *Forwarder, Settings) {
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	s := DefaultSettings()
	s.File = filepath.Join(t.TempDir(), "events.jsonl")
	s.Webhook.URL = server.URL
	for _, c := range change {
		c(&s)
	}
	f, err := Open(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.ForwardToWebhook(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return f, w, s
}

// TestRefusedEventsAreSetAside: a few events that a receiver refuses do not stop
// the others. They are in a file, are counted, and one event reports them.
func TestRefusedEventsAreSetAside(t *testing.T) {
	p := &picky{all: true}
	f, w, s := pickyHook(t, p)
	for i := range 8 {
		f.Emit(numbered(i))
	}
	waitFor(t, s.File, "/000007") // or one of two would be set aside before the other is there
	p.set(false, "/000003", "/000004", "events_refused")
	eventually(t, "the events after those that are refused", func() bool { return p.has("/000007") })
	// The event about it is refused itself, until another event shows that it is that one.
	eventually(t, "the event about it in the file", func() bool { return strings.Contains(read(t, s.File), `"type":"events_refused"`) })
	f.Emit(numbered(8))
	eventually(t, "the next event", func() bool { return p.has("/000008") })
	eventually(t, "the count", func() bool { return w.Health().Refused == 3 })
	closeFile(t, f)
	refused := strings.Split(strings.TrimSpace(read(t, s.File+".webhook.refused")), "\n")
	if len(refused) != 3 || !strings.Contains(refused[0], "/000003") || !strings.Contains(refused[1], "/000004") || !strings.Contains(refused[2], "events_refused") {
		t.Errorf("set aside: %q", refused)
	}
	text := read(t, s.File)
	for _, line := range refused {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not in the events file", line)
		}
	}
	if n := strings.Count(text, `"type":"events_refused"`); n != 1 || !strings.Contains(text, `"count":"2","sink":"webhook"`) {
		t.Errorf("%d events about it, want 1 with 2 events of the webhook:\n%s", n, text)
	}
	if p.has("/000003") || p.has("/000004") {
		t.Error("a refused event was taken")
	}
}

// TestReceiverThatRefusesEverything: then an event is not the reason. Nothing is set
// aside, and all is sent when the receiver takes it.
func TestReceiverThatRefusesEverything(t *testing.T) {
	p := &picky{all: true}
	f, w, s := pickyHook(t, p)
	for i := range 8 {
		f.Emit(numbered(i))
	}
	eventually(t, "a failure", func() bool { err := w.Health().Err; return err != nil && strings.Contains(err.Error(), "400") })
	p.set(false)
	eventually(t, "the events", func() bool { return p.has("/000007") })
	closeFile(t, f)
	for i := range 8 {
		if !p.has(numbered(i).Path) {
			t.Errorf("%s is lost", numbered(i).Path)
		}
	}
	if _, err := os.Stat(s.File + ".webhook.refused"); err == nil || w.Health().Refused > 0 {
		t.Errorf("events were set aside: %d, %v", w.Health().Refused, err)
	}
}

// TestRefusedAlone: an event that a receiver refuses does not stop others, even if it is
// the only one in its batch, or the only one there that the receiver wants.
func TestRefusedAlone(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"batches of one": func(s *Settings) { s.Webhook.Batch = 1 },
		"few are wanted": func(s *Settings) { s.Webhook.Types = []string{"password_changed"} },
	} {
		t.Run(name, func(t *testing.T) {
			p := &picky{}
			p.set(false, "user-1")
			f, w, s := pickyHook(t, p, change)
			for i := range 4 {
				f.Emit(event.Event{Type: event.PasswordChanged, User: fmt.Sprintf("user-%d", i)})
				for n := range 2 * s.Webhook.Batch {
					f.Emit(numbered(n))
				}
			}
			eventually(t, "the events after the one that is refused", func() bool { return p.has("user-3") })
			closeFile(t, f)
			if got := w.Health(); got.Refused != 1 || got.Dropped > 0 || p.has("user-1") {
				t.Errorf("%d refused, %d dropped, want 1 and none", got.Refused, got.Dropped)
			}
			if got := read(t, s.File+".webhook.refused"); strings.Count(got, "\n") != 1 || !strings.Contains(got, "user-1") {
				t.Errorf("set aside: %s", got)
			}
			for _, user := range []string{"user-0", "user-2"} {
				if !p.has(user) {
					t.Errorf("%s is lost", user)
				}
			}
		})
	}
}

// TestRefusedWhileTheFileIsGone: lines that were read before somebody removed the file
// are sent when the receiver accepts them.
func TestRefusedWhileTheFileIsGone(t *testing.T) {
	p := &picky{all: true}
	f, w, s := pickyHook(t, p)
	f.Emit(numbered(0))
	eventually(t, "a failure", func() bool { return w.Health().Err != nil })
	if err := os.Remove(s.File); err != nil {
		t.Fatal(err)
	}
	tries := func() int { p.mu.Lock(); defer p.mu.Unlock(); return p.asked }
	before := tries()
	eventually(t, "further tries", func() bool { return tries() >= before+4 }) // the batch, and the event alone, twice
	p.set(false)
	eventually(t, "the event", func() bool { return p.has("/000000") })
	f.Emit(numbered(1))
	eventually(t, "an event of the new file", func() bool { return p.has("/000001") })
	closeFile(t, f)
}

// TestRefusedFileStaysSmall: a receiver that refuses very many events fills no disk.
func TestRefusedFileStaysSmall(t *testing.T) {
	p := &picky{}
	f, w, s := pickyHook(t, p)
	closeFile(t, f) // the forwarder is used by hand
	path := s.File + ".webhook.refused"
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, mostRefused); err != nil {
		t.Fatal(err)
	}
	if err := w.setAside([]entry{{line: []byte(`{"type":"removed"}`)}}, errRefused); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != `{"type":"removed"}`+"\n" {
		t.Errorf("got %d bytes", len(got))
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != mostRefused {
		t.Errorf("the one before: %v", err)
	}
}
