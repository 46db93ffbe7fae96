package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"berth/sshd/check"
	"berth/sshd/privatefile"
)

// Settings say where Redis is. Valkey speaks the same protocol.
type Settings struct {
	URLs                 []string      `mapstructure:"urls"`                   // the address of Redis: redis://HOST:PORT, or rediss://HOST:PORT for TLS; several for sentinels or a cluster
	Sentinel             string        `mapstructure:"sentinel"`               // the name of the master, if urls are those of sentinels
	SentinelUser         string        `mapstructure:"sentinel_user"`          // the user in the sentinels; empty: the default user
	SentinelPasswordFile string        `mapstructure:"sentinel_password_file"` // a file with the password of the sentinels in its first line; user and password_file are for Redis only
	Cluster              bool          `mapstructure:"cluster"`                // whether urls are nodes of a Redis cluster
	User                 string        `mapstructure:"user"`                   // the user in Redis; empty: the default user
	PasswordFile         string        `mapstructure:"password_file"`          // a file with the password in its first line, read for every new connection; only the owner and the group may read it
	CAFile               string        `mapstructure:"ca_file"`                // a PEM file with the authority of the server's certificate; empty: the authorities of the system
	CertFile             string        `mapstructure:"cert_file"`              // a PEM file with a certificate of this node, if Redis asks for one; read with key_file for every new connection
	KeyFile              string        `mapstructure:"key_file"`               // a PEM file with the private key of cert_file
	Prefix               string        `mapstructure:"prefix"`                 // the beginning of all keys in Redis; nodes with the same one act as one server
	Timeout              time.Duration `mapstructure:"timeout"`                // how long a login may wait for an answer
	CodesWhenLost        CodesWhenLost `mapstructure:"codes_when_lost"`        // what happens to one-time codes while Redis does not answer: refuse, or allow, with which each node remembers its own only
}

// CodesWhenLost says what happens to one-time codes while Redis cannot be asked.
type CodesWhenLost string

const (
	RefuseCodes CodesWhenLost = "refuse" // nobody can log in with one
	AllowCodes  CodesWhenLost = "allow"  // each node remembers its own: a code may be used once on each
)

// DefaultSettings is what a file that says nothing gets: no Redis.
func DefaultSettings() Settings {
	return Settings{Prefix: "berth", Timeout: 50 * time.Millisecond, CodesWhenLost: RefuseCodes}
}

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	var wrong check.Mistakes
	_, err := s.options()
	wrong.If(err != nil, "%w", err)
	wrong.If(s.Prefix == "" || strings.ContainsAny(s.Prefix, "{}"), "prefix: %q: must be a word without braces", s.Prefix)
	wrong.If(s.Timeout < time.Millisecond || s.Timeout > 10*time.Second, "timeout: %v: must be from 1ms to 10s", s.Timeout)
	wrong.If(s.CodesWhenLost != RefuseCodes && s.CodesWhenLost != AllowCodes, "codes_when_lost: %q: must be refuse or allow", s.CodesWhenLost)
	return wrong
}

// options are those of the client. The password of Redis, and the certificate, are read again
// for every new connection.
func (s Settings) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		MasterName: s.Sentinel, SentinelUsername: s.SentinelUser, IsClusterMode: s.Cluster, ContextTimeoutEnabled: true,
		DialTimeout: patience, MaxRetries: -1, DisableIdentity: true, // an operation ends with its context
	}
	if len(s.URLs) > 1 && s.Sentinel == "" && !s.Cluster {
		return nil, fmt.Errorf("urls: %d of them: with several set sentinel or cluster, as one server has one", len(s.URLs))
	}
	if s.Sentinel != "" && s.Cluster {
		return nil, errors.New("sentinel and cluster: set only one of them")
	}
	if s.Sentinel == "" && (s.SentinelUser != "" || s.SentinelPasswordFile != "") {
		return nil, errors.New("sentinel_user and sentinel_password_file need sentinel")
	}
	secure := 0
	for i, url := range s.URLs {
		u, err := redis.ParseURL(url)
		if err != nil {
			return nil, fmt.Errorf("urls[%d]: must be redis://HOST:PORT or rediss://HOST:PORT", i) // err may have a password
		}
		if u.Username != "" || u.Password != "" {
			return nil, fmt.Errorf("urls[%d]: has a user or a password: write user and password_file", i)
		}
		switch {
		case s.Cluster && u.DB != 0:
			return nil, fmt.Errorf("urls[%d]: a cluster has no databases: leave %d out, and set prefix for a second group of nodes", i, u.DB)
		case i > 0 && u.DB != o.DB:
			return nil, fmt.Errorf("urls[%d]: database %d, and urls[0] %d: all must name the same", i, u.DB, o.DB)
		}
		o.Addrs = append(o.Addrs, u.Addr)
		o.DB = u.DB
		if u.TLSConfig != nil {
			secure++
		}
	}
	if secure != 0 && secure != len(s.URLs) {
		return nil, errors.New("urls: some are rediss:// and some redis://: all must be the same")
	}
	o.CredentialsProviderContext = func(context.Context) (user, password string, err error) {
		password, err = secret("password_file", s.PasswordFile)
		return s.User, password, err
	}
	if _, _, err := o.CredentialsProviderContext(context.Background()); err != nil {
		return nil, err
	}
	var err error
	if o.SentinelPassword, err = secret("sentinel_password_file", s.SentinelPasswordFile); err != nil {
		return nil, err
	}
	if secure == 0 {
		if s.CAFile != "" || s.CertFile != "" || s.KeyFile != "" {
			return nil, errors.New("ca_file, cert_file and key_file need rediss:// in urls")
		}
		return o, nil
	}
	trust, err := privatefile.ClientTLS(s.CAFile)
	if err != nil {
		return nil, err
	}
	o.TLSConfig = trust
	if s.CertFile != "" || s.KeyFile != "" {
		o.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
			if err != nil {
				err = fmt.Errorf("cert_file and key_file: %w", err)
			}
			return &pair, err
		}
		_, err = o.TLSConfig.GetClientCertificate(nil)
	}
	return o, err
}

// secret returns what the file of a setting has in its first line, "" if there is no file.
func secret(key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	line, err := privatefile.FirstLine(file)
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", key, file, err)
	}
	return line, err
}
