package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
	"berth/sshd/event/format"
)

// TestReceiversGetTheirFormat has a webhook, a stream and a queue for syslog.
func TestReceiversGetTheirFormat(t *testing.T) {
	for _, name := range []string{format.JSON, format.ECS, format.OCSF, format.CEF} {
		t.Run(name, func(t *testing.T) {
			translate, err := format.New(name, "1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			var last []byte // a checkpoint may come by itself before
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				last, _ = io.ReadAll(r.Body)
			}))
			s := DefaultSettings()
			s.File, s.Node, s.Version = filepath.Join(t.TempDir(), "events.jsonl"), "node1", "1.2.3"
			s.Webhook.URL, s.Webhook.Format = server.URL, name
			if errs := s.Check(); len(errs) > 0 {
				t.Fatal(errs)
			}
			f, err := Open(s, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.ForwardToWebhook(s, hclog.NewNullLogger()); err != nil {
				t.Fatal(err)
			}
			f.Emit(event.Event{Type: event.Removed, User: "alice", Path: "/a=b"})
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			server.Close()
			var batch []struct {
				DataContentType string
				Data            json.RawMessage
			}
			if err := json.Unmarshal(last, &batch); err != nil || len(batch) == 0 {
				t.Fatal(err)
			}
			line := lastLine(t, s.File)
			want, contentType := string(translate(line)), "application/json"
			got := string(batch[len(batch)-1].Data)
			if name == format.CEF {
				contentType = "text/plain"
				if err := json.Unmarshal([]byte(got), &got); err != nil {
					t.Fatal(err)
				}
			}
			if got != want || batch[0].DataContentType != contentType {
				t.Errorf("the webhook has %s %s\nwant %s", batch[0].DataContentType, got, want)
			}

			s.Syslog = Syslog{Address: "udp://127.0.0.1:9", Facility: "local3", Format: name}
			d, err := newSyslog(&s, hclog.NewNullLogger())
			if err != nil {
				t.Fatal(err)
			}
			if got := string(d.message(line)); !strings.HasPrefix(got, "<158>1 ") || !strings.HasSuffix(got, " removed - "+want) {
				t.Errorf("syslog has %s", got)
			}
		})
	}
}

// lastLine is the last line of a file, without its end.
func lastLine(t *testing.T, path string) []byte {
	lines := strings.Split(strings.TrimSuffix(read(t, path), "\n"), "\n")
	return []byte(lines[len(lines)-1])
}

// A stream that takes only a part gets the rest later, in its format.
func TestStreamInAFormat(t *testing.T) {
	translate, err := format.New(format.CEF, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for n := range 3 {
		e := numbered(n)
		lines = append(lines, e.AppendJSON(nil, "node1"))
	}
	all := append(bytes.Join(lines, []byte{'\n'}), '\n')
	to := &halfway{}
	rest, err := (translator{to, translate}).write(all)
	if want := append(bytes.Join(lines[1:], []byte{'\n'}), '\n'); err == nil || !bytes.Equal(rest, want) {
		t.Fatalf("%v, left %q, want %q", err, rest, want)
	}
	if got := to.String(); got != string(translate(lines[0]))+"\n" {
		t.Errorf("it has %q", got)
	}
}

// halfway takes one line of those it is given.
type halfway struct{ bytes.Buffer }

func (h *halfway) write(lines []byte) ([]byte, error) {
	n := bytes.IndexByte(lines, '\n') + 1
	h.Write(lines[:n])
	return lines[n:], errors.New("full")
}
func (h *halfway) close() error { return nil }

func TestFormatSettings(t *testing.T) {
	for _, tt := range []struct {
		change func(*Settings)
		want   string
	}{
		{func(s *Settings) { s.Format = "xml" }, `format: "xml": must be json, ecs, ocsf or cef`},
		{func(s *Settings) { s.Format, s.File = format.ECS, "events.jsonl" }, `format: "ecs": a file is always json`},
		{func(s *Settings) { s.Syslog = Syslog{Address: "udp://h", Facility: "auth", Format: "CEF"} }, `syslog.format: "CEF": must be json, ecs, ocsf or cef`},
		{func(s *Settings) { s.Webhook.URL, s.Webhook.Format = "https://h/", "leef" }, `webhook.format: "leef": must be json`},
		{func(s *Settings) { s.Format, s.File = format.ECS, "stdout" }, ""},
	} {
		s := DefaultSettings()
		s.File = "events.jsonl"
		tt.change(&s)
		err := errors.Join(s.Check()...)
		if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.Contains(got, tt.want) {
			t.Errorf("got %v, want %q", got, tt.want)
		}
	}
}
