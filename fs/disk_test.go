package fs

import (
	"errors"
	"os"
	"reflect"
	"testing"

	"berth/directory"
	"berth/policy"
)

func TestInspect(t *testing.T) {
	needRoot(t)
	host := world(t)
	at := func(name string, g guise) policy.Folder {
		dir := host + "/" + name
		if err := errors.Join(os.Mkdir(dir, 0o755), g.put(dir)); err != nil {
			t.Fatal(err)
		}
		return policy.Folder{Host: dir, Owner: &directory.POSIX{UID: alice, GID: herGroup, Groups: []uint32{shared}}}
	}
	under := at("closed", guise{0, 0, 0o700, ""})
	under.Host += "/open"
	if err := os.Mkdir(under.Host, 0o777); err != nil {
		t.Fatal(err)
	}
	service := at("service", guise{0, 0, 0o777, ""})
	service.Owner = nil
	for _, tt := range []struct {
		folder              policy.Folder
		acl                 []string
		read, write, search bool
	}{
		{at("hers", guise{alice, herGroup, 0o700, ""}), nil, true, true, true},
		{at("readonly", guise{bob, shared, 0o2750, ""}), nil, true, false, true},
		{at("others", guise{bob, other, 0o770, ""}), nil, false, false, false},
		{at("root", guise{0, 0, 0o711, ""}), nil, false, false, true},
		{at("acl", guise{bob, other, 0o700, "alice may"}), []string{"user::rwx", "user:1001:rwx", "group::---", "mask::rwx", "other::---"}, true, true, true},
		{at("default", guise{bob, shared, 0o050, "default group reads"}), []string{"default:user::rwx", "default:group::r-x", "default:other::r--"}, true, false, true},
		{under, nil, false, false, false},
		{service, nil, false, false, false},
	} {
		d, err := Inspect(tt.folder)
		if err != nil || d.Read != tt.read || d.Write != tt.write || d.Search != tt.search || d.Acted != (tt.folder.Owner != nil) || !reflect.DeepEqual(d.ACL, tt.acl) {
			t.Errorf("%s: %+v, %v; want %+v", tt.folder.Host, d, err, tt)
		}
	}
	if _, err := Inspect(policy.Folder{Host: host + "/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}
