package ldap

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

func TestFileTime(t *testing.T) {
	tests := []struct {
		in    string
		want  string
		never bool
	}{
		{"132000000000000000", "2019-04-17T18:40:00Z", false},
		{"116444736000000000", "1970-01-01T00:00:00Z", false},
		{"0", "", true},
		{"9223372036854775807", "", true},
		{"-1", "", false},
		{"", "", false},
		{"x", "", false},
		{"9223372036854775808", "", false},
	}
	for _, tt := range tests {
		got, never, err := fileTime(tt.in)
		if never != tt.never || (err != nil) != (tt.want == "" && !tt.never) {
			t.Errorf("fileTime(%q) = %v, never %t, %v; want never %t", tt.in, got, never, err, tt.never)
		}
		if tt.want != "" && got.Format(time.RFC3339) != tt.want {
			t.Errorf("fileTime(%q) = %v, want %s", tt.in, got, tt.want)
		}
	}
}

func TestInterval(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
	}{
		{"-18000000000", 30 * time.Minute},
		{"-36288000000000", 42 * 24 * time.Hour},
		{"0", 0},
		{"-9223372036854775808", 0}, // for ever
		{"x", 0},
		{"5", 0},
	}
	for _, tt := range tests {
		if got := interval(tt.in); got != tt.want {
			t.Errorf("interval(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

// hours returns logonHours with one range of hours of the week allowed.
func hours(from, to int) string {
	b := make([]byte, 21)
	for h := from; h < to; h++ {
		b[h/8] |= 1 << (h % 8)
	}
	return string(b)
}

func TestLogonHours(t *testing.T) {
	monday9 := 24 + 9
	office := hours(monday9, monday9+8)
	at := func(s string) time.Time {
		got, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	tests := []struct {
		hours   string
		at      string
		allowed bool
		change  string
	}{
		{office, "2026-11-23T08:59:59Z", false, "2026-11-23T09:00:00Z"}, // a Monday
		{office, "2026-11-23T09:00:00Z", true, "2026-11-23T17:00:00Z"},
		{office, "2026-11-23T16:59:59Z", true, "2026-11-23T17:00:00Z"},
		{office, "2026-11-23T18:30:00+01:00", false, "2026-11-30T09:00:00Z"}, // bits are in UTC
		{office, "2026-11-22T10:00:00Z", false, "2026-11-23T09:00:00Z"},
		{hours(0, weekHours), "2026-11-22T10:00:00Z", true, ""},
		{hours(0, 0), "2026-11-22T10:00:00Z", false, ""},
	}
	for _, tt := range tests {
		if got := hourAllowed(tt.hours, at(tt.at)); got != tt.allowed {
			t.Errorf("%s: allowed = %t, want %t", tt.at, got, tt.allowed)
		}
		change := hoursChange(tt.hours, at(tt.at))
		if tt.change == "" && !change.IsZero() || tt.change != "" && !change.Equal(at(tt.change)) {
			t.Errorf("%s: changes at %v, want %q", tt.at, change, tt.change)
		}
	}
}

func FuzzLogonHours(f *testing.F) {
	f.Add(hours(30, 40), int64(1_800_000_000))
	f.Add("short", int64(0))
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		e := entry{attrs: map[string][]string{"useraccountcontrol": {"512"}, "logonhours": {value}}}
		_ = adHours(e, stateInput{now: time.Unix(unix%(1<<40), 0)})
	})
}

func TestSID(t *testing.T) {
	users := "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x21\x02\x00\x00"
	tests := []struct{ in, want string }{
		{users, "S-1-5-32-545"},
		{"\x01\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", "S-1-1-0"},
		{"\x01\x05\x00\x00\x00\x00\x00\x05\x15\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\x01\x02\x00\x00", "S-1-5-21-1-2-4294967295-513"},
		{"", ""},
		{"S-1-5-32-545", ""},
		{users[:15], ""},
		{users + "x", ""},
		{"\x02" + users[1:], ""},
	}
	for _, tt := range tests {
		if got := sidText(tt.in); got != tt.want {
			t.Errorf("sidText(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := sidText(sidSibling(users, 544)); got != "S-1-5-32-544" {
		t.Errorf("sidSibling = %q, want S-1-5-32-544", got)
	}
	if got := sidSibling("junk", 1); got != "" {
		t.Errorf("sidSibling of junk = %q, want none", got)
	}
}

func FuzzSID(f *testing.F) {
	f.Add("\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x21\x02\x00\x00", uint32(7))
	f.Fuzz(func(t *testing.T, value string, rid uint32) {
		text := sidText(value)
		sibling := sidSibling(value, rid)
		if text == "" && sibling != "" {
			t.Errorf("%q is no SID, but has the sibling %q", value, sibling)
		}
		if sibling != "" && binary.LittleEndian.Uint32([]byte(sibling[len(sibling)-4:])) != rid {
			t.Errorf("sibling %q does not end in %d", sibling, rid)
		}
	})
}

func TestIDText(t *testing.T) {
	guid := "\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
	tests := []struct{ attribute, in, want string }{
		{"objectGUID", guid, "00112233-4455-6677-8899-aabbccddeeff"},
		{"OBJECTGUID", guid, "00112233-4455-6677-8899-aabbccddeeff"},
		{"objectGUID", "short", "short"},
		{"entryUUID", "da8f08d2-7a9a-1041-838d-e9104839563b", "da8f08d2-7a9a-1041-838d-e9104839563b"},
	}
	for _, tt := range tests {
		if got := idText(tt.attribute, tt.in); got != tt.want {
			t.Errorf("idText(%s, %q) = %q, want %q", tt.attribute, tt.in, got, tt.want)
		}
	}
}

// TestAnyOf sends every byte of a value, in every attribute that is one.
func TestAnyOf(t *testing.T) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	p, err := ldap.CompileFilter("(|" + anyOf([]string{"objectSid", none, "cn"}, string(all), "*)(cn=*") + ")")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, child := range p.Children {
		got = append(got, fmt.Sprint(child.Children[0].Value, "=", child.Children[1].Data.String()))
	}
	want := []string{"objectSid=" + string(all), "objectSid=*)(cn=*", "cn=" + string(all), "cn=*)(cn=*"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
