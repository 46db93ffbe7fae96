package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"

	"berth/directory"
	"berth/directory/embedded"
	"berth/directory/ldap"
)

// directories is every configured directory as one, and what to close.
type directories struct {
	directory.Directory
	clients  []*ldap.Client
	shields  []*directory.Shield
	embedded []*embedded.Server
	closers  []io.Closer
}

func (d *directories) Close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i].Close())
	}
	return errors.Join(errs...)
}

// openDirectories makes a client for each directory of the file. No server
// needs to answer yet. attributes are those that rules want of a user.
func openDirectories(list []ldap.Settings, attributes []string, log hclog.Logger) (*directories, error) {
	all := &directories{}
	var members []directory.Member
	for _, s := range list {
		m, err := all.open(s, attributes, log)
		if err != nil {
			all.Close()
			return nil, fmt.Errorf("directory %q: %w", s.Name, err)
		}
		members = append(members, m)
	}
	for _, c := range all.clients {
		for _, other := range all.clients {
			if c.Settings().ForeignGroups == other.Settings().Name {
				c.CountGroupsOf(other)
			}
		}
	}
	all.Directory = members[0].Directory
	if len(members) > 1 {
		joined, err := directory.Join(members...)
		if err != nil {
			all.Close()
			return nil, err
		}
		all.Directory = joined
	}
	return all, nil
}

// open makes a member: a client, a shield that counts wrong passwords in front
// of it, and a cache of look-ups in front of both.
func (all *directories) open(s ldap.Settings, attributes []string, log hclog.Logger) (m directory.Member, err error) {
	s.Attributes = append(s.Attributes, attributes...)
	var client *ldap.Client
	if s.Kind == "embedded" {
		client, err = all.embed(s, log)
	} else {
		client, err = ldap.Open(s, log.Named("ldap"))
	}
	if err != nil {
		return m, err
	}
	all.clients = append(all.clients, client)
	all.closers = append(all.closers, client)
	s = client.Settings()
	var d directory.Directory = client
	if s.Shield.Threshold >= 0 {
		shield := directory.NewShield(d, s.Shield.Threshold, s.Shield.Window)
		shield.ByName = s.BindAs != ""
		all.shields = append(all.shields, shield)
		d = shield
	}
	d = directory.NewCache(d, s.Cache, s.Outage.Keep)
	return directory.Member{Name: s.Name, Suffixes: s.Suffixes, Directory: d}, nil
}

// embed starts an embedded directory and opens a client for it.
func (all *directories) embed(s ldap.Settings, log hclog.Logger) (*ldap.Client, error) {
	srv, err := embedded.Open(embedded.Settings{LDIF: s.LDIF}, log.Named("embedded"))
	if err != nil {
		return nil, err
	}
	all.embedded = append(all.embedded, srv)
	all.closers = append(all.closers, srv)
	s.Base = srv.Base()
	s.BindDN, s.BindPassword = srv.Service()
	return ldap.OpenLocal(s, srv.Dial, log.Named("ldap"))
}
