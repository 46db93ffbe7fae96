package kerberos_test

import (
	"fmt"
	"log"
	"net/netip"

	"golang.org/x/crypto/ssh"

	"berth/sshd/kerberos"
)

// Every connection has a configuration of its own, because its Acceptor holds
// the key of its client.
func ExampleKeytab_Acceptor() {
	keytab, err := kerberos.Open(kerberos.Settings{Keytab: "/etc/berth/krb5.keytab"})
	if err != nil {
		log.Print(err)
		return
	}
	config := func(remote netip.Addr) *ssh.ServerConfig {
		return &ssh.ServerConfig{GSSAPIWithMICConfig: &ssh.GSSAPIWithMICConfig{
			Server: keytab.Acceptor(remote),
			AllowLogin: func(meta ssh.ConnMetadata, principal string) (*ssh.Permissions, error) {
				name, _, err := keytab.User(principal) // and the directory, where there are several
				if err == nil && name != meta.User() {
					err = fmt.Errorf("%s may not log in as %s", principal, meta.User())
				}
				return nil, err
			},
		}}
	}
	_ = config // for ssh.NewServerConn
}
