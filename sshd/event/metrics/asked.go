package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Server has the state and the requests of one server of a directory.
type Server struct {
	Directory, URL             string
	Up                         bool
	Connections                int
	Requests, Errors, Failures uint64
	Took                       time.Duration // all requests
}

// A Certificate is one whose end is reported.
type Certificate struct {
	Use  string // directory, ca_file or host
	Name string // the URL of the server, or the file
	End  time.Time
}

// A Node has the numbers of this server at the moment.
type Node struct {
	Logins    int            // under way
	Penalized int            // sources that have penalties
	Rules     string         // the hash of the rules in force
	Config    string         // the hash of the configuration in force
	Channels  map[string]int // open, by service
	Files     map[string]int // and folders, open, by service
}

// asked are the metrics that are read when Prometheus asks, and not counted
// by events.
type asked struct {
	servers      func() []Server
	certificates func() []Certificate
	node         func() Node
}

// Ask exports the state of servers of directories, the ends of certificates, and
// the numbers of this server. It is called once.
func (s *Sink) Ask(servers func() []Server, certificates func() []Certificate, node func() Node) {
	s.Registry.MustRegister(asked{servers, certificates, node})
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
	logins     = described("logins_under_way", "Connections to this server that have not logged in yet.")
	penalized  = described("penalized_sources", "Addresses and networks that have a penalty now, whichever node gave it.")
	channels   = described("channels", "SSH channels on which a service runs. One login may have several.", "service")
	openFiles  = described("open_files", "Files and folders that clients have open. ssh.max_files and ssh.max_user_files limit them.", "service")
	rulesInfo  = described("rules_info", "1; the label is the hash of the rules in force: another hash on another node means other rules.", "hash")
	configInfo = described("config_info", "1; the label is the hash of the configuration in force, rules included and secrets left out. Nodes whose files differ have different ones.", "hash")
)

// Describe implements prometheus.Collector.
func (a asked) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{serverUp, serverConnections, serverRequests, serverErrors, serverFailovers, certificateEnd, logins, penalized, channels, openFiles, rulesInfo, configInfo} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (a asked) Collect(to chan<- prometheus.Metric) {
	for _, s := range a.servers() {
		to <- prometheus.MustNewConstMetric(serverUp, prometheus.GaugeValue, oneIf(s.Up), s.Directory, s.URL)
		to <- prometheus.MustNewConstMetric(serverConnections, prometheus.GaugeValue, float64(s.Connections), s.Directory, s.URL)
		to <- prometheus.MustNewConstSummary(serverRequests, s.Requests, s.Took.Seconds(), nil, s.Directory, s.URL)
		to <- prometheus.MustNewConstMetric(serverErrors, prometheus.CounterValue, float64(s.Errors), s.Directory, s.URL)
		to <- prometheus.MustNewConstMetric(serverFailovers, prometheus.CounterValue, float64(s.Failures), s.Directory, s.URL)
	}
	for _, c := range a.certificates() {
		to <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(c.End.Unix()), c.Use, c.Name)
	}
	n := a.node()
	to <- prometheus.MustNewConstMetric(logins, prometheus.GaugeValue, float64(n.Logins))
	to <- prometheus.MustNewConstMetric(penalized, prometheus.GaugeValue, float64(n.Penalized))
	for desc, held := range map[*prometheus.Desc]map[string]int{channels: n.Channels, openFiles: n.Files} {
		sums := map[string]int{other: 0}
		for service := range services {
			sums[service] = 0
		}
		for service, count := range held {
			sums[known(services, service)] += count
		}
		for service, sum := range sums {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(sum), service)
		}
	}
	to <- prometheus.MustNewConstMetric(rulesInfo, prometheus.GaugeValue, 1, n.Rules)
	to <- prometheus.MustNewConstMetric(configInfo, prometheus.GaugeValue, 1, n.Config)
}
