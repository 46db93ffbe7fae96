package ldap

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// A rule is one of a security descriptor.
type rule struct {
	kind, flags byte
	mask        uint32
	guid        string
	inherited   bool
	sid         string
}

// descriptor makes a security descriptor as Active Directory sends it.
func descriptor(rules ...rule) string {
	list := []byte{4, 0, 0, 0, byte(len(rules)), 0, 0, 0}
	for _, r := range rules {
		b := binary.LittleEndian.AppendUint32([]byte{r.kind, r.flags, 0, 0}, r.mask)
		if r.kind > 4 {
			has := uint32(0)
			if r.guid != "" {
				has |= 1
			}
			if r.inherited {
				has |= 2
			}
			b = append(binary.LittleEndian.AppendUint32(b, has), r.guid...)
			if r.inherited {
				b = append(b, make([]byte, 16)...)
			}
		}
		b = append(b, r.sid...)
		binary.LittleEndian.PutUint16(b[2:], uint16(len(b)))
		list = append(list, b...)
	}
	head := append(make([]byte, 16), 20, 0, 0, 0)
	return string(append(head, list...))
}

func TestMayRead(t *testing.T) {
	const (
		svc, other   = "\x01\x01\x00\x00\x00\x00\x00\x05\x01\x00\x00\x00", "\x01\x01\x00\x00\x00\x00\x00\x05\x02\x00\x00\x00"
		read, write  = 0x10, 0x20
		everything   = 0x10000000
		genericRead  = 0x80000000
		allow, deny  = 0, 1
		allowA, denA = 5, 6
	)
	otherGUID := strings.Repeat("x", 16)
	tests := []struct {
		name string
		in   string
		want bool
	}{
		{"no rules", descriptor(), false},
		{"allowed", descriptor(rule{allow, 0, read, "", false, svc}), true},
		{"all rights", descriptor(rule{allow, 0, everything, "", false, svc}), true},
		{"generic", descriptor(rule{allow, 0, genericRead, "", false, svc}), true},
		{"to write only", descriptor(rule{allow, 0, write, "", false, svc}), false},
		{"somebody else", descriptor(rule{allow, 0, read, "", false, other}), false},
		{"for heirs only", descriptor(rule{allow, 8, read, "", false, svc}), false},
		{"inherited by the entry", descriptor(rule{allow, 0x10, read, "", false, svc}), true},
		{"the attribute", descriptor(rule{allowA, 0, read, guidLogonHours, false, svc}), true},
		{"its set", descriptor(rule{allowA, 0, read, guidUserLogon, false, svc}), true},
		{"its set, for users", descriptor(rule{allowA, 0, read, guidUserLogon, true, svc}), true},
		{"all attributes, for users", descriptor(rule{allowA, 0, read, "", true, svc}), true},
		{"another attribute", descriptor(rule{allowA, 0, read, otherGUID, false, svc}), false},
		{"denied first", descriptor(rule{denA, 0, read, guidLogonHours, false, svc}, rule{allow, 0, read, "", false, svc}), false},
		{"denied later", descriptor(rule{allow, 0, read, "", false, svc}, rule{deny, 0, read, "", false, svc}), true},
		{"all denied", descriptor(rule{deny, 0, read, "", false, svc}, rule{allow, 0, read, "", false, svc}), false},
		{"another one denied", descriptor(rule{denA, 0, read, otherGUID, false, svc}, rule{allow, 0, read, "", false, svc}), true},
		{"unknown kind", descriptor(rule{9, 0, read, "", false, svc}, rule{allow, 0, read, "", false, svc}), true},
		{"only an unknown kind", descriptor(rule{9, 0, read, "", false, svc}), false},
		{"nothing", "", false},
		{"no list", string(make([]byte, 40)), false},
		{"too short", descriptor(rule{allow, 0, read, "", false, svc})[:40], false},
		{"no rules where it says some", descriptor(rule{allow, 0, read, "", false, svc})[:28], false},
	}
	for _, tt := range tests {
		if got := mayRead(tt.in, []string{"", svc}, guidLogonHours, guidUserLogon); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func FuzzMayRead(f *testing.F) {
	f.Add(descriptor(rule{5, 0, 0x10, guidUserLogon, true, sidSelf}))
	f.Fuzz(func(t *testing.T, s string) {
		if mayRead(s, nil) {
			t.Error("allowed to nobody")
		}
	})
}

// TestHiddenHours reads logonHours of an account that does not show them.
func TestHiddenHours(t *testing.T) {
	const svc = "\x01\x01\x00\x00\x00\x00\x00\x05\x01\x00\x00\x00"
	account := func(more ...string) entry {
		return attrs(append(more, "userAccountControl=512", "accountExpires=0", "pwdLastSet=132000000000000000", "msDS-User-Account-Control-Computed=0")...)
	}
	forSvc, forSelf := descriptor(rule{0, 0, 0x10, "", false, svc}), descriptor(rule{0, 0, 0x10, "", false, sidSelf})
	searches := 0
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		searches++
		if req.BaseDN != "" || req.Attributes[0] != "tokenGroups" {
			t.Errorf("unexpected search of %q for %v", req.BaseDN, req.Attributes)
		}
		return &ldap.SearchResult{Entries: []*ldap.Entry{ldapEntry("", "tokenGroups="+svc)}}, nil
	}
	tests := []struct {
		name string
		in   entry
		want directory.Status
	}{
		{"shown", account("logonHours=" + hours(0, 168)), directory.StatusActive},
		{"not set", account("nTSecurityDescriptor=" + forSvc), directory.StatusActive},
		{"hidden", account("nTSecurityDescriptor=" + forSelf), directory.StatusUnknown},
		{"all hidden", account(), directory.StatusUnknown},
		{"own entry", account("objectSid="+svc, "nTSecurityDescriptor="+forSelf), directory.StatusActive},
	}
	c := testClient(Settings{Kind: "active_directory"})
	for _, tt := range tests {
		s, err := c.state(t.Context(), search, tt.in, false)
		if err != nil || s.Status != tt.want || tt.want == directory.StatusUnknown && !strings.Contains(s.Reason, "logonHours") {
			t.Errorf("%s: %v (%s), %v; want %v", tt.name, s.Status, s.Reason, err, tt.want)
		}
	}
	if searches != 1 {
		t.Errorf("%d searches for the rights of the service account, want 1", searches)
	}
	fails := func(context.Context, *ldap.SearchRequest) (*ldap.SearchResult, error) { return nil, errClosed }
	if s, err := testClient(Settings{Kind: "active_directory"}).state(t.Context(), fails, account(), false); !errors.Is(err, errClosed) {
		t.Errorf("rights that cannot be asked for: %v, %v; want that error", s, err)
	}
	// With bind_as everybody has rights of their own.
	searches = 0
	c = testClient(Settings{Kind: "active_directory", BindAs: "%u@x"})
	for range 2 {
		if _, err := c.state(t.Context(), search, account("nTSecurityDescriptor="+forSvc), false); err != nil {
			t.Error(err)
		}
	}
	if searches != 2 {
		t.Errorf("%d searches for the rights of two people, want 2", searches)
	}
}
