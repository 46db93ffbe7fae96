package ldap

import (
	"context"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// TestNumberOfSID compares with libsss_idmap 2.8.2.
func TestNumberOfSID(t *testing.T) {
	for _, tt := range []struct {
		domain, rid string
		want        uint32
	}{
		{"S-1-5-21-1-2-3", "513", 686200513},
		{"S-1-5-21-1-2-3", "500", 686200500},
		{"S-1-5-21-1-2-3", "199999", 686399999},
		{"S-1-5-21-1-2-3", "200000", 832600000},
		{"S-1-5-21-1-2-3", "450001", 313850001},
		{"S-1-5-21-3623811015-3361044348-30300820", "1103", 674001103},
		{"S-1-5-21-3623811015-3361044348-30300820", "200000", 1787200000},
		{"S-1-5-21-3623811015-3361044348-30300820", "450001", 67850001},
		{"S-1-5-21-1004336348-1177238915-682003330", "1103", 266801103},
		{"S-1-5-21-1004336348-1177238915-682003330", "450001", 1948650001},
		{"S-1-5-21-4294967295-4294967295-4294967295", "1103", 1246201103},
		{"S-1-5-21-2153326666-2176343378-3404031434", "1103", 770801103},
		{"S-1-5-21-10-20-305", "1103", 1881001103}, // each length of the text, modulo 4
		{"S-1-5-21-111-2222-33333", "1103", 1068601103},
		{"S-1-5-21-99-9-8", "1103", 665201103},
	} {
		got, err := numberOfSID(tt.domain+"-"+tt.rid, tt.domain)
		if err != nil || got != tt.want {
			t.Errorf("%s-%s is %d, %v; want %d", tt.domain, tt.rid, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ sid, domain string }{
		{"S-1-5-32-544", "S-1-5-32"},                      // built in
		{"S-1-5-21-1-2-4-513", "S-1-5-21-1-2-3"},          // of another domain
		{"S-1-5-21-1-2-3", "S-1-5-21-1-2-3"},              // the domain itself
		{"S-1-5-21-1-2-3-2200000", "S-1-5-21-1-2-3"},      // beyond the last slice
		{"S-1-5-21-1-2-3-4294967296", "S-1-5-21-1-2-3"},   // not of 32 bits
		{"S-1-5-21-1-2-3--1", "S-1-5-21-1-2-3"}, {"", ""}, // not SIDs
	} {
		if got, err := numberOfSID(tt.sid, tt.domain); err == nil {
			t.Errorf("%s of %s is %d", tt.sid, tt.domain, got)
		}
	}
}

// TestIDMapping reads a user and groups of Active Directory that have no numbers. The group
// of another domain and the one that is built in get none.
func TestIDMapping(t *testing.T) {
	sid := func(numbers ...uint32) string {
		b := []byte{1, byte(len(numbers)), 0, 0, 0, 0, 0, 5}
		for _, n := range numbers {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		return string(b)
	}
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		if req.Scope != ldap.ScopeBaseObject {
			return &ldap.SearchResult{}, nil
		}
		return &ldap.SearchResult{Entries: []*ldap.Entry{{DN: req.BaseDN, Attributes: []*ldap.EntryAttribute{ldap.NewEntryAttribute("tokenGroups", []string{
			sid(21, 1, 2, 3, 513), sid(21, 1, 2, 3, 1103), sid(21, 1, 2, 4, 1103), sid(32, 545),
		})}}}}, nil
	}
	c := testClient(Settings{Kind: "active_directory", IDMapping: "sid"})
	user := attrs("objectSid="+sid(21, 1, 2, 3, 500), "primaryGroupID=513", "uidNumber=5")
	groups, err := c.groups(t.Context(), search, user, "alice")
	if err != nil {
		t.Fatal(err)
	}
	want := directory.POSIX{UID: 686200500, GID: 686200513, Groups: []uint32{686201103}}
	if got := c.posix(user, groups); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := c.posix(attrs("primaryGroupID=513"), nil); got.Err() == nil {
		t.Errorf("somebody without a SID is %+v", got)
	}
}
