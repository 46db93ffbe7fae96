package privatefile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// mostAuthorities is more than all authorities of a system need, in bytes.
const mostAuthorities = 1 << 20

// ClientTLS returns settings for connections to servers that an authority in the PEM
// file caFile has certified; empty: one of the system. Errors begin with ca_file, as the
// key is called in each section.
func ClientTLS(caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	text, err := Read(caFile, AllRead, mostAuthorities)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %s: %w", caFile, err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ca_file: %s: holds no certificate in PEM", caFile)
	}
	return c, nil
}
