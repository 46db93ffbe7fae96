package metrics

import (
	"errors"
	"flag"
	"fmt"
	iofs "io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"berth/sshd/event"
	"berth/sshd/event/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session is what a server emits in an ordinary life.
var session = []event.Event{
	{Type: event.DirectoryUp},
	{Type: event.FileLost},
	{Type: event.ProbeSeen, Session: "p"},
	{Type: event.ConnectionRefused, Session: "r"},
	{Type: event.ConnectionOpened, Session: "a"},
	{Type: event.LoginRejected, Session: "a", Method: "password", Reason: event.BadPassword, Duration: 9 * time.Second, Work: time.Second},
	{Type: event.LoginRejected, Session: "a", Method: "password", Reason: event.DirectoryUnavailable, Duration: time.Second},
	{Type: event.LoginAccepted, Session: "a", Method: "password", Duration: time.Minute, Work: 30 * time.Millisecond},
	{Type: event.ConnectionOpened, Session: "b"},
	{Type: event.LoginDenied, Session: "b", Method: "publickey", Reason: event.NoRule},
	{Type: event.LoginShielded, Session: "b", Method: "made up by a client"},
	{Type: event.LoginAccepted, Session: "b", Method: "publickey", Work: time.Millisecond},
	{Type: event.FileOpened, Session: "a", Service: "sftp"},
	{Type: event.FileReadClosed, Session: "a", Service: "sftp", BytesRead: 100},
	{Type: event.FileWriteFailed, Session: "a", Service: "scp", BytesWritten: 7, Err: errors.New("disk full")},
	{Type: event.FileUpdateClosed, Session: "a", Service: "sftp", BytesRead: 1, BytesWritten: 2},
	{Type: event.Copied, Session: "a", Service: "sftp", BytesWritten: 50},
	{Type: event.RemoveFailed, Session: "a", Service: "sftp", Err: iofs.ErrPermission},
	{Type: 1599, Session: "a"},
	{Type: event.PasswordChanged, Session: "b"},
	{Type: event.PasswordChangeFailed, Session: "b"},
	{Type: event.ConnectionClosed, Session: "b"},
	{Type: event.ConnectionClosed, Session: "never logged in"},
}

const want = `
# HELP berth_connections_total Connections that were accepted or refused. Probes are not included.
# TYPE berth_connections_total counter
berth_connections_total{outcome="refused"} 1
berth_connections_total{outcome="success"} 2
# HELP berth_directory_up 1 if the directory answers, 0 if it does not, NaN while this is not known yet.
# TYPE berth_directory_up gauge
berth_directory_up 1
# HELP berth_events_files_lost_total How often another program removed the events file while Berth used it.
# TYPE berth_events_files_lost_total counter
berth_events_files_lost_total 1
# HELP berth_logins_total Logins by method, outcome and reason. bad_password is a mistake of a person, directory_unavailable is an outage.
# TYPE berth_logins_total counter
berth_logins_total{method="gssapi-with-mic",outcome="failure",reason="bad_password"} 0
berth_logins_total{method="gssapi-with-mic",outcome="failure",reason="certificates_unreadable"} 0
berth_logins_total{method="gssapi-with-mic",outcome="failure",reason="codes_unreadable"} 0
berth_logins_total{method="gssapi-with-mic",outcome="failure",reason="directory_unavailable"} 0
berth_logins_total{method="gssapi-with-mic",outcome="failure",reason="state_unknown"} 0
berth_logins_total{method="gssapi-with-mic",outcome="refused",reason="groups_unknown"} 0
berth_logins_total{method="gssapi-with-mic",outcome="refused",reason="no_rule"} 0
berth_logins_total{method="gssapi-with-mic",outcome="refused",reason="shielded"} 0
berth_logins_total{method="gssapi-with-mic",outcome="success",reason=""} 0
berth_logins_total{method="keyboard-interactive",outcome="failure",reason="bad_password"} 0
berth_logins_total{method="keyboard-interactive",outcome="failure",reason="certificates_unreadable"} 0
berth_logins_total{method="keyboard-interactive",outcome="failure",reason="codes_unreadable"} 0
berth_logins_total{method="keyboard-interactive",outcome="failure",reason="directory_unavailable"} 0
berth_logins_total{method="keyboard-interactive",outcome="failure",reason="state_unknown"} 0
berth_logins_total{method="keyboard-interactive",outcome="refused",reason="groups_unknown"} 0
berth_logins_total{method="keyboard-interactive",outcome="refused",reason="no_rule"} 0
berth_logins_total{method="keyboard-interactive",outcome="refused",reason="shielded"} 0
berth_logins_total{method="keyboard-interactive",outcome="success",reason=""} 0
berth_logins_total{method="oidc",outcome="failure",reason="bad_password"} 0
berth_logins_total{method="oidc",outcome="failure",reason="certificates_unreadable"} 0
berth_logins_total{method="oidc",outcome="failure",reason="codes_unreadable"} 0
berth_logins_total{method="oidc",outcome="failure",reason="directory_unavailable"} 0
berth_logins_total{method="oidc",outcome="failure",reason="state_unknown"} 0
berth_logins_total{method="oidc",outcome="refused",reason="groups_unknown"} 0
berth_logins_total{method="oidc",outcome="refused",reason="no_rule"} 0
berth_logins_total{method="oidc",outcome="refused",reason="shielded"} 0
berth_logins_total{method="oidc",outcome="success",reason=""} 0
berth_logins_total{method="other",outcome="refused",reason=""} 1
berth_logins_total{method="password",outcome="failure",reason="bad_password"} 1
berth_logins_total{method="password",outcome="failure",reason="certificates_unreadable"} 0
berth_logins_total{method="password",outcome="failure",reason="codes_unreadable"} 0
berth_logins_total{method="password",outcome="failure",reason="directory_unavailable"} 1
berth_logins_total{method="password",outcome="failure",reason="state_unknown"} 0
berth_logins_total{method="password",outcome="refused",reason="groups_unknown"} 0
berth_logins_total{method="password",outcome="refused",reason="no_rule"} 0
berth_logins_total{method="password",outcome="refused",reason="shielded"} 0
berth_logins_total{method="password",outcome="success",reason=""} 1
berth_logins_total{method="publickey",outcome="failure",reason="bad_password"} 0
berth_logins_total{method="publickey",outcome="failure",reason="certificates_unreadable"} 0
berth_logins_total{method="publickey",outcome="failure",reason="codes_unreadable"} 0
berth_logins_total{method="publickey",outcome="failure",reason="directory_unavailable"} 0
berth_logins_total{method="publickey",outcome="failure",reason="state_unknown"} 0
berth_logins_total{method="publickey",outcome="refused",reason="groups_unknown"} 0
berth_logins_total{method="publickey",outcome="refused",reason="no_rule"} 1
berth_logins_total{method="publickey",outcome="refused",reason="shielded"} 0
berth_logins_total{method="publickey",outcome="success",reason=""} 1
# HELP berth_password_changes_total Password changes by outcome.
# TYPE berth_password_changes_total counter
berth_password_changes_total{outcome="failure"} 1
berth_password_changes_total{outcome="success"} 1
# HELP berth_probes_total Connections that the client closed before it sent anything, as health probes do.
# TYPE berth_probes_total counter
berth_probes_total 1
# HELP berth_sessions Sessions that are logged in now.
# TYPE berth_sessions gauge
berth_sessions 1
# HELP berth_transfer_bytes_total Bytes of files, counted when a file is closed. A download is from the server to the client, a copy is within the server.
# TYPE berth_transfer_bytes_total counter
berth_transfer_bytes_total{direction="copy",service="sftp"} 50
berth_transfer_bytes_total{direction="download",service="scp"} 0
berth_transfer_bytes_total{direction="download",service="sftp"} 101
berth_transfer_bytes_total{direction="upload",service="scp"} 7
berth_transfer_bytes_total{direction="upload",service="sftp"} 2
`

var names = []string{
	"berth_connections_total", "berth_directory_up", "berth_events_files_lost_total", "berth_logins_total",
	"berth_password_changes_total", "berth_probes_total", "berth_sessions", "berth_transfer_bytes_total",
}

func TestSink(t *testing.T) {
	s := New()
	for _, e := range session {
		s.Emit(e)
	}
	if err := testutil.GatherAndCompare(s.Registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	families, err := s.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	durations, operations := map[string]string{}, map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); f.GetName() == "berth_operations_total" && n > 0 {
				operations[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[2].GetValue()+" "+m.GetLabel()[0].GetValue()] = n
			}
			if h := m.GetHistogram(); f.GetName() == "berth_login_duration_seconds" {
				durations[m.GetLabel()[0].GetValue()] = fmt.Sprintf("%d in %.3f s", h.GetSampleCount(), h.GetSampleSum())
			}
		}
	}
	wanted := map[string]float64{
		"scp file_write_failed failure": 1, "sftp remove_failed refused": 1, "sftp copied success": 1, "sftp file_opened success": 1,
		"sftp file_read_closed success": 1, "sftp file_update_closed success": 1, "other other success": 1,
	}
	if !maps.Equal(operations, wanted) {
		t.Errorf("operations: got %v, want %v", operations, wanted)
	}
	if want := map[string]string{"success": "2 in 0.031 s", "failure": "1 in 1.000 s", "refused": "0 in 0.000 s"}; !maps.Equal(durations, want) {
		t.Errorf("login durations: got %v, want %v", durations, want)
	}
	s.Emit(event.Event{Type: event.DirectoryDown})
	if got := testutil.ToFloat64(s.directoryUp); got != 0 {
		t.Errorf("directory down: got %v, want 0", got)
	}
}

func TestDirectoryIsUnknownAtFirst(t *testing.T) {
	if got := testutil.ToFloat64(New().directoryUp); !math.IsNaN(got) {
		t.Errorf("got %v, want NaN", got)
	}
}

func TestNamesPassLint(t *testing.T) {
	s := New()
	for _, e := range session {
		s.Emit(e)
	}
	problems, err := testutil.GatherAndLint(s.Registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

const askedFor = `
# HELP berth_certificate_expiry_timestamp_seconds When a certificate expires: the one that a server of a directory showed, the first one of a ca_file, or one of a host key.
# TYPE berth_certificate_expiry_timestamp_seconds gauge
berth_certificate_expiry_timestamp_seconds{name="/etc/ca.pem",use="ca_file"} 2e+09
# HELP berth_channels SSH channels on which a service runs. One login may have several.
# TYPE berth_channels gauge
berth_channels{service="other"} 3
berth_channels{service="scp"} 0
berth_channels{service="sftp"} 4
# HELP berth_config_info 1; the label is the hash of the configuration in force, rules included and secrets left out. Nodes whose files differ have different ones.
# TYPE berth_config_info gauge
berth_config_info{hash="cd34"} 1
# HELP berth_directory_failovers_total How often the server of the directory was found to be down, so that other servers were asked.
# TYPE berth_directory_failovers_total counter
berth_directory_failovers_total{directory="corp",server="ldaps://a"} 1
berth_directory_failovers_total{directory="corp",server="ldaps://b"} 0
# HELP berth_directory_request_errors_total Requests that the server of the directory did not answer, or answered that it is unavailable.
# TYPE berth_directory_request_errors_total counter
berth_directory_request_errors_total{directory="corp",server="ldaps://a"} 2
berth_directory_request_errors_total{directory="corp",server="ldaps://b"} 0
# HELP berth_directory_request_seconds Requests to the server of the directory, and the time they took.
# TYPE berth_directory_request_seconds summary
berth_directory_request_seconds_sum{directory="corp",server="ldaps://a"} 1.5
berth_directory_request_seconds_count{directory="corp",server="ldaps://a"} 9
berth_directory_request_seconds_sum{directory="corp",server="ldaps://b"} 0
berth_directory_request_seconds_count{directory="corp",server="ldaps://b"} 0
# HELP berth_directory_server_connections Connections of the pool to the server of the directory.
# TYPE berth_directory_server_connections gauge
berth_directory_server_connections{directory="corp",server="ldaps://a"} 3
berth_directory_server_connections{directory="corp",server="ldaps://b"} 0
# HELP berth_directory_server_up 0 if the server of the directory is known to be down, otherwise 1.
# TYPE berth_directory_server_up gauge
berth_directory_server_up{directory="corp",server="ldaps://a"} 0
berth_directory_server_up{directory="corp",server="ldaps://b"} 1
# HELP berth_logins_under_way Connections to this server that have not logged in yet.
# TYPE berth_logins_under_way gauge
berth_logins_under_way 2
# HELP berth_open_files Files and folders that clients have open. ssh.max_files and ssh.max_user_files limit them.
# TYPE berth_open_files gauge
berth_open_files{service="other"} 0
berth_open_files{service="scp"} 1
berth_open_files{service="sftp"} 0
# HELP berth_penalized_sources Addresses and networks that have a penalty now, whichever node gave it.
# TYPE berth_penalized_sources gauge
berth_penalized_sources 5
# HELP berth_rules_info 1; the label is the hash of the rules in force: another hash on another node means other rules.
# TYPE berth_rules_info gauge
berth_rules_info{hash="ab12"} 1
`

func TestAsk(t *testing.T) {
	s := New()
	s.Ask(func() []Server {
		return []Server{
			{Directory: "corp", URL: "ldaps://a", Connections: 3, Requests: 9, Errors: 2, Failures: 1, Took: 1500 * time.Millisecond},
			{Directory: "corp", URL: "ldaps://b", Up: true},
		}
	}, func() []Certificate {
		return []Certificate{{Use: "ca_file", Name: "/etc/ca.pem", End: time.Unix(2e9, 0)}}
	}, func() Node {
		return Node{Logins: 2, Penalized: 5, Rules: "ab12", Config: "cd34", Channels: map[string]int{"sftp": 4, "whoami": 1, "keys": 2}, Files: map[string]int{"scp": 1}}
	})
	if err := testutil.GatherAndCompare(s.Registry, strings.NewReader(askedFor), "berth_certificate_expiry_timestamp_seconds",
		"berth_directory_failovers_total", "berth_directory_request_errors_total", "berth_directory_request_seconds",
		"berth_directory_server_connections", "berth_directory_server_up",
		"berth_channels", "berth_config_info", "berth_logins_under_way", "berth_open_files", "berth_penalized_sources", "berth_rules_info"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(s.Registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// TestNativeHistograms: servers that ask for them get them.
func TestNativeHistograms(t *testing.T) {
	s := New()
	s.Emit(event.Event{Type: event.LoginAccepted, Work: 30 * time.Millisecond})
	s.Emit(event.Event{Type: event.FileReadClosed, Service: "scp", BytesRead: 1, FirstByte: time.Millisecond})
	families, err := s.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h.GetSampleCount() == 1 && len(h.GetPositiveSpan()) == 1 && len(h.GetBucket()) > 0 {
				found++
			}
		}
	}
	if found != 2 {
		t.Errorf("%d histograms have a value in buckets of both kinds, want those of logins and of first bytes", found)
	}
}

var update = flag.Bool("update", false, "write docs/metrics.md")

// TestPage holds docs/metrics.md to the metrics there are.
func TestPage(t *testing.T) {
	s := New()
	for _, e := range session {
		s.Emit(e)
	}
	s.Build("1.0")
	settings := audit.DefaultSettings()
	settings.File = filepath.Join(t.TempDir(), "events.jsonl")
	f, err := audit.Open(settings, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.Watch(f.Queue)
	s.Ask(func() []Server { return make([]Server, 1) }, func() []Certificate { return make([]Certificate, 1) }, func() Node { return Node{} })
	families, err := s.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(`# Metrics

<!-- Made by "go test ./sshd/event/metrics -run TestPage -update". -->

The admin listener (` + "`admin.listen`" + `) serves these metrics at ` + "`/metrics`" + `, with those of the Go runtime (` + "`go_`" + `) and of the process (` + "`process_`" + `).
No label has a value that a client can choose. Histograms are also native histograms, if Prometheus asks for them.

` + "`dist/prometheus/alerts.yaml`" + ` has alerts. The [runbook](runbook.md) has a section for each of them. ` + "`dist/grafana/berth.json`" + ` is a dashboard for
Grafana. The package installs both in ` + "`/usr/share/doc/berth`" + `.

| metric | type | labels | meaning |
|---|---|---|---|
`)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "berth_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	const file = "../../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != page.String() {
		t.Errorf("docs/metrics.md is not up to date: run make docs (%v)", err)
	}
}

// TestReload: whether the file is in force, and 1 before anybody has changed it.
func TestReload(t *testing.T) {
	s := New()
	for _, tt := range []struct {
		e    event.Type
		want float64
	}{{event.ServerStarted, 1}, {event.ReloadFailed, 0}, {event.ServerStarted, 0}, {event.ServerReloaded, 1}} {
		s.Emit(event.Event{Type: tt.e})
		if got := testutil.ToFloat64(s.reloaded); got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.e, got, tt.want)
		}
	}
}

func TestLabelsAreBounded(t *testing.T) {
	s := New()
	for i := range 1000 {
		junk := fmt.Sprint("junk", i)
		s.Emit(event.Event{Type: event.LoginRejected, Session: junk, User: junk, Method: junk})
		s.Emit(event.Event{Type: event.FileReadClosed, Session: junk, Service: junk, Path: junk, BytesRead: 1})
		s.Emit(event.Event{Type: event.Type(1600 + i)})
	}
	for name, want := range map[string]int{"berth_logins_total": 46, "berth_transfer_bytes_total": 5, "berth_operations_total": 53} {
		if got, err := testutil.GatherAndCount(s.Registry, name); got != want || err != nil {
			t.Errorf("%s: got %d series, %v, want %d", name, got, err, want)
		}
	}
	if len(s.open) != 0 {
		t.Errorf("got %d sessions, want none", len(s.open))
	}
}

func TestSinkIsSafeForConcurrentUse(t *testing.T) {
	s := New()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				id := fmt.Sprint(g, "-", i)
				s.Emit(event.Event{Type: event.LoginAccepted, Session: id})
				s.Emit(event.Event{Type: event.ConnectionClosed, Session: id})
			}
		})
	}
	wg.Wait()
	if got := testutil.ToFloat64(s.sessions); got != 0 {
		t.Errorf("sessions: got %v, want 0", got)
	}
}

const written = `
# HELP berth_events_writable 1 if events can be written, 0 if they cannot and are lost or will be lost soon.
# TYPE berth_events_writable gauge
berth_events_writable 1
`

func TestWatch(t *testing.T) {
	settings := audit.DefaultSettings()
	settings.File, settings.Rate = filepath.Join(t.TempDir(), "events.jsonl"), 4<<10
	f, err := audit.Open(settings, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	s := New()
	s.Watch(f.Queue)
	if err := testutil.GatherAndCompare(s.Registry, strings.NewReader(written), "berth_events_writable"); err != nil {
		t.Error(err)
	}
	for range 1000 {
		f.Emit(event.Event{Type: event.RenameFailed, UserID: "u", Path: strings.Repeat("x", 900)})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Emit(event.Event{Type: event.ServerStopped}) // too late
	want := `
# HELP berth_events_dropped_total Events that were lost because they could not be written or sent, or not fast enough.
# TYPE berth_events_dropped_total counter
berth_events_dropped_total{sink="file"} 1
# HELP berth_events_left_out_total Events that were counted and not written, because one person or address caused too many.
# TYPE berth_events_left_out_total counter
berth_events_left_out_total{sink="file"} ` + fmt.Sprint(f.Health().LeftOut) + `
# HELP berth_events_oldest_seconds Age of the oldest event that could not be written or sent yet; 0 if there is none.
# TYPE berth_events_oldest_seconds gauge
berth_events_oldest_seconds{sink="file"} 0
# HELP berth_events_refused_total Events that the receiver refused and that were set aside in a file.
# TYPE berth_events_refused_total counter
berth_events_refused_total{sink="file"} 0
# HELP berth_events_sink_up 1 if the last events were written or sent, 0 if not.
# TYPE berth_events_sink_up gauge
berth_events_sink_up{sink="file"} 0
# HELP berth_events_waiting Events that wait to be written or sent.
# TYPE berth_events_waiting gauge
berth_events_waiting{sink="file"} 0
` + strings.Replace(written, "\nberth_events_writable 1", "\nberth_events_writable 0", 1)
	if f.Health().LeftOut == 0 {
		t.Error("nothing was left out")
	}
	if err := testutil.GatherAndCompare(s.Registry, strings.NewReader(want), "berth_events_dropped_total", "berth_events_left_out_total",
		"berth_events_writable", "berth_events_waiting", "berth_events_oldest_seconds", "berth_events_refused_total", "berth_events_sink_up"); err != nil {
		t.Error(err)
	}
}

func BenchmarkEmit(b *testing.B) {
	s := New()
	e := event.Event{Type: event.FileReadClosed, Service: "sftp", BytesRead: 100}
	b.ReportAllocs()
	for b.Loop() {
		s.Emit(e)
	}
}
