package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Server is how one server of a directory does.
type Server struct {
	Directory, URL             string
	Up                         bool
	Connections                int
	Requests, Errors, Failures uint64
	Took                       time.Duration // all requests
}

// A Certificate is one that ends.
type Certificate struct {
	Use  string // directory, ca_file or host
	Name string // the URL of the server, or the file
	End  time.Time
}

// asked is what is asked for when somebody looks, not counted by events.
type asked struct {
	servers      func() []Server
	certificates func() []Certificate
}

// Ask exports how servers of directories do, and when certificates end. It is called
// once.
func (s *Sink) Ask(servers func() []Server, certificates func() []Certificate) {
	s.Registry.MustRegister(asked{servers, certificates})
}

func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("berth_"+name, help, labels, nil)
}

var (
	serverUp = described("directory_server_up",
		"0 if the server of the directory is known to be down, otherwise 1.", "directory", "server")
	serverConnections = described("directory_server_connections",
		"Connections of the pool to the server of the directory.", "directory", "server")
	serverRequests = described("directory_request_seconds",
		"Requests to the server of the directory, and the time they took.", "directory", "server")
	serverErrors = described("directory_request_errors_total",
		"Requests that the server of the directory did not answer, or answered that it is unavailable.", "directory", "server")
	serverFailovers = described("directory_failovers_total",
		"How often the server of the directory was found to be down, so that other servers were asked.", "directory", "server")
	certificateEnd = described("certificate_expiry_timestamp_seconds",
		"When a certificate expires: the one that a server of a directory showed, the first one of a ca_file, or one of a host key.", "use", "name")
)

// Describe implements prometheus.Collector.
func (a asked) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{serverUp, serverConnections, serverRequests, serverErrors, serverFailovers, certificateEnd} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (a asked) Collect(to chan<- prometheus.Metric) {
	for _, s := range a.servers() {
		up := 0.0
		if s.Up {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(serverUp, prometheus.GaugeValue, up, s.Directory, s.URL)
		to <- prometheus.MustNewConstMetric(serverConnections, prometheus.GaugeValue, float64(s.Connections), s.Directory, s.URL)
		to <- prometheus.MustNewConstSummary(serverRequests, s.Requests, s.Took.Seconds(), nil, s.Directory, s.URL)
		to <- prometheus.MustNewConstMetric(serverErrors, prometheus.CounterValue, float64(s.Errors), s.Directory, s.URL)
		to <- prometheus.MustNewConstMetric(serverFailovers, prometheus.CounterValue, float64(s.Failures), s.Directory, s.URL)
	}
	for _, c := range a.certificates() {
		to <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(c.End.Unix()), c.Use, c.Name)
	}
}
