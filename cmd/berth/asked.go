package main

import (
	"time"

	"golang.org/x/crypto/ssh"

	"berth/sshd/event/metrics"
)

// traffic returns the traffic of the servers of all directories, for metrics.
func (d *directories) traffic() (all []metrics.Server) {
	for _, c := range d.clients {
		for _, s := range c.Traffic() {
			all = append(all, metrics.Server{
				Directory: c.Settings().Name, URL: s.URL, Up: s.Up, Connections: s.Connections,
				Requests: s.Requests, Errors: s.Errors, Failures: s.Failures, Took: s.Took,
			})
		}
	}
	return all
}

// certificates returns the certificates whose end is reported: of servers of
// directories, of their authorities, and of host keys. Each name occurs once.
func (d *directories) certificates(hostKeys []ssh.Signer) (all []metrics.Certificate) {
	seen := map[metrics.Certificate]bool{}
	add := func(use, name string, end time.Time) {
		key := metrics.Certificate{Use: use, Name: name}
		if !end.IsZero() && !seen[key] {
			seen[key] = true
			all = append(all, metrics.Certificate{Use: use, Name: name, End: end})
		}
	}
	for _, c := range d.clients {
		for _, s := range c.Traffic() {
			add("directory", s.URL, s.Certificate)
		}
		add("ca_file", c.Settings().CAFile, c.CAEnd())
	}
	for _, k := range hostKeys {
		if c, ok := k.PublicKey().(*ssh.Certificate); ok && c.ValidBefore != ssh.CertTimeInfinity {
			add("host", c.Key.Type(), time.Unix(int64(c.ValidBefore), 0))
		}
	}
	return all
}
