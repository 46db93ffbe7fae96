package ldap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/directory"
)

// attrs makes an entry of "name=value" pairs.
func attrs(pairs ...string) entry {
	e := entry{dn: "uid=x", attrs: map[string][]string{}, ranges: map[string]int{}}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		e.add(name, []string{value})
	}
	return e
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestStates(t *testing.T) {
	usual := policy{maxAge: 90 * 24 * time.Hour, lockFor: time.Hour, mustChange: true}
	const (
		past   = "132000000000000000"
		future = "999000000000000000"
		never  = "9223372036854775807"
	)
	ad := func(more ...string) entry { return attrs(append(more, "userAccountControl=512")...) }
	tests := []struct {
		name   string
		kind   string
		in     entry
		policy policy
		want   directory.Status
		until  string
		expiry string
	}{
		{"AD active", "active_directory", ad("accountExpires="+never, "pwdLastSet="+past, "msDS-User-Account-Control-Computed=0", "lockoutTime=0", "msDS-UserPasswordExpiryTimeComputed="+never), policy{}, directory.StatusActive, "", ""},
		{"AD, number missing", "active_directory", attrs(), policy{}, directory.StatusUnknown, "", ""},
		{"AD, number broken", "active_directory", attrs("userAccountControl=x"), policy{}, directory.StatusUnknown, "", ""},
		{"AD disabled", "active_directory", attrs("userAccountControl=514"), policy{}, directory.StatusDisabled, "", ""},
		{"AD disabled and locked", "active_directory", attrs("userAccountControl=514", "msDS-User-Account-Control-Computed=16"), policy{}, directory.StatusDisabled, "", ""},
		{"AD locked", "active_directory", ad("msDS-User-Account-Control-Computed=16", "lockoutTime="+past), policy{}, directory.StatusLocked, "", ""},
		{"AD lock ran out", "active_directory", ad("msDS-User-Account-Control-Computed=0", "lockoutTime="+past), policy{}, directory.StatusActive, "", ""},
		{"AD locked, no computed", "active_directory", ad("lockoutTime=" + past), policy{}, directory.StatusLocked, "", ""},
		{"AD ended", "active_directory", ad("accountExpires=" + past), policy{}, directory.StatusExpired, "", ""},
		{"AD ends", "active_directory", ad("accountExpires=" + future), policy{}, directory.StatusActive, "4766-09-16", ""},
		{"AD never ends", "active_directory", ad("accountExpires=0"), policy{}, directory.StatusActive, "", ""},
		{"AD end broken", "active_directory", ad("accountExpires=soon"), policy{}, directory.StatusUnknown, "", ""},
		{"AD hours", "active_directory", ad("logonHours=" + hours(0, 0)), policy{}, directory.StatusOutsideHours, "", ""},
		{"AD hours, later today", "active_directory", ad("logonHours=" + hours(15, 16)), policy{}, directory.StatusOutsideHours, "2026-11-22", ""},
		{"AD hours broken", "active_directory", ad("logonHours=xyz"), policy{}, directory.StatusUnknown, "", ""},
		{"AD must change", "active_directory", ad("pwdLastSet=0", "msDS-User-Account-Control-Computed=8388608"), policy{}, directory.StatusMustChange, "", ""},
		{"AD password expired", "active_directory", ad("pwdLastSet="+past, "msDS-User-Account-Control-Computed=8388608", "msDS-UserPasswordExpiryTimeComputed="+past), policy{}, directory.StatusPasswordExpired, "", "2019-04-17"},
		{"AD password never expires", "active_directory", attrs("userAccountControl=66048", "pwdLastSet=0"), policy{}, directory.StatusActive, "", ""},
		{"AD smart card", "active_directory", attrs("userAccountControl=262656", "pwdLastSet=0"), policy{}, directory.StatusActive, "", ""},

		{"ppolicy active", "openldap", attrs("pwdChangedTime=20261101000000Z"), usual, directory.StatusActive, "", "2027-01-30"},
		{"ppolicy without age", "openldap", attrs("pwdChangedTime=20001101000000Z"), policy{}, directory.StatusActive, "", ""},
		{"ppolicy nothing", "openldap", attrs(), usual, directory.StatusActive, "", ""},
		{"ppolicy locked by admin", "openldap", attrs("pwdAccountLockedTime=000001010000Z"), usual, directory.StatusLocked, "", ""},
		{"ppolicy locked by admin, seconds", "openldap", attrs("pwdAccountLockedTime=00000101000000Z"), usual, directory.StatusLocked, "", ""},
		{"ppolicy locked", "openldap", attrs("pwdAccountLockedTime=20261122113000Z"), usual, directory.StatusLocked, "2026-11-22", ""},
		{"ppolicy lock ran out", "openldap", attrs("pwdAccountLockedTime=20261122103000Z"), usual, directory.StatusActive, "", ""},
		{"ppolicy lock without end", "openldap", attrs("pwdAccountLockedTime=20201122103000Z"), policy{}, directory.StatusLocked, "", ""},
		{"ppolicy lock broken", "openldap", attrs("pwdAccountLockedTime=x"), usual, directory.StatusLocked, "", ""},
		{"ppolicy reset", "openldap", attrs("pwdReset=TRUE"), usual, directory.StatusMustChange, "", ""},
		{"ppolicy reset without duty", "openldap", attrs("pwdReset=TRUE"), policy{}, directory.StatusActive, "", ""},
		{"ppolicy reset, policy unreadable", "openldap", attrs("pwdReset=TRUE"), strictest, directory.StatusMustChange, "", ""},
		{"ppolicy expired", "openldap", attrs("pwdChangedTime=20200101000000Z"), usual, directory.StatusPasswordExpired, "", "2020-03-31"},
		{"ppolicy time broken", "openldap", attrs("pwdChangedTime=yesterday"), usual, directory.StatusUnknown, "", ""},
		{"ppolicy not yet", "openldap", attrs("pwdStartTime=20270101000000Z"), usual, directory.StatusExpired, "2027-01-01", ""},
		{"ppolicy no more", "openldap", attrs("pwdEndTime=20260101000000Z"), usual, directory.StatusExpired, "", ""},
		{"ppolicy ends", "openldap", attrs("pwdEndTime=20270101000000Z"), usual, directory.StatusActive, "2027-01-01", ""},

		{"shadow ended", "openldap", attrs("shadowExpire=20000"), policy{}, directory.StatusExpired, "", ""},
		{"shadow never ends", "openldap", attrs("shadowExpire=-1"), policy{}, directory.StatusActive, "", ""},
		{"shadow ends", "openldap", attrs("shadowExpire=30000"), policy{}, directory.StatusActive, "2052-02-20", ""},
		{"shadow expired", "openldap", attrs("shadowLastChange=20000", "shadowMax=90"), policy{}, directory.StatusPasswordExpired, "", "2025-01-03"},
		{"shadow must change", "openldap", attrs("shadowLastChange=0", "shadowMax=90"), policy{}, directory.StatusMustChange, "", ""},
		{"shadow no limit", "openldap", attrs("shadowLastChange=1", "shadowMax=99999"), policy{}, directory.StatusActive, "", ""},

		{"shadow beside a policy", "openldap", attrs("shadowLastChange=20000", "shadowMax=90", "pwdChangedTime=20261101000000Z"), usual, directory.StatusActive, "", "2027-01-30"},

		{"shadow beside a date", "389ds", attrs("shadowLastChange=20000", "shadowMax=90", "passwordExpirationTime=20380119031407Z"), policy{}, directory.StatusActive, "", "2038-01-19"},

		{"389 active", "389ds", attrs("nsAccountLock=false", "passwordExpirationTime=20380119031407Z"), policy{}, directory.StatusActive, "", "2038-01-19"},
		{"389 disabled", "389ds", attrs("nsAccountLock=TRUE"), policy{}, directory.StatusDisabled, "", ""},
		{"389 locked", "389ds", attrs("accountUnlockTime=20261122130000Z"), policy{}, directory.StatusLocked, "2026-11-22", ""},
		{"389 locked for good", "389ds", attrs("accountUnlockTime=19700101000000Z"), policy{}, directory.StatusLocked, "", ""},
		{"389 lock ran out", "389ds", attrs("accountUnlockTime=20261122110000Z"), policy{}, directory.StatusActive, "", ""},
		{"389 lock broken", "389ds", attrs("accountUnlockTime=x"), policy{}, directory.StatusUnknown, "", ""},
		{"389 disabled, time broken", "389ds", attrs("nsAccountLock=TRUE", "passwordExpirationTime=x"), policy{}, directory.StatusDisabled, "", ""},
		{"389 must change, lock broken", "389ds", attrs("accountUnlockTime=x", "passwordExpirationTime=19700101000000Z"), policy{}, directory.StatusUnknown, "", ""},
		{"389 expired", "389ds", attrs("passwordExpirationTime=20200101000000Z"), policy{}, directory.StatusPasswordExpired, "", "2020-01-01"},
		{"389 must change", "389ds", attrs("passwordExpirationTime=19700101000000Z"), policy{}, directory.StatusMustChange, "", ""},

		{"IPA active", "freeipa", attrs("krbPasswordExpiration=20270101000000Z"), policy{}, directory.StatusActive, "", "2027-01-01"},
		{"IPA disabled", "freeipa", attrs("nsAccountLock=TRUE", "krbPasswordExpiration=20200101000000Z"), policy{}, directory.StatusDisabled, "", "2020-01-01"},
		{"IPA expired", "freeipa", attrs("krbPasswordExpiration=20200101000000Z"), policy{}, directory.StatusPasswordExpired, "", "2020-01-01"},
		{"IPA ended", "freeipa", attrs("krbPrincipalExpiration=20200101000000Z"), policy{}, directory.StatusExpired, "", ""},
	}
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.DateOnly)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := directory.State{Status: directory.StatusActive}
			for _, r := range kinds[tt.kind].state {
				got = join(got, r.read(tt.in, stateInput{now: noon, policy: tt.policy}))
			}
			if got.Status != tt.want || date(got.Until) != tt.until || date(got.PasswordExpires) != tt.expiry {
				t.Errorf("got %v until %q, password until %q; want %v, %q, %q", got.Status, date(got.Until), date(got.PasswordExpires), tt.want, tt.until, tt.expiry)
			}
			if got.Status != directory.StatusActive && got.Reason == "" {
				t.Error("got no reason")
			}
		})
	}
}

func TestUnreadableState(t *testing.T) {
	for setting, want := range map[string]directory.Status{"refuse": directory.StatusUnknown, "allow": directory.StatusActive} {
		c := &Client{settings: Settings{Kind: "active_directory", UnreadableState: setting}.Complete(), kind: kinds["active_directory"], log: hclog.NewNullLogger(), now: time.Now}
		for _, e := range []entry{attrs(), attrs("userAccountControl=512", "pwdLastSet=1"), attrs("userAccountControl=512", "accountExpires=0")} {
			s, err := c.state(t.Context(), nil, e, false)
			if err != nil || s.Status != want || (s.Reason == "") != (want == directory.StatusActive && e.has("userAccountControl")) {
				t.Errorf("unreadable_state %s, %v: got %v (%q), %v; want %v and a reason", setting, e.attrs, s.Status, s.Reason, err, want)
			}
		}
		// What can be read counts, whatever else cannot.
		s, err := c.state(t.Context(), nil, attrs("userAccountControl=514"), false)
		if err != nil || s.Err() == nil {
			t.Errorf("unreadable_state %s: a disabled account is %v, %v; want a refusal", setting, s.Status, err)
		}
	}
}

func TestPasswordChanged(t *testing.T) {
	for _, tt := range []struct {
		in   entry
		want string
	}{
		{attrs("pwdLastSet=132000000000000000"), "2019-04-17"},
		{attrs("pwdLastSet=0"), ""},
		{attrs("pwdChangedTime=20261122101500Z", "shadowLastChange=1"), "2026-11-22"},
		{attrs("pwdUpdateTime=20260102030405Z"), "2026-01-02"},
		{attrs("krbLastPwdChange=20260203040506Z"), "2026-02-03"},
		{attrs("shadowLastChange=20000"), "2024-10-04"},
		{attrs("shadowLastChange=0"), ""},
		{attrs("pwdChangedTime=yesterday"), ""},
		{attrs(), ""},
	} {
		got := ""
		if at := passwordChanged(tt.in); !at.IsZero() {
			got = at.Format(time.DateOnly)
		}
		if got != tt.want {
			t.Errorf("%v: %q, want %q", tt.in.attrs, got, tt.want)
		}
	}
}

// TestStateByPolicy is what depends on a policy of the server, before and after
// the server has applied it to a bind.
func TestStateByPolicy(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name   string
		kind   string
		in     entry
		policy policy
		want   directory.Status
		bound  directory.Status
	}{
		{"ppolicy idle", "openldap", attrs("pwdLastSuccess=20261120000000Z"), policy{maxIdle: day}, directory.StatusLocked, directory.StatusActive},
		{"ppolicy in use", "openldap", attrs("pwdLastSuccess=20261122000000Z", "pwdChangedTime=20200101000000Z"), policy{maxIdle: day}, directory.StatusActive, directory.StatusActive},
		{"ppolicy never used", "openldap", attrs("pwdChangedTime=20261120000000Z"), policy{maxIdle: day}, directory.StatusLocked, directory.StatusActive},
		{"ppolicy, idle for ever", "openldap", attrs("pwdLastSuccess=20000101000000Z"), policy{}, directory.StatusActive, directory.StatusActive},
		{"ppolicy, broken", "openldap", attrs("pwdLastSuccess=x"), policy{maxIdle: day}, directory.StatusUnknown, directory.StatusActive},
		{"ppolicy, expired", "openldap", attrs("pwdChangedTime=20200101000000Z"), policy{maxAge: day}, directory.StatusPasswordExpired, directory.StatusActive},
		{"ppolicy, locked", "openldap", attrs("pwdAccountLockedTime=000001010000Z"), policy{}, directory.StatusLocked, directory.StatusLocked},
		{"389 idle", "389ds", attrs("lastLoginTime=20261120000000Z"), policy{maxIdle: day}, directory.StatusLocked, directory.StatusActive},
		{"389 never used", "389ds", attrs("createTimestamp=20261120000000Z"), policy{maxIdle: day}, directory.StatusLocked, directory.StatusActive},
		{"389 new", "389ds", attrs("createTimestamp=20261122000000Z"), policy{maxIdle: day}, directory.StatusActive, directory.StatusActive},
		{"389, nothing to go by", "389ds", attrs(), policy{maxIdle: day}, directory.StatusActive, directory.StatusActive},
		{"389 expired", "389ds", attrs("passwordExpirationTime=20200101000000Z"), policy{}, directory.StatusPasswordExpired, directory.StatusActive},
		{"389, nothing expires", "389ds", attrs("passwordExpirationTime=20200101000000Z"), policy{noExpiry: true}, directory.StatusActive, directory.StatusActive},
		{"389, must change", "389ds", attrs("passwordExpirationTime=19700101000000Z"), policy{noExpiry: true}, directory.StatusMustChange, directory.StatusMustChange},
		{"shadow", "389ds", attrs("shadowLastChange=20000", "shadowMax=90"), policy{}, directory.StatusPasswordExpired, directory.StatusPasswordExpired},
		{"IPA", "freeipa", attrs("krbPasswordExpiration=20200101000000Z"), policy{}, directory.StatusPasswordExpired, directory.StatusPasswordExpired},
	}
	for _, tt := range tests {
		for bound, want := range map[bool]directory.Status{false: tt.want, true: tt.bound} {
			got := active
			for _, r := range kinds[tt.kind].state {
				got = join(got, r.read(tt.in, stateInput{now: noon, policy: tt.policy, bound: bound}))
			}
			if got.Status != want {
				t.Errorf("%s, bound: %t: %v (%s), want %v", tt.name, bound, got.Status, got.Reason, want)
			}
		}
	}
	// Only servers that are known to apply such policies are believed.
	search, _ := tree(map[string][]string{"cn=p,dc=example,dc=test": {"pwdMaxAge=60"}})
	for kind, want := range map[string]directory.Status{"openldap": directory.StatusActive, "embedded": directory.StatusActive, "generic": directory.StatusPasswordExpired} {
		c := testClient(Settings{Kind: kind})
		if s, err := c.state(t.Context(), search, attrs("pwdChangedTime=20200101000000Z"), true); err != nil || s.Status != want {
			t.Errorf("%s: %v, %v; want %v", kind, s.Status, err, want)
		}
	}
}

// TestEarlierAndWorse joins what several attributes say.
func TestEarlierAndWorse(t *testing.T) {
	one, two := noon.Add(time.Hour), noon.Add(2*time.Hour)
	state := func(s directory.Status, until, password time.Time) directory.State {
		return directory.State{Status: s, Until: until, PasswordExpires: password}
	}
	for _, tt := range []struct{ a, b, want directory.State }{
		{state(directory.StatusActive, one, two), state(directory.StatusActive, two, one), state(directory.StatusActive, one, one)},
		{state(directory.StatusActive, time.Time{}, two), state(directory.StatusActive, two, time.Time{}), state(directory.StatusActive, two, two)},
		{state(directory.StatusActive, one, one), state(directory.StatusLocked, two, two), state(directory.StatusLocked, two, one)},
		{state(directory.StatusOutsideHours, two, two), state(directory.StatusUnknown, one, one), state(directory.StatusOutsideHours, two, one)},
	} {
		for _, got := range []directory.State{join(tt.a, tt.b), join(tt.b, tt.a)} {
			if got != tt.want {
				t.Errorf("%+v and %+v: %+v, want %+v", tt.a, tt.b, got, tt.want)
			}
		}
	}
	// Of the hour that the account ends and the hour that the day ends, the first
	// one counts.
	end := (noon.Add(90*time.Minute).Unix() - fileTimeEpoch) * fileTimeUnit
	for closing, want := range map[int]time.Time{13: one, 15: noon.Add(90 * time.Minute)} {
		got := readAD(attrs("userAccountControl=512", fmt.Sprint("accountExpires=", end), "logonHours="+hours(0, closing)), stateInput{now: noon})
		if got.Status != directory.StatusActive || !got.Until.Equal(want) {
			t.Errorf("hours until %d: %v until %v, want active until %v", closing, got.Status, got.Until, want)
		}
	}
}

// TestExpiresSoon warns of passwords that expire within warn_days.
func TestExpiresSoon(t *testing.T) {
	c := testClient(Settings{Kind: "freeipa", WarnDays: 14})
	c.now = func() time.Time { return noon }
	for days, want := range map[int]bool{1: true, 13: true, 15: false, 0: false} {
		e := attrs()
		if days > 0 {
			e = attrs("krbPasswordExpiration=" + noon.AddDate(0, 0, days).Format("20060102150405Z"))
		}
		if s, err := c.state(t.Context(), nil, e, false); err != nil || s.ExpiresSoon != want || s.Status != directory.StatusActive {
			t.Errorf("%d days left: %+v, %v; want a warning: %t", days, s, err, want)
		}
	}
}
