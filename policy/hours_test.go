package policy

import (
	"strings"
	"testing"
	"time"
)

func TestHours(t *testing.T) {
	tests := []struct {
		hours, at string
		want      bool
	}{
		{"Mon-Fri 06:00-20:00 Europe/Berlin", "2026-03-02T06:00:00+01:00", true}, // a Monday
		{"Mon-Fri 06:00-20:00 Europe/Berlin", "2026-03-02T05:59:59+01:00", false},
		{"Mon-Fri 06:00-20:00 Europe/Berlin", "2026-03-06T19:59:59+01:00", true},
		{"Mon-Fri 06:00-20:00 Europe/Berlin", "2026-03-06T20:00:00+01:00", false},
		{"Mon-Fri 06:00-20:00 Europe/Berlin", "2026-03-07T12:00:00+01:00", false},
		{"Mon-Fri 06:00-20:00 Europe/Berlin", "2026-07-06T04:00:00Z", true}, // summer time
		{"Mon-Fri 06:00-20:00, Sat 08:00-12:00 Europe/Berlin", "2026-03-02T05:00:00Z", true},
		{"Mon-Fri 06:00-20:00, Sat 08:00-12:00 Europe/Berlin", "2026-03-07T07:00:00Z", true},
		{"Mon 06:00-07:00 UTC, Mon 06:00-07:00 Asia/Tokyo", "2026-03-01T21:30:00Z", true},
		{"fri 22:00-06:00 UTC", "2026-03-07T05:59:00Z", true}, // into Saturday
		{"fri 22:00-06:00 UTC", "2026-03-06T05:59:00Z", false},
		{"Sun 22:00-06:00 UTC", "2026-03-02T05:00:00Z", true}, // over the end of the week
		{"Sat-Mon UTC", "2026-03-02T23:59:00Z", true},
		{"Sat-Mon UTC", "2026-03-03T00:00:00Z", false},
		{"06:00-24:00 UTC", "2026-03-03T23:59:00Z", true},
		{"06:00-24:00 UTC", "2026-03-03T00:00:00Z", false},
	}
	for _, tt := range tests {
		h, err := parseHours(tt.hours)
		if err != nil {
			t.Errorf("parseHours(%q): %v", tt.hours, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.hold(at); got != tt.want {
			t.Errorf("%q holds at %s: %t, want %t", tt.hours, tt.at, got, tt.want)
		}
	}
}

func TestBadHours(t *testing.T) {
	for hours, want := range map[string]string{
		"":                                     "missing",
		"Mon,":                                 "missing",
		"Mon-Fri 6-20":                         `"6-20" is not a time`,
		"Mon-Fri 06:00-25:00":                  "not a time",
		"24:00-06:00":                          "not a time",
		"06:00-06:00":                          "not a time",
		"06:60-07:00":                          "not a time",
		"06:00":                                "not a time",
		"Mon-Fry 06:00-20:00":                  `"Mon-Fry" is not understood`,
		"Mon 06:00-20:00 Mars/Utopia":          `"Mars/Utopia" is not a time zone`,
		"Mon 06:00-20:00 UTC x":                `"x" is not understood`,
		"Mon, Wed 08:00-10:00":                 `"Mon" has no time`,
		"Mon,Tue, Wed 08:00-10:00":             `"Tue" has no time`,
		"Mon-Fri 08:00-12:00, 13:00-17:00 UTC": `"13:00-17:00" has no days`,
		"Europe/Berlin":                        "not understood",
		"Mon ../../etc/passwd":                 "not a time zone",
	} {
		if _, err := parseHours(hours); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseHours(%q) = %v, want an error with %q", hours, err, want)
		}
	}
}

// TestNextChange holds next to what looking at every minute finds, over both
// changes of summer time.
func TestNextChange(t *testing.T) {
	for _, text := range []string{
		"Mon-Fri 06:00-20:00 Europe/Berlin",
		"00:00-02:30 Europe/Berlin",
		"02:30-03:30 Europe/Berlin",
		"Sun 22:00-06:00, Wed Europe/Berlin",
		"Mon 00:00-24:00, Tue UTC, Wed 00:00-12:00 UTC",
		"Fri 17:00-08:00 America/New_York, Sat 10:00-11:00 Australia/Lord_Howe",
	} {
		h, err := parseHours(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, day := range []time.Time{
			time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 23, 0, 0, 0, 0, time.UTC),
			time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
		} {
			for n := range 32 {
				at := day.Add(time.Duration(n)*3*time.Hour + 17*time.Second)
				if got, want := h.next(at), nextByMinutes(h, at); !got.Equal(want) {
					t.Errorf("%q after %s: %s, want %s", text, at, got, want)
				}
			}
		}
	}
}

func nextByMinutes(h hours, t time.Time) time.Time {
	now := h.hold(t)
	at := t.Truncate(time.Minute)
	for range 9 * minutesADay {
		at = at.Add(time.Minute)
		if h.hold(at) != now {
			return at
		}
	}
	return time.Time{}
}

func TestNextChangeOfAlways(t *testing.T) {
	h, err := parseHours("Mon-Sun UTC")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.next(time.Now()); !got.IsZero() {
		t.Errorf("hours that always hold change at %s, want never", got)
	}
}

func FuzzHours(f *testing.F) {
	f.Add("Mon-Fri 06:00-20:00 Europe/Berlin", int64(1767225600))
	f.Add("22:00-06:00, Sat UTC", int64(0))
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		h, err := parseHours(text)
		if err != nil || unix < 0 || unix > 1<<32 {
			return
		}
		at := time.Unix(unix, 0)
		if next := h.next(at); !next.IsZero() && (!next.After(at) || h.hold(next) == h.hold(at)) {
			t.Errorf("%q: next change after %s is %s, want a change later", text, at, next)
		}
	})
}
