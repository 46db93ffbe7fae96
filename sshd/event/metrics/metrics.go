// Package metrics counts events for Prometheus. It is apart from package event
// so that those who only emit events do not depend on Prometheus.
package metrics

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"berth/sshd/event"
	"berth/sshd/event/audit"
)

// A Sink counts events in a registry of its own. No label has a value that a
// client can choose.
type Sink struct {
	// Registry also has the numbers of the Go runtime and of the process. More
	// may be registered in it.
	Registry *prometheus.Registry

	logins          *prometheus.CounterVec
	loginDuration   *prometheus.HistogramVec
	firstByte       *prometheus.HistogramVec
	sessions        prometheus.Gauge
	transferBytes   *prometheus.CounterVec
	operations      *prometheus.CounterVec
	connections     *prometheus.CounterVec
	probes          prometheus.Counter
	passwordChanges *prometheus.CounterVec
	mails           *prometheus.CounterVec
	directoryUp     prometheus.Gauge
	stateUp         prometheus.Gauge
	filesLost       prometheus.Counter
	reloaded        prometheus.Gauge
	foldersMissing  *prometheus.GaugeVec

	mu   sync.Mutex
	open map[string]struct{} // sessions that logged in and have not ended
}

// New returns a Sink with a new registry.
func New() *Sink {
	s := &Sink{Registry: prometheus.NewRegistry(), open: map[string]struct{}{}}
	with := promauto.With(s.Registry)
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return with.NewCounterVec(counter(name, help), labels)
	}
	seconds := func(name, help string, buckets []float64, label string) *prometheus.HistogramVec {
		return with.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "berth", Name: name, Help: help, Buckets: buckets,
			// For servers that ask for native histograms: each bucket a tenth wider than the one before, so many at most.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{label})
	}
	s.logins = counters("logins_total", "Logins by method, outcome and reason. bad_password is a mistake of a person, directory_unavailable is an outage.",
		"method", "outcome", "reason")
	s.loginDuration = seconds("login_duration_seconds",
		"Time that the server needed for a login: the directory, signatures, rules. The time in which people type is not included.",
		prometheus.ExponentialBuckets(0.005, 2, 14), "outcome") // 5 ms to 41 s
	s.firstByte = seconds("first_byte_seconds",
		"Time from the opening of a file to the first byte that was read. Large values mean a slow disk or network file system.",
		prometheus.ExponentialBuckets(0.0001, 4, 10), "service") // 0.1 ms to 26 s
	s.sessions = with.NewGauge(gauge("sessions", "Sessions that are logged in now."))
	s.transferBytes = counters("transfer_bytes_total", "Bytes of files, counted when a file is closed. A download is from the server to the client, a copy is within the server.", "direction", "service")
	s.operations = counters("operations_total", "Operations on files and folders by service, type of event and outcome.", "service", "type", "outcome")
	s.connections = counters("connections_total", "Connections that were accepted or refused. Probes are not included.", "outcome")
	s.probes = with.NewCounter(counter("probes_total", "Connections that the client closed before it sent anything, as health probes do."))
	s.passwordChanges = counters("password_changes_total", "Password changes by outcome.", "outcome")
	s.mails = counters("mails_total", "Mails to people by outcome. A mail that is tried again counts each time.", "outcome")
	s.filesLost = with.NewCounter(counter("events_files_lost_total", "How often another program removed the events file while Berth used it."))
	s.reloaded = with.NewGauge(gauge("last_reload_success", "1 if the last reload found no mistake in the configuration, 0 if an older configuration is in force."))
	s.reloaded.Set(1)
	s.directoryUp = with.NewGauge(gauge("directory_up", "1 if the directory answers, 0 if it does not, NaN while this is not known yet."))
	s.foldersMissing = with.NewGaugeVec(gauge("folders_missing", "Number of host directories of the folder at this path that could not be opened when a session began."),
		[]string{"path"})
	s.stateUp = with.NewGauge(gauge("state_up", "1 if the shared state of the nodes can be read, 0 if it cannot, NaN if nodes share no state."))
	s.directoryUp.Set(math.NaN())
	s.stateUp.Set(math.NaN())
	for m := range methods { // a rate needs a zero to begin at
		s.logins.WithLabelValues(m, string(event.Success), "")
		for t, reasons := range refusals {
			for _, r := range reasons {
				s.logins.WithLabelValues(m, string(t.Outcome()), r.String())
			}
		}
	}
	for _, t := range []event.Type{event.ConnectionOpened, event.ConnectionRefused} {
		s.connections.WithLabelValues(string(t.Outcome()))
	}
	for _, t := range []event.Type{event.PasswordChanged, event.PasswordChangeFailed} {
		s.passwordChanges.WithLabelValues(string(t.Outcome()))
	}
	for _, o := range []event.Outcome{event.Success, event.Failure, event.Refused} {
		s.loginDuration.WithLabelValues(string(o))
	}
	s.mails.WithLabelValues(string(event.Success))
	s.mails.WithLabelValues(string(event.Failure))
	for service := range services {
		for t := range event.Types() {
			if t >= firstOperation && t <= lastOperation {
				s.operations.WithLabelValues(service, t.String(), string(t.Outcome()))
			}
		}
		s.firstByte.WithLabelValues(service)
		s.transferBytes.WithLabelValues("download", service)
		s.transferBytes.WithLabelValues("upload", service)
	}
	s.foldersMissing.WithLabelValues("/")
	s.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: "berth", Name: name, Help: help}
}

func gauge(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Namespace: "berth", Name: name, Help: help}
}

// Build exports the version of the program. It is called once.
func (s *Sink) Build(release string) {
	info := gauge("build_info", "1; the labels are the version of the program and of Go.")
	info.ConstLabels = prometheus.Labels{"version": release, "goversion": runtime.Version()}
	promauto.With(s.Registry).NewGauge(info).Set(1)
}

// Watch exports how many events are written, sent, waiting and lost. It is
// called once.
func (s *Sink) Watch(ways ...audit.Watched) {
	for _, w := range ways {
		with := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"sink": w.Health().Kind}, s.Registry))
		with.NewCounterFunc(counter("events_dropped_total", "Events that were lost because they could not be written or sent, or not fast enough."),
			func() float64 { return float64(w.Health().Dropped) })
		with.NewCounterFunc(counter("events_left_out_total", "Events that were counted and not written, because one person or address caused too many."),
			func() float64 { return float64(w.Health().LeftOut) })
		with.NewCounterFunc(counter("events_refused_total", "Events that the receiver refused and that were set aside in a file."),
			func() float64 { return float64(w.Health().Refused) })
		with.NewGaugeFunc(gauge("events_waiting", "Events that wait to be written or sent."), func() float64 { return float64(w.Health().Waiting) })
		with.NewGaugeFunc(gauge("events_oldest_seconds", "Age of the oldest event that could not be written or sent yet; 0 if there is none."), func() float64 {
			oldest := w.Health().Oldest
			if oldest.IsZero() {
				return 0
			}
			return time.Since(oldest).Seconds()
		})
		with.NewGaugeFunc(gauge("events_sink_up", "1 if the last events were written or sent, 0 if not."), func() float64 { return oneIf(w.Health().Err == nil) })
	}
	promauto.With(s.Registry).NewGaugeFunc(gauge("events_writable", "1 if events can be written, 0 if they cannot and are lost or will be lost soon."), func() float64 {
		return oneIf(!slices.ContainsFunc(ways, func(w audit.Watched) bool { q, ok := w.(*audit.Queue); return ok && q.Lost() != nil }))
	})
}

// oneIf is how Prometheus has a truth.
func oneIf(truth bool) float64 {
	if truth {
		return 1
	}
	return 0
}

// MissingFolders exports how many host directories are missing, by the path of
// their folder in the view.
func (s *Sink) MissingFolders(byPath map[string]int) {
	for path, n := range byPath {
		s.foldersMissing.WithLabelValues(path).Set(float64(n))
	}
}

// Emit counts e.
func (s *Sink) Emit(e event.Event) {
	outcome := string(e.Outcome())
	switch e.Type {
	case event.DirectoryUp:
		s.directoryUp.Set(1)
	case event.DirectoryDown:
		s.directoryUp.Set(0)
	case event.StateUp:
		s.stateUp.Set(1)
	case event.StateDown:
		s.stateUp.Set(0)
	case event.ServerReloaded:
		s.reloaded.Set(1)
	case event.ReloadFailed:
		s.reloaded.Set(0)
	case event.FileLost:
		s.filesLost.Inc()
	case event.ConnectionOpened, event.ConnectionRefused:
		s.connections.WithLabelValues(outcome).Inc()
	case event.ProbeSeen:
		s.probes.Inc()
	case event.LoginAccepted, event.LoginRejected, event.LoginDenied, event.LoginShielded:
		s.logins.WithLabelValues(known(methods, e.Method), outcome, e.Reason.String()).Inc()
		if e.Work > 0 {
			s.loginDuration.WithLabelValues(outcome).Observe(e.Work.Seconds())
		}
	case event.PasswordChanged, event.PasswordChangeFailed:
		s.passwordChanges.WithLabelValues(outcome).Inc()
	case event.MailSent, event.MailFailed:
		s.mails.WithLabelValues(outcome).Inc()
	}
	if e.Type == event.LoginAccepted || e.Type == event.ConnectionClosed {
		s.session(&e)
	}
	if e.Type >= firstOperation && e.Type <= lastOperation {
		s.operation(&e)
	}
}

// The range of ids that is about files.
const (
	firstOperation event.Type = 1500
	lastOperation  event.Type = 1599
)

// session counts a session that has begun or ended.
func (s *Sink) session(e *event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Type == event.LoginAccepted {
		s.open[e.Session] = struct{}{}
	} else {
		delete(s.open, e.Session)
	}
	s.sessions.Set(float64(len(s.open)))
}

func (s *Sink) operation(e *event.Event) {
	service, upload := known(services, e.Service), "upload"
	s.operations.WithLabelValues(service, typeLabel(e.Type), string(e.Outcome())).Inc()
	if e.Type == event.Copied || e.Type == event.CopyFailed {
		upload = "copy" // nothing came from the client
	}
	if e.FirstByte > 0 {
		s.firstByte.WithLabelValues(service).Observe(e.FirstByte.Seconds())
	}
	if e.BytesRead > 0 {
		s.transferBytes.WithLabelValues("download", service).Add(float64(e.BytesRead))
	}
	if e.BytesWritten > 0 {
		s.transferBytes.WithLabelValues(upload, service).Add(float64(e.BytesWritten))
	}
}

// The values that a label may have. Any other value becomes "other".
var (
	methods = map[string]bool{
		"password": true, "publickey": true, "keyboard-interactive": true, "gssapi-with-mic": true, "oidc": true,
	}
	services = map[string]bool{"sftp": true, "scp": true}
)

// refusals are the reasons of logins that are shown before they happen. They include
// those of an alert, because a series that begins at one has not grown for the alert.
var refusals = map[event.Type][]event.Reason{
	event.LoginRejected: {event.BadPassword, event.DirectoryUnavailable, event.StateUnknown, event.CodesUnreadable, event.CertificatesUnreadable},
	event.LoginDenied:   {event.NoRule, event.GroupsUnknown},
	event.LoginShielded: {event.Shielded},
}

const other = "other"

func known(values map[string]bool, v string) string {
	if values[v] {
		return v
	}
	return other
}

func typeLabel(t event.Type) string {
	if t.Description() == "" {
		return other
	}
	return t.String()
}
