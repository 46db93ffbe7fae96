package ldap_test

import (
	"strings"
	"testing"

	"berth/directory/ldap"
	"berth/test/peers"
)

// indexesAre compares what Indexes reports of a server with the beginning of a line.
func indexesAre(t *testing.T, s ldap.Settings, want string) {
	t.Helper()
	if got := printed(open(t, s).Indexes(t.Context())); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("Indexes:\n%swant one line that begins with\n%s", got, want)
	}
}

func TestIndexesOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	s := settings(p)
	indexesAre(t, s, "note: search by beginnings: uid, cn, sn need an index on the server for how a value begins; it could not be read: ")
	configure(t, p, "database mdb", `database config
access to * by dn.exact="`+s.BindDN+`" read by * none

database mdb`)
	const missing = "warning: search by beginnings: the server has no index of "
	const was = "index objectClass,uid,cn,mail,memberUid,member,uniqueMember eq"
	indexesAre(t, s, missing+"uid, cn, sn for how a value begins, and ")
	configure(t, p, was, "index default pres,subinitial\nindex uid,objectClass eq\nindex cn eq,sub\nindex sn")
	indexesAre(t, s, missing+"uid for")
	s.LoginAttributes = []string{"cn"}
	indexesAre(t, s, "ok: search by beginnings: cn, cn, sn have an index")
}

func TestIndexesSamba(t *testing.T) {
	s := settings(peers.Samba(t))
	indexesAre(t, s, "note: search by beginnings: Samba uses its indexes for whole values only")
	s.LoginAttributes = []string{"sAMAccountName", "homeDirectory"}
	indexesAre(t, s, "warning: search by beginnings: the server has no index of homeDirectory for")
}
