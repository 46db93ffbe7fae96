package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/directory"
)

// TestLimitsOfAttributes: nobody gets more than the attribute, or else the rule, says.
func TestLimitsOfAttributes(t *testing.T) {
	tests := []struct {
		name     string
		values   []string
		fallback *int64
		want     int64
		denied   string
		note     string
	}{
		{"size", []string{"3GiB"}, nil, 3 << 30, "", "from berthQuota"},
		{"bytes", []string{"4096"}, new(int64(7)), 4096, "", "from berthQuota"},
		{"missing", nil, new(int64(7)), 7, "", "berthQuota has no value; the limit of the rule applies"},
		{"lots", []string{"lots"}, new(int64(7)), 7, "", `berthQuota is "lots": must be a number above 0, such as 10GiB; the limit of the rule applies`},
		{"zero", []string{"0"}, new(int64(7)), 7, "", "must be a number above 0"},
		{"negative", []string{"-1"}, new(int64(7)), 7, "", "must be a number above 0"},
		{"too large", []string{"99999999999TiB"}, new(int64(7)), 7, "", "must be a number above 0"},
		{"two", []string{"1GiB", "2GiB"}, new(int64(7)), 7, "", "berthQuota has 2 values: one is needed"},
		{"missing without a limit", nil, nil, 0, "limits.quota: berthQuota has no value, and the rule has no limit for that case", ""},
		{"lots without a limit", []string{"lots"}, nil, 0, `berthQuota is "lots"`, ""},
	}
	for _, tt := range tests {
		s, err := Compile([]Rule{
			{Name: "r", Home: &Home{Host: "/srv/%u"}, Limits: Quantity{Quota: &Amount[int64]{"berthQuota", tt.fallback}}},
			{Name: "later", Limits: Quantity{Quota: &Amount[int64]{Value: new(int64(1 << 50))}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Attributes(); len(got) != 1 || got[0] != "berthquota" {
			t.Errorf("attributes %q, want berthquota", got)
		}
		req := Request{User: &directory.User{Name: "alice", Attrs: map[string][]string{"berthquota": tt.values}}}
		p, err := s.Resolve(req)
		if tt.denied != "" {
			if d, denied := errors.AsType[*Denied](err); !denied || d.Reason != Placeholder || !strings.Contains(d.Detail, tt.denied) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.denied)
			}
			continue
		}
		if err != nil || p.Limits.Quota != tt.want || p.Folders[0].Quota != tt.want {
			t.Errorf("%s: %v, quota %d, want %d", tt.name, err, p.Limits.Quota, tt.want)
		}
		var text strings.Builder
		if err := s.Explain(req).WriteText(&text); err != nil || !strings.Contains(text.String(), tt.note) {
			t.Errorf("%s: berth explain does not say %q:\n%s", tt.name, tt.note, text.String())
		}
	}
}

// TestEveryLimitOfAttributes sets all of them, by different attributes.
func TestEveryLimitOfAttributes(t *testing.T) {
	of := func(attribute string) *Amount[int64] { return &Amount[int64]{Attribute: attribute} }
	s, err := Compile([]Rule{{Name: "r", Home: &Home{Host: "/srv"}, Limits: Quantity{
		Quota: of("a"), QuotaFiles: of("b"), MaxFile: of("c"), UploadRate: of("d"), DownloadRate: of("e"), Sessions: &Amount[int]{Attribute: "f"},
		Idle: &Amount[time.Duration]{"g", new(time.Hour)}, SessionTime: &Amount[time.Duration]{"h", new(8 * time.Hour)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	attrs := map[string][]string{"a": {"1"}, "b": {"2"}, "c": {"3"}, "d": {"4"}, "e": {"5"}, "f": {"6"}, "g": {"7m"}, "h": {"1h30m"}}
	req := Request{User: &directory.User{Name: "alice", Attrs: attrs}}
	p, err := s.Resolve(req)
	if err != nil {
		t.Fatal(err)
	}
	want := Limits{Quota: 1, QuotaFiles: 2, MaxFile: 3, UploadRate: 4, DownloadRate: 5, Sessions: 6, Idle: 7 * time.Minute, SessionTime: 90 * time.Minute}
	if p.Limits != want {
		t.Errorf("limits %+v, want %+v", p.Limits, want)
	}
	if got := s.Attributes(); len(got) != len(attrs) {
		t.Errorf("attributes %q, want %d", got, len(attrs))
	}
	for value, note := range map[string]string{
		"":      "g has no value; the limit of the rule applies",
		"30":    `g is "30": must be a time above 0, such as 30m; the limit of the rule applies`,
		"0":     `g is "0": must be a time`,
		"-5m":   `g is "-5m": must be a time`,
		"10GiB": `g is "10GiB": must be a time`,
	} {
		if attrs["g"] = []string{value}; value == "" {
			delete(attrs, "g")
		}
		var text strings.Builder
		if p, err := s.Resolve(req); err != nil || p.Limits.Idle != time.Hour {
			t.Errorf("idle %q: %v, %v, want the rule's", value, p, err)
		} else if err := s.Explain(req).WriteText(&text); err != nil || !strings.Contains(text.String(), note) {
			t.Errorf("idle %q: berth explain does not say %q:\n%s", value, note, text.String())
		}
	}
	for _, value := range []string{"10GiB", "0", "-1", "007", "1.5", "9223372036854775808", "many", ""} {
		attrs["f"] = []string{value}
		_, err := s.Resolve(req)
		if d, denied := errors.AsType[*Denied](err); !denied || d.Reason != Placeholder || !strings.Contains(d.Detail, fmt.Sprintf("limits.sessions: f is %q: must be a number above 0, such as 5", value)) {
			t.Errorf("sessions %q: %v, want a refusal", value, err)
		}
	}
}

func TestParseAmount(t *testing.T) {
	parses(t, map[string]*Amount[int64]{
		"10GiB":                   {Value: new(int64(10 << 30))},
		"0":                       {Value: new(int64(0))},
		"%{berthQuota}":           {Attribute: "berthQuota"},
		"%{berthQuota} or 10GiB":  {"berthQuota", new(int64(10 << 30))},
		" %{a-b.1;x} or 4096 ":    {"a-b.1;x", new(int64(4096))},
		"lots":                    nil,
		"":                        nil,
		"-1":                      nil,
		"%{}":                     nil,
		"%{} or 10GiB":            nil,
		"%{berthQuota":            nil,
		"%{berthQuota or 10GiB":   nil,
		"%{berth Quota}":          nil,
		"%{berthQuota}10GiB":      nil,
		"%{berthQuota} 10GiB":     nil,
		"%{berthQuota} or":        nil,
		"%{berthQuota} or lots":   nil,
		"%{berthQuota} or %{a}":   nil,
		"10GiB or %{berthQuota}":  nil,
		"10GiB %{berthQuota}":     nil,
		"%u":                      nil,
		"berthQuota":              nil,
		"%{berthQuota} or 1 or 2": nil,
	})
	parses(t, map[string]*Amount[int]{
		"5":           {Value: new(5)},
		"0":           {Value: new(0)},
		"%{a}":        {Attribute: "a"},
		"%{a} or 5":   {"a", new(5)},
		"5GiB":        nil,
		"05":          nil,
		"":            nil,
		"%{a} or 5m":  nil,
		"%{a} or 1e3": nil,
	})
	parses(t, map[string]*Amount[time.Duration]{
		"30m":           {Value: new(30 * time.Minute)},
		"0":             {Value: new(time.Duration(0))},
		"%{a}":          {Attribute: "a"},
		"%{a} or 1h30m": {"a", new(90 * time.Minute)},
		"%{a} or 0":     {"a", new(time.Duration(0))},
		"30":            nil,
		"":              nil,
		"%{a} or 30":    nil,
		"%{a} 30m":      nil,
	})
}

func parses[T Measure](t *testing.T, amounts map[string]*Amount[T]) {
	t.Helper()
	for text, want := range amounts {
		got, err := ParseAmount[T](text)
		if want == nil {
			if err == nil {
				t.Errorf("ParseAmount(%q) = %+v, want an error", text, got)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("ParseAmount(%q): %v\n%s", text, err, diff)
		}
	}
}

// TestHomeOfAttribute: the whole path comes from the directory, and must be below the
// directory that the rule allows.
func TestHomeOfAttribute(t *testing.T) {
	s, err := Compile([]Rule{{Name: "r", Home: &Home{Host: "%{homeDirectory}", Below: "/home"}}})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"/home/alice":              "",
		"/home/sales/alice":        "",
		"/":                        `"/" is not below /home`,
		"/home":                    `"/home" is not below /home`,
		"/home/":                   "not an absolute path in its shortest form",
		"/homes/alice":             "not below /home",
		"/home/../etc":             "not an absolute path in its shortest form",
		"/home/alice/..":           "not an absolute path in its shortest form",
		"/home//alice":             "not an absolute path in its shortest form",
		"home/alice":               "not an absolute path in its shortest form",
		`\\server\home\alice`:      "not an absolute path in its shortest form",
		"/home/alice\x00/etc":      "not an absolute path in its shortest form",
		"":                         "has no value",
		"/etc":                     "not below /home",
		"/home/%u":                 "", // a value has no placeholders
		"/home/alice and bob/./..": "not an absolute path in its shortest form",
	} {
		u := &directory.User{Name: "alice", Attrs: map[string][]string{"homedirectory": {value}}}
		p, err := s.Resolve(Request{User: u})
		switch d, denied := errors.AsType[*Denied](err); {
		case want == "" && (err != nil || p.Folders[0].Host != value):
			t.Errorf("%q: %v, want it as the home", value, err)
		case want != "" && (!denied || d.Reason != Placeholder || !strings.Contains(d.Detail, want)):
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
	if got := s.Hosts(); len(got) != 1 || got[0] != "/home/*" {
		t.Errorf("hosts %q, want /home/*", got)
	}
	for _, h := range []Home{
		{Host: "%{homeDirectory}", Below: "/"},
		{Host: "%{homeDirectory}", Below: "home"},
		{Host: "%{homeDirectory}", Below: "/home/"},
		{Host: "/home/%u", Below: "/home"},
		{Host: "%u", Below: "/home"},
		{Host: "%{a}/%{b}", Below: "/home"},
	} {
		if _, err := Compile([]Rule{{Name: "r", Home: &h}}); err == nil || !strings.Contains(err.Error(), "home.below: ") {
			t.Errorf("host %q below %q = %v, want a mistake", h.Host, h.Below, err)
		}
	}
	if _, err := Compile([]Rule{{Name: "r", Home: &Home{Host: "%{homeDirectory}"}}}); err == nil || !strings.Contains(err.Error(), "needs below: /home") {
		t.Errorf("without below = %v", err)
	}
}
