package ldap

import (
	"crypto/x509"
	"encoding/pem"
	"time"
)

// Traffic has the state of one server of a directory, and its requests so
// far, for metrics.
type Traffic struct {
	URL         string
	Up          bool          // it answers, as far as is known
	Connections int           // in the pool: those of user binds are closed after each
	Requests    uint64        // that were sent
	Errors      uint64        // of those, without an answer or with one that the server is unavailable
	Took        time.Duration // all requests together
	Failures    uint64        // how often it was found to be down, so that others were asked
	Certificate time.Time     // when its certificate ends; zero: unknown, or in the clear
}

// Traffic returns the traffic of each server, in the order of the settings. In a
// forest those of the other domains and of the global catalogue follow.
func (c *Client) Traffic() []Traffic {
	all := c.traffic()
	if c.forest != nil {
		for _, other := range c.forest.others() {
			all = append(all, other.traffic()...)
		}
	}
	return all
}

func (c *Client) traffic() []Traffic {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	open := map[*server]int{}
	for _, cn := range p.idle {
		open[cn.server]++
	}
	for cn := range p.busy {
		open[cn.server]++
	}
	all := make([]Traffic, len(p.servers))
	for i, s := range p.servers {
		all[i] = s.traffic
		all[i].URL, all[i].Up, all[i].Connections = s.url, s.down == nil, open[s]
	}
	return all
}

// CAEnd returns when the first certificate of the CA file ends; zero: there is none.
func (c *Client) CAEnd() time.Time {
	if c.settings.CAFile == "" {
		return time.Time{}
	}
	by, _ := c.caFile.Current() // whoever connects reports what is wrong with the file
	return by.end
}

func (p *pool) count(s *server, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.traffic.Requests++
	s.traffic.Took += took
	if err != nil && unwell(err) {
		s.traffic.Errors++
	}
}

// certified notes the certificate that a server has shown.
func (p *pool) certified(s *server, chain []*x509.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(chain) > 0 {
		s.traffic.Certificate = chain[0].NotAfter
	}
}

// firstEnd returns when the first of some certificates ends.
func firstEnd(text []byte) (end time.Time) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return end
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && (end.IsZero() || c.NotAfter.Before(end)) {
			end = c.NotAfter
		}
	}
}
