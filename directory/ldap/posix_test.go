package ldap

import (
	"reflect"
	"strings"
	"testing"

	"berth/directory"
)

func TestPOSIX(t *testing.T) {
	tests := []struct {
		attributes []string
		want       directory.POSIX
		problem    string
	}{
		{attributes: []string{"uidNumber=1001", "gidNumber=2000"}, want: directory.POSIX{UID: 1001, GID: 2000, Groups: []uint32{7, 2001}}},
		{attributes: []string{"uidNumber=1000", "gidNumber=7"}, want: directory.POSIX{UID: 1000, GID: 7, Groups: []uint32{2001}}},
		{attributes: []string{"uidNumber=4294967294", "gidNumber=2001"}, want: directory.POSIX{UID: 4294967294, GID: 2001, Groups: []uint32{7}}},
		{attributes: []string{"gidNumber=2000"}, problem: "uidNumber: one value is needed, the service account sees 0"},
		{attributes: []string{"uidNumber=1001"}, problem: "gidNumber: one value is needed, the service account sees 0"},
		{attributes: []string{"uidNumber=1001", "uidNumber=1002", "gidNumber=1"}, problem: "uidNumber: one value is needed, the service account sees 2"},
		{attributes: []string{"uidNumber=0", "gidNumber=2000"}, problem: `uidNumber "0": must be a number from 1 to 4294967294`},
		{attributes: []string{"uidNumber=1001", "gidNumber=0"}, problem: `gidNumber "0": must be a number from 1 to 4294967294`},
		{attributes: []string{"uidNumber=4294967295", "gidNumber=1"}, problem: "must be a number"}, // chown takes it for "no change"
		{attributes: []string{"uidNumber=4294968297", "gidNumber=1"}, problem: "must be a number"}, // 1001 in 32 bits
		{attributes: []string{"uidNumber=-1", "gidNumber=1"}, problem: "must be a number"},
		{attributes: []string{"uidNumber=999", "gidNumber=2000"}, problem: "uid 999 is smaller than min_uid (1000)"},
	}
	c := testClient(Settings{Kind: "generic", MinUID: 1000})
	for _, tt := range tests {
		got := c.posix(attrs(tt.attributes...), []directory.Group{{GID: 2001}, {GID: 0}, {GID: 7}, {GID: 2001}})
		if !strings.Contains(got.Problem, tt.problem) || (got.Err() == nil) != (tt.problem == "") {
			t.Errorf("%v: %q, want %q", tt.attributes, got.Problem, tt.problem)
		}
		if got.Problem = ""; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %+v, want %+v", tt.attributes, got, tt.want)
		}
	}
	c.settings = Settings{Kind: "generic", MinUID: 0}.Complete()
	if err := c.posix(attrs("uidNumber=1", "gidNumber=2000"), nil).Err(); err != nil {
		t.Errorf("uid 1 with min_uid: 0, which permits all but root: %v", err)
	}
	if (directory.POSIX{}).Err() == nil {
		t.Error("the zero value is somebody")
	}
}
