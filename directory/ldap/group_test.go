package ldap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/hashicorp/go-hclog"

	"berth/directory"
)

// testClient is a client whose searches a test answers.
func testClient(s Settings) *Client {
	s.Base, s.Cache = "dc=example,dc=test", time.Minute
	s = s.Complete()
	c := &Client{settings: s, kind: kinds[s.Kind], log: hclog.NewNullLogger(), now: time.Now}
	c.sids.max, c.nested.max, c.policyEntries.max, c.tokens.max = maxSIDs, maxNested, maxNested, 1
	return c
}

func ldapEntry(dn string, pairs ...string) *ldap.Entry {
	e := &ldap.Entry{DN: dn}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		e.Attributes = append(e.Attributes, ldap.NewEntryAttribute(name, []string{value}))
	}
	return e
}

// chain answers for groups g0 to g(n-1), each a member of the next, the last one
// of the first if it is a ring. fan more groups hold the user directly.
func chain(n, fan int, ring bool) (searchFunc, *int) {
	searches := new(int)
	return func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		*searches++
		res := &ldap.SearchResult{}
		group := func(i int) {
			res.Entries = append(res.Entries, ldapEntry(fmt.Sprintf("cn=g%d,dc=example", i), fmt.Sprintf("cn=g%d", i), "objectClass=groupOfNames"))
		}
		if strings.Contains(req.Filter, "memberUid=alice") {
			group(0)
			for i := range fan {
				group(1_000_000 + i)
			}
			return res, nil
		}
		for i := range n {
			next := i + 1
			if next == n && ring {
				next = 0
			}
			// Another spelling of the DN each time: a ring must be noticed all the same.
			if next < n && strings.Contains(req.Filter, fmt.Sprintf("(member=cn=g%d,dc=example)", i)) {
				group(next)
				res.Entries[len(res.Entries)-1].DN = strings.ToUpper(fmt.Sprintf("cn=g%d, dc=example", next))
			}
			if next < n && strings.Contains(req.Filter, strings.ToUpper(fmt.Sprintf("cn=g%d, dc=example)", i))) {
				group(next)
			}
		}
		return res, nil
	}, searches
}

func TestWalk(t *testing.T) {
	tests := []struct {
		name     string
		n, fan   int
		ring     bool
		groups   int
		searches int
		want     string
	}{
		{"one", 1, 0, false, 1, 2, ""},
		{"chain", 5, 0, false, 5, 6, ""},
		{"ring", 5, 0, true, 5, 6, ""},
		{"itself", 1, 0, true, 1, 2, ""},
		{"deep", maxDepth + 5, 0, false, 0, 0, "nested deeper than 32"},
		{"wide", 2, 250, false, 252, 5, ""},
		{"too wide", 2, maxGroups, false, 0, 0, "more than 10000 groups"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			search, searches := chain(tt.n, tt.fan, tt.ring)
			c := testClient(Settings{Kind: "openldap"})
			groups, err := c.groups(t.Context(), search, attrs(), "alice")
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %d groups, %v; want an error with %q", len(groups), err, tt.want)
				}
				return
			}
			if err != nil || len(groups) != tt.groups || *searches != tt.searches {
				t.Errorf("got %d groups by %d searches, %v; want %d by %d", len(groups), *searches, err, tt.groups, tt.searches)
			}
			if _, err := c.groups(t.Context(), search, attrs(), "alice"); err != nil || *searches != tt.searches+1 {
				t.Errorf("the second time: %d searches so far, %v; want one more than %d", *searches, err, tt.searches)
			}
		})
	}
}

func TestMemberOf(t *testing.T) {
	c := testClient(Settings{Kind: "freeipa"})
	e := attrs("memberOf=cn=staff,cn=groups,cn=accounts,dc=example", "memberOf=cn=admins\\, all,cn=groups,dc=example")
	groups, err := c.groups(t.Context(), nil, e, "alice")
	if err != nil || len(groups) != 2 || groups[0].Name != "admins, all" || groups[1].Via != viaMemberOf {
		t.Errorf("got %v, %v; want admins, all and staff by memberOf", groups, err)
	}
}

// TestMemberOfNumbers checks the numbers of groups of which the user's entry has
// only the DNs. Another group with the same name does not count.
func TestMemberOfNumbers(t *testing.T) {
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		if want := "(&(gidNumber=*)(|(cn=admins, all)(cn=staff)))"; req.Filter != want {
			t.Errorf("filter %s, want %s", req.Filter, want)
		}
		return &ldap.SearchResult{Entries: []*ldap.Entry{
			ldapEntry("cn=Staff,cn=groups,dc=example", "cn=staff", "gidNumber=2001"),
			ldapEntry("cn=staff,cn=elsewhere,dc=example", "cn=staff", "gidNumber=6"),
		}}, nil
	}
	user := attrs("uidNumber=1001", "memberOf=cn=admins\\, all,cn=groups,dc=example", "memberOf=cn=staff,cn=groups,dc=example")
	groups, err := testClient(Settings{Kind: "freeipa"}).groups(t.Context(), search, user, "alice")
	if err != nil || len(groups) != 2 || groups[0].GID != 0 || groups[1].GID != 2001 {
		t.Errorf("got %v, %v; want no number of admins and 2001 of staff", groups, err)
	}
	fails := func(context.Context, *ldap.SearchRequest) (*ldap.SearchResult, error) { return nil, errClosed }
	if _, err := testClient(Settings{Kind: "freeipa"}).groups(t.Context(), fails, user, "alice"); !errors.Is(err, errClosed) {
		t.Errorf("a failed search: %v", err)
	}
}

// TestTokenGroups counts the searches: names of SIDs are asked for once.
func TestTokenGroups(t *testing.T) {
	sid := func(rid byte) string {
		return "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00" + string([]byte{rid, 2, 0, 0})
	}
	searches := 0
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		searches++
		if req.Scope == ldap.ScopeBaseObject {
			e := &ldap.Entry{DN: req.BaseDN, Attributes: []*ldap.EntryAttribute{ldap.NewEntryAttribute("tokenGroups", []string{sid(1), sid(2), sid(3), "junk"})}}
			return &ldap.SearchResult{Entries: []*ldap.Entry{e}}, nil
		}
		return &ldap.SearchResult{
			Entries: []*ldap.Entry{
				ldapEntry("CN=One,DC=example", "sAMAccountName=One", "objectSid="+sid(1), "gidNumber=2001"),
				ldapEntry("CN=Two,DC=example", "sAMAccountName=Two", "objectSid="+sid(2)),
			},
			Referrals: []string{"ldaps://elsewhere/DC=other"},
		}, nil
	}
	c := testClient(Settings{Kind: "active_directory"})
	user := attrs("objectSid="+sid(9), "primaryGroupID=514", "memberOf=cn=one, dc=EXAMPLE")
	for i, want := range []int{2, 3} {
		groups, err := c.groups(t.Context(), search, user, "alice")
		got := fmt.Sprint(groups)
		if err != nil || searches != want {
			t.Errorf("look-up %d: %d searches so far, %v; want %d", i, searches, err, want)
		}
		for _, g := range []string{
			"{CN=One,DC=example One S-1-5-32-513 2001 direct}", "{CN=Two,DC=example Two S-1-5-32-514 0 primary}", "{  S-1-5-32-515 0 nested}",
		} {
			if !strings.Contains(got, g) {
				t.Errorf("look-up %d: got %s, want %s", i, got, g)
			}
		}
	}
}

// TestRanges reads an attribute that comes in pieces.
func TestRanges(t *testing.T) {
	total := 3210
	values := func(from, to int) []string {
		var v []string
		for i := from; i < to; i++ {
			v = append(v, fmt.Sprintf("cn=g%d", i))
		}
		return v
	}
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		var from int
		if _, err := fmt.Sscanf(req.Attributes[0], "memberof;range=%d-*", &from); err != nil {
			return nil, err
		}
		to, end := from+1500, fmt.Sprint(from+1499)
		if to >= total {
			to, end = total, "*"
		}
		a := ldap.NewEntryAttribute(fmt.Sprintf("memberOf;range=%d-%s", from, end), values(from, to))
		return &ldap.SearchResult{Entries: []*ldap.Entry{{DN: req.BaseDN, Attributes: []*ldap.EntryAttribute{a}}}}, nil
	}
	first := &ldap.Entry{DN: "cn=x", Attributes: []*ldap.EntryAttribute{
		ldap.NewEntryAttribute("memberOf", nil),
		ldap.NewEntryAttribute("memberOf;range=0-1499", values(0, 1500)),
	}}
	e := newEntry(first)
	if err := e.readRanges(t.Context(), search); err != nil {
		t.Fatal(err)
	}
	if got := len(e.all("memberOf")); got != total {
		t.Errorf("got %d values, want %d", got, total)
	}

	endless := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		a := ldap.NewEntryAttribute("memberOf;range=0-0", []string{"cn=again"})
		return &ldap.SearchResult{Entries: []*ldap.Entry{{DN: req.BaseDN, Attributes: []*ldap.EntryAttribute{a}}}}, nil
	}
	e = newEntry(first)
	if err := e.readRanges(t.Context(), endless); err == nil || !strings.Contains(err.Error(), "more than 100 pieces") {
		t.Errorf("endless ranges: %v, want an error", err)
	}
}

// TestPages reads a search in pages, of which one is empty, and gives up on one
// without an end. A request that is sent again begins at the first page.
func TestPages(t *testing.T) {
	req := request("", ldap.ScopeWholeSubtree, "", 0)
	paging := ldap.NewControlPaging(pageSize)
	req.Controls = []ldap.Control{paging}
	answer := func(n int) func() (*ldap.SearchResult, error) {
		i := 0
		return func() (*ldap.SearchResult, error) {
			if first := len(paging.Cookie) == 0; first != (i == 0) {
				t.Errorf("page %d has the cookie %q", i, paging.Cookie)
			}
			i++
			res := &ldap.SearchResult{}
			for j := range pageSize {
				if i == 2 {
					break
				}
				res.Entries = append(res.Entries, ldapEntry(fmt.Sprintf("cn=%d-%d", i, j)))
			}
			next := ldap.NewControlPaging(0)
			if i < n {
				next.SetCookie([]byte{1})
			}
			res.Controls = []ldap.Control{next}
			return res, nil
		}
	}
	for range 2 {
		if got, err := pages(req, answer(3)); err != nil || len(got.Entries) != 2*pageSize {
			t.Errorf("got %d entries, %v; want %d", len(got.Entries), err, 2*pageSize)
		}
	}
	if got, err := pages(req, answer(1_000_000)); !errors.Is(err, errTooMany) || len(got.Entries) > maxEntries+pageSize {
		t.Errorf("got %d entries, %v; want %v", len(got.Entries), err, errTooMany)
	}
	empty := func() (*ldap.SearchResult, error) {
		next := ldap.NewControlPaging(0)
		next.SetCookie([]byte{1})
		return &ldap.SearchResult{Controls: []ldap.Control{next}}, nil
	}
	if _, err := pages(req, empty); !errors.Is(err, errTooMany) {
		t.Errorf("empty pages without an end: %v, want %v", err, errTooMany)
	}
	fails := func() (*ldap.SearchResult, error) {
		return &ldap.SearchResult{Entries: []*ldap.Entry{ldapEntry("cn=last")}}, errClosed
	}
	if got, err := pages(req, fails); !errors.Is(err, errClosed) || len(got.Entries) != 1 {
		t.Errorf("got %d entries, %v; want what came, and the error", len(got.Entries), err)
	}
}

func TestLoginName(t *testing.T) {
	c := testClient(Settings{Kind: "openldap"})
	tests := []struct {
		dn   string
		uids []string
		want string
	}{
		{"uid=bob,ou=p", []string{"robert", "bob"}, "bob"},
		{"cn=Bob B,ou=p", []string{"robert", "bob"}, "bob"},
		{"cn=Bob B,ou=p", []string{"bob", "robert"}, "bob"},
		{"cn=Bob B,ou=p", nil, ""},
		{"cn=Bob B+uid=robert,ou=p", []string{"bob", "robert"}, "robert"},
		{"uid=ROBERT+cn=Bob B,ou=p", []string{"bob", "robert"}, "robert"},
		{"cn=robert,ou=p", []string{"bob", "robert"}, "bob"},
	}
	for _, tt := range tests {
		e := entry{dn: tt.dn, attrs: map[string][]string{"uid": tt.uids}}
		if got := c.loginName(e); got != tt.want {
			t.Errorf("%s with %v: got %q, want %q", tt.dn, tt.uids, got, tt.want)
		}
	}
}

// TestNoGroups: a user without groups differs from a user whose groups cannot
// be read.
func TestNoGroups(t *testing.T) {
	none, _ := tree(nil)
	c := testClient(Settings{Kind: "active_directory"})
	if groups, err := c.groups(t.Context(), none, attrs(), "x"); !errors.Is(err, directory.ErrStateUnknown) || !strings.Contains(err.Error(), "tokenGroups") {
		t.Errorf("Active Directory: %v, %v; want ErrStateUnknown", groups, err)
	}
	for _, walk := range []string{walkMembers, walkMemberOf} {
		if groups, err := testClient(Settings{Kind: "generic", GroupWalk: walk}).groups(t.Context(), none, attrs(), "x"); err != nil || len(groups) != 0 {
			t.Errorf("%s: %v, %v; want none", walk, groups, err)
		}
	}
	fails := func(context.Context, *ldap.SearchRequest) (*ldap.SearchResult, error) { return nil, errClosed }
	for _, walk := range []string{walkTokenGroups, walkMembers, walkMemberOf} {
		c := testClient(Settings{Kind: "generic", GroupWalk: walk})
		if groups, err := c.groups(t.Context(), fails, attrs("gidNumber=1"), "x"); !errors.Is(err, errClosed) {
			t.Errorf("%s: %v, %v; want the error of the search", walk, groups, err)
		}
	}
}

// TestRememberedGroups remembers what holds a group as long as a user, and no
// longer: it may be renamed.
func TestRememberedGroups(t *testing.T) {
	for cache, want := range map[time.Duration]time.Duration{0: time.Second, time.Minute: time.Minute} {
		names := map[string][]string{"cn=a,dc=example,dc=test": {"cn=a", "objectSid=x"}}
		search, _ := tree(names)
		c := testClient(Settings{Kind: "generic"})
		c.settings.Cache = cache
		now := noon
		c.now = func() time.Time { return now }
		for _, tt := range []struct {
			after time.Duration
			name  string
		}{{0, "a"}, {want - 1, "a"}, {want, "b"}} {
			now = noon.Add(tt.after)
			groups, err := c.remembered(t.Context(), search, "(cn=*)", viaNested)
			if err != nil || len(groups) != 1 || groups[0].Name != tt.name || groups[0].Via != viaNested {
				t.Errorf("cache %v, after %v: %v, %v; want %s", cache, tt.after, groups, err, tt.name)
			}
			known, err := c.names(t.Context(), search, []string{"x"})
			if err != nil || known["x"].Name != tt.name {
				t.Errorf("cache %v, after %v: SID is of %v, %v; want %s", cache, tt.after, known, err, tt.name)
			}
			names["cn=a,dc=example,dc=test"] = []string{"cn=b", "objectSid=x"}
		}
	}
}

// TestPrimaryByNumber adds the group whose number the user has, and what holds it.
func TestPrimaryByNumber(t *testing.T) {
	search := func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
		res := &ldap.SearchResult{}
		if strings.Contains(req.Filter, "(&(objectClass=posixGroup)(gidNumber=7))") {
			res.Entries = append(res.Entries, ldapEntry("cn=own,dc=x", "cn=own", "objectClass=posixGroup", "gidNumber=7"))
		}
		if strings.Contains(req.Filter, "(memberUid=x)") {
			res.Entries = append(res.Entries,
				ldapEntry("cn=uid,dc=x", "cn=uid", "objectClass=posixGroup", "gidNumber=8"),
				ldapEntry("cn=dn,dc=x", "cn=dn", "objectClass=groupOfNames", "gidNumber=7"))
		}
		if strings.Contains(req.Filter, "(member=cn=own,dc=x)") {
			res.Entries = append(res.Entries, ldapEntry("cn=above,dc=x", "cn=above", "objectClass=groupOfNames"))
		}
		return res, nil
	}
	for walk, want := range map[string]string{
		walkMembers:  "above nested 0, dn direct 7, listed memberOf 0, own primary 7, uid memberUid 8",
		walkMemberOf: "above nested 0, listed memberOf 0, own primary 7",
	} {
		c := testClient(Settings{Kind: "generic", GroupWalk: walk})
		groups, err := c.groups(t.Context(), search, attrs("gidNumber=7", "memberOf=ou=x+cn=listed,dc=x"), "x")
		var got []string
		for _, g := range groups {
			got = append(got, fmt.Sprintf("%s %s %d", g.Name, g.Via, g.GID))
		}
		if text := strings.Join(got, ", "); err != nil || text != want {
			t.Errorf("%s: %s, %v; want %s", walk, text, err, want)
		}
	}
	for _, in := range []entry{attrs(), attrs("gidNumber=7)(cn=*")} {
		if f := primaryFilter(in); f != "" && strings.Contains(f, "=7)(cn") {
			t.Errorf("filter %s", f)
		}
	}
}

// TestUpTo checks that the entries before the limit are returned, and none beside
// an error.
func TestUpTo(t *testing.T) {
	two := &ldap.SearchResult{Entries: []*ldap.Entry{{DN: "cn=a"}, {DN: "cn=b"}}}
	limit := ldap.NewError(ldap.LDAPResultSizeLimitExceeded, errors.New("more"))
	tests := map[string]struct {
		res     *ldap.SearchResult
		err     error
		entries int
		more    bool
		fails   bool
	}{
		"all":          {two, nil, 2, false, false},
		"some":         {two, limit, 2, true, false},
		"none of many": {nil, limit, 0, true, false},
		"error":        {two, ldap.NewError(ldap.LDAPResultBusy, errors.New("busy")), 0, false, true},
	}
	for name, tt := range tests {
		entries, more, err := upTo(t.Context(), func(_ context.Context, req *ldap.SearchRequest) (*ldap.SearchResult, error) {
			if req.SizeLimit != 2 || !req.EnforceSizeLimit {
				t.Errorf("%s: limit %d, enforced %t", name, req.SizeLimit, req.EnforceSizeLimit)
			}
			return tt.res, tt.err
		}, "dc=x", "(cn=*)", 2)
		if len(entries) != tt.entries || more != tt.more || (err != nil) != tt.fails {
			t.Errorf("%s: %d entries, more %t, %v", name, len(entries), more, err)
		}
	}
}
