package event

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestLog(t *testing.T) {
	tests := []struct {
		e    Event
		want string
	}{
		{Event{
			Type: LoginRejected, Session: "5f1c", User: "bob", Remote: netip.MustParseAddrPort("192.0.2.1:1234"),
			Method: "password", Reason: BadPassword, Fields: map[string]string{"b": "2", "a": "1"},
		}, "[INFO]  login rejected: session=5f1c user=bob remote=192.0.2.1:1234 method=password reason=bad_password a=1 b=2\n"},
		{Event{Type: DirectoryDown, Err: errors.New("refused")}, "[WARN]  directory down: error=refused\n"},
		{Event{Type: LoginRejected, User: "bob\n[ERROR] disk on fire"}, "[INFO]  login rejected: user=\"bob\\u000a[ERROR] disk on fire\"\n"},
		{Event{Type: EventsLeftOut, User: "bob", Reason: RateExceeded}, "[WARN]  events left out: user=bob reason=rate_exceeded\n"},
		{Event{Type: SessionKicked, User: "bob"}, "[INFO]  session kicked: user=bob\n"},
		{Event{Type: ConnectionOpened}, ""}, // Debug
		{Event{Type: FileReadClosed, Path: "/a"}, ""},
		{Event{Type: ProbeSeen}, ""},
		{Event{Type: 77}, ""},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		Log(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true, Level: hclog.Info})).Emit(tt.e)
		if got := out.String(); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.e.Type, got, tt.want)
		}
	}
}

func TestSinks(t *testing.T) {
	var a, b bytes.Buffer
	opts := func(out *bytes.Buffer) *hclog.LoggerOptions { return &hclog.LoggerOptions{Output: out} }
	Sinks{Log(hclog.New(opts(&a))), Log(hclog.New(opts(&b)))}.Emit(Event{Type: ServerStarted})
	for _, out := range []string{a.String(), b.String()} {
		if !strings.Contains(out, "server started") {
			t.Errorf("got %q", out)
		}
	}
}
