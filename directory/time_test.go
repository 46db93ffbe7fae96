package directory

import (
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	tests := []struct{ in, want string }{
		{"20261122101500Z", "2026-11-22T10:15:00Z"},
		{"202611221015Z", "2026-11-22T10:15:00Z"},
		{"2026112210Z", "2026-11-22T10:00:00Z"},
		{"20261122101500.5Z", "2026-11-22T10:15:00.5Z"},
		{"20261122101500,25Z", "2026-11-22T10:15:00.25Z"},
		{"20261122101500.0Z", "2026-11-22T10:15:00Z"},
		{"20261122101500+0130", "2026-11-22T08:45:00Z"},
		{"20261122101500-08", "2026-11-22T18:15:00Z"},
		{"19700101000000Z", "1970-01-01T00:00:00Z"},
		{"000001010000Z", "0000-01-01T00:00:00Z"},
		{"", ""},
		{"Z", ""},
		{"2026", ""},
		{"20261122101500", ""},
		{"20261322101500Z", ""},
		{"20261122101500.Z", ""},
		{"20261122101500Zjunk", ""},
		{"99999999999999Z", ""},
		{"20261122101500.1.2Z", ""},
		{strings.Repeat("9", 1000), ""},
	}
	for _, tt := range tests {
		got, err := ParseTime(tt.in)
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("ParseTime(%.40q) = %v, want an error", tt.in, got)
		case tt.want != "" && (err != nil || got.Format(time.RFC3339Nano) != tt.want):
			t.Errorf("ParseTime(%q) = %v, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"20261122101500Z", "2026112210.5+0130", "000001010000Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		if err == nil && got.Location() != time.UTC {
			t.Errorf("ParseTime(%q) is in %v, want UTC", s, got.Location())
		}
	})
}
