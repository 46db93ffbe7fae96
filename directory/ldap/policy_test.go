package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// tree answers for entries by their DN, with the attributes that are asked for.
// An entry of which nothing is left is not shown.
func tree(entries map[string][]string) (searchFunc, *int) {
	searches := new(int)
	return func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		*searches++
		res := &ldap.SearchResult{}
		for dn, pairs := range entries {
			if req.Scope == ldap.ScopeBaseObject && !directory.DNOf(dn).Equal(directory.DNOf(req.BaseDN)) {
				continue
			}
			var shown []string
			for _, p := range pairs {
				name, _, _ := strings.Cut(p, "=")
				if contains(req.Attributes, name) {
					shown = append(shown, p)
				}
			}
			if len(shown) > 0 {
				res.Entries = append(res.Entries, ldapEntry(dn, shown...))
			}
		}
		return res, nil
	}, searches
}

func TestPolicyOfNS(t *testing.T) {
	config := []string{"passwordExp=on", "passwordLockout=on", "passwordMaxFailure=5", "passwordResetFailureCount=600", "nsslapd-pwpolicy-local=on"}
	with := func(local string, more ...string) map[string][]string {
		m := map[string][]string{"cn=config": config}
		if local != "" {
			m["cn=local"] = strings.Fields(local)
		}
		for _, s := range more {
			dn, pairs, _ := strings.Cut(s, ":")
			m[dn] = strings.Fields(pairs)
		}
		return m
	}
	global := policy{failures: 5, window: 10 * time.Minute}
	tests := []struct {
		name string
		tree map[string][]string
		in   entry
		want policy
	}{
		{"global", with(""), attrs(), global},
		{"global, nothing expires", with("", "cn=config:passwordExp=off passwordLockout=on passwordMaxFailure=5 passwordResetFailureCount=600"), attrs(), policy{failures: 5, window: 10 * time.Minute, noExpiry: true}},
		{"global, no lock", with("", "cn=config:passwordExp=on passwordLockout=off passwordMaxFailure=5"), attrs(), policy{}},
		{"global, in part", with("", "cn=config:passwordResetFailureCount=600"), attrs(), policy{failures: 3, window: 10 * time.Minute, missing: "cn=config"}},
		{"hidden", map[string][]string{}, attrs(), policy{failures: 3, missing: "cn=config"}},
		{"local", with("passwordExp=on passwordLockout=on passwordMaxFailure=2 passwordResetFailureCount=60"), attrs("pwdPolicySubentry=CN=local"), policy{failures: 2, window: time.Minute}},
		{"local says little", with("passwordLockout=on"), attrs("pwdPolicySubentry=cn=local"), policy{failures: 3, noExpiry: true}},
		{"local says nothing of locks", with("passwordExp=on"), attrs("pwdPolicySubentry=cn=local"), policy{}},
		{"local hidden", with(""), attrs("pwdPolicySubentry=cn=local"), policy{failures: 3, missing: "cn=local"}},
		{"local switched off", with("passwordLockout=on", "cn=config:"+strings.ReplaceAll(strings.Join(config, " "), "local=on", "local=off")), attrs("pwdPolicySubentry=cn=local"), global},
		{"idle", with("", "cn=idle:accountInactivityLimit=60"), attrs("acctPolicySubentry=cn=idle"), policy{failures: 5, window: 10 * time.Minute, maxIdle: time.Minute}},
		{"idle hidden", with(""), attrs("acctPolicySubentry=cn=idle"), policy{failures: 5, window: 10 * time.Minute, missing: "cn=idle"}},
		{"everything hidden", map[string][]string{}, attrs("acctPolicySubentry=cn=idle"), policy{failures: 3, missing: "cn=idle"}},
		{"idle, for all", with("", nsGlobalIdle+":accountInactivityLimit=60"), attrs(), policy{failures: 5, window: 10 * time.Minute, maxIdle: time.Minute}},
	}
	for _, tt := range tests {
		c := testClient(Settings{Kind: "389ds"})
		search, searches := tree(tt.tree)
		for range 2 {
			if got, err := c.policyOf(t.Context(), search, tt.in); err != nil || got != tt.want {
				t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
			}
		}
		if *searches > 3 {
			t.Errorf("%s: %d searches, want that policies are remembered", tt.name, *searches)
		}
	}
	for _, code := range []uint16{ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultBusy, ldap.LDAPResultTimeLimitExceeded} {
		search := func(context.Context, *ldap.SearchRequest) (*ldap.SearchResult, error) {
			return nil, ldap.NewError(code, errors.New("no"))
		}
		p, err := testClient(Settings{Kind: "389ds"}).policyOf(t.Context(), search, attrs())
		if hidden := code == ldap.LDAPResultInsufficientAccessRights; hidden != (err == nil) || hidden && p.missing != "cn=config" {
			t.Errorf("result %d: %+v, %v", code, p, err)
		}
	}
}

// TestHiddenPoliciesAreAskedForAgain sees an administrator make them readable.
func TestHiddenPoliciesAreAskedForAgain(t *testing.T) {
	c := testClient(Settings{Kind: "389ds"})
	now := noon
	c.now = func() time.Time { return now }
	config := map[string][]string{}
	search, searches := tree(config)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {hiddenFor - 1, 2}, {hiddenFor, 4}, {policiesFor, 5}, {policiesFor + hiddenFor, 7}} {
		now = noon.Add(tt.after)
		if _, err := c.policyOf(t.Context(), search, attrs()); err != nil {
			t.Error(err)
		}
		if *searches != tt.want {
			t.Errorf("after %v: %d searches, want %d", tt.after, *searches, tt.want)
		}
		if tt.after == hiddenFor-1 {
			config["cn=config"] = []string{"passwordExp=on"}
		}
	}
}

func TestPolicyOfOpenLDAP(t *testing.T) {
	byName := map[string][]string{
		"cn=a,dc=example,dc=test": {"cn=a", "pwdLockout=TRUE", "pwdMaxFailure=5", "pwdMaxAge=100", "pwdFailureCountInterval=60", "pwdLockoutDuration=60", "pwdMaxIdle=50"},
		"cn=b,dc=example,dc=test": {"cn=b", "pwdLockout=TRUE", "pwdMaxFailure=3", "pwdMaxAge=200", "pwdFailureCountInterval=90", "pwdLockoutDuration=90", "pwdMustChange=TRUE"},
		"cn=c,dc=example,dc=test": {"cn=c", "pwdLockout=TRUE", "pwdFailureCountInterval=30", "pwdLockoutDuration=30"},
	}
	a := policy{maxAge: 100 * time.Second, maxIdle: 50 * time.Second, lockFor: time.Minute, failures: 5, window: time.Minute}
	b := policy{maxAge: 200 * time.Second, lockFor: 90 * time.Second, failures: 3, window: 90 * time.Second, mustChange: true}
	mixed := policy{maxAge: 100 * time.Second, maxIdle: 50 * time.Second, lockFor: 90 * time.Second, failures: 3, window: 90 * time.Second, mustChange: true}
	tests := []struct {
		name  string
		usual string
		in    entry
		want  policy
	}{
		{"own", "", attrs("pwdPolicySubentry=CN=A, dc=example,dc=test"), a},
		{"not known which", "", attrs(), mixed},
		{"set", "cn=b,dc=example,dc=test", attrs(), b},
		{"set, not there", "cn=x,dc=example,dc=test", attrs(), policy{mustChange: true, missing: "cn=x,dc=example,dc=test"}},
		{"own not there", "", attrs("pwdPolicySubentry=cn=x"), policy{mustChange: true, missing: "cn=x"}},
	}
	for _, tt := range tests {
		search, _ := tree(byName)
		c := testClient(Settings{Kind: "openldap", PasswordPolicy: tt.usual})
		if got, err := c.policyOf(t.Context(), search, tt.in); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
	none, _ := tree(nil)
	if got, err := testClient(Settings{Kind: "openldap"}).policyOf(t.Context(), none, attrs()); err != nil || got != strictest {
		t.Errorf("none at all: %+v, %v", got, err)
	}
	byName["cn=c,dc=example,dc=test"] = []string{"cn=Default"}
	search, _ := tree(byName)
	if got, err := testClient(Settings{Kind: "openldap"}).policyOf(t.Context(), search, attrs()); err != nil || got != (policy{}) {
		t.Errorf("the one called default: %+v, %v", got, err)
	}
}

// TestMissingPolicyIsUnknown refuses who has a policy that cannot be read, as
// long as the server itself has not applied it.
func TestMissingPolicyIsUnknown(t *testing.T) {
	search, _ := tree(nil)
	for _, tt := range []struct {
		kind, setting string
		bound         bool
		in            entry
		want          directory.Status
	}{
		{"389ds", "refuse", false, attrs("pwdPolicySubentry=cn=x"), directory.StatusUnknown},
		{"389ds", "refuse", true, attrs("pwdPolicySubentry=cn=x"), directory.StatusActive},
		{"389ds", "allow", false, attrs("pwdPolicySubentry=cn=x"), directory.StatusActive},
		{"389ds", "refuse", false, attrs(), directory.StatusActive}, // cn=config is hidden from most
		{"generic", "refuse", true, attrs("pwdPolicySubentry=cn=x"), directory.StatusUnknown},
		{"generic", "allow", false, attrs("pwdPolicySubentry=cn=x", "pwdReset=TRUE"), directory.StatusMustChange},
	} {
		c := testClient(Settings{Kind: tt.kind, UnreadableState: tt.setting})
		if s, err := c.state(t.Context(), search, tt.in, tt.bound); err != nil || s.Status != tt.want {
			t.Errorf("%+v: %v (%s), %v", tt, s.Status, s.Reason, err)
		}
	}
}

// limited answers like a server that returns at most limit of n entries, in no
// order. Their ids are spread as slapd's are: close together.
func limited(n, limit int, more ...string) (searchFunc, *int) {
	searches := new(int)
	return func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		*searches++
		res := &ldap.SearchResult{}
		for k := range n {
			i := k * 7 % n // n is no multiple of 7
			id := fmt.Sprintf("fcc%05d-0000", i)
			in := true
			for rest := req.Filter; ; {
				_, after, found := strings.Cut(rest, "(entryUUID>=")
				if !found {
					break
				}
				from, _, _ := strings.Cut(after, ")")
				not := strings.HasSuffix(rest[:len(rest)-len(after)-len("(entryUUID>=")], "(!")
				in = in && (id >= from) != not
				rest = after
			}
			if in {
				if len(res.Entries) == limit {
					return res, ldap.NewError(ldap.LDAPResultSizeLimitExceeded, errors.New("limit"))
				}
				res.Entries = append(res.Entries, ldapEntry(fmt.Sprintf("cn=%d", i), append(more, "entryUUID="+id)...))
			}
		}
		return res, nil
	}, searches
}

func TestLimitedSearches(t *testing.T) {
	for _, tt := range []struct{ n, limit, searches int }{{10, 10, 1}, {701, 500, 3}, {3000, 500, 25}} {
		search, searches := limited(tt.n, tt.limit)
		entries, err := all(t.Context(), search, "", "(cn=*)", "cn")
		names := map[string]bool{}
		for _, e := range entries {
			names[e.dn] = true
		}
		if err != nil || len(entries) != tt.n || len(names) != tt.n || *searches > tt.searches {
			t.Errorf("%d entries, %d of them different, of %d by %d searches, %v", len(entries), len(names), tt.n, *searches, err)
		}
	}
	// A server that always has more, or shows no ids, is not asked for ever.
	search, searches := limited(2000, 2)
	if entries, err := all(t.Context(), search, "", "(cn=*)"); !ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded) || len(entries) == 0 || *searches > 2*maxParts+1 {
		t.Errorf("%d entries by %d searches, %v", len(entries), *searches, err)
	}
	search = func(context.Context, *ldap.SearchRequest) (*ldap.SearchResult, error) {
		return &ldap.SearchResult{Entries: []*ldap.Entry{ldapEntry("cn=a"), ldapEntry("cn=b")}}, ldap.NewError(ldap.LDAPResultSizeLimitExceeded, errors.New("limit"))
	}
	if entries, err := all(t.Context(), search, "", "(cn=*)"); err == nil || len(entries) != 2 {
		t.Errorf("without ids: %v, %v; want what came, and the error", entries, err)
	}
}

// TestUnindexed finds people although the server gives up a search by one of the
// login attributes.
func TestUnindexed(t *testing.T) {
	c := testClient(Settings{Kind: "389ds", LoginAttributes: []string{"uid", "mail"}})
	given := ldap.NewError(ldap.LDAPResultAdminLimitExceeded, errors.New("limit"))
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		switch {
		case strings.Contains(req.Filter, "mail="), strings.Contains(req.Filter, "uid=broken"):
			return nil, given
		case strings.Contains(req.Filter, "uid=alice)"):
			return &ldap.SearchResult{Entries: []*ldap.Entry{ldapEntry("uid=alice", "uid=alice")}}, nil
		}
		return &ldap.SearchResult{}, nil
	}
	if e, err := c.findEntry(t.Context(), search, "alice"); err != nil || e.dn != "uid=alice" {
		t.Errorf("by the login name: %v, %v", e, err)
	}
	for _, name := range []string{"nobody", "broken"} { // may be somebody's mail address
		if e, err := c.findEntry(t.Context(), search, name); !errors.Is(err, given) || directory.Refused(err) || !strings.Contains(err.Error(), "(uid, mail)") {
			t.Errorf("%s: %v, %v; want the limit, and the attributes", name, e, err)
		}
	}
}
