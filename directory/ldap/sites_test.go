package ldap_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"berth/directory"
	"berth/test/peers"
)

// TestSambaSites has people log in all the time while the controller of this host's own
// site crashes, comes back, and is demoted. No answer may be wrong. Only the crash may cost a
// login: the bind that was under way, which is not sent twice.
func TestSambaSites(t *testing.T) {
	far, near := peers.SambaSites(t)
	s := settings(far)
	s.URLs, s.Base, s.Domain, s.Resolver = nil, "", far.Domain, far.Resolver
	c := open(t, s)
	const farURL, nearURL = "ldaps://dc1.ad.example.test", "ldaps://dc2.ad.example.test"

	var crashed atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			u, err := c.Lookup(ctx, "alice")
			if err == nil && len(u.Groups) == 5 {
				err = c.Authenticate(ctx, u, peers.Password("alice"))
			}
			if err != nil && !directory.Refused(err) && strings.HasPrefix(err.Error(), "bind as ") && crashed.CompareAndSwap(true, false) {
				continue
			}
			if ctx.Err() == nil && (err != nil || len(u.Groups) != 5) {
				t.Errorf("a login of alice = %v, %v", u, err)
				return
			}
		}
	})
	requests := func(url string) (n uint64) {
		for _, s := range c.Traffic() {
			if s.URL == url {
				n = s.Requests
			}
		}
		return n
	}
	more := func(what, url string) {
		t.Helper()
		before := requests(url)
		eventually(t, what, func() bool { return requests(url) > before+20 })
	}
	lists := func(want ...string) func() bool { return func() bool { return slices.Equal(urls(c), want) } }

	eventually(t, "the controller of the own site before the other", lists(nearURL, farURL))
	more("the controller of the own site is asked", nearURL)
	if n := requests(farURL); n > 0 {
		t.Errorf("%d requests to the other site, want none", n)
	}
	text := reportText(c.Report(t.Context(), nil))
	for _, want := range []string{
		": 2, 1 of them in the site " + peers.NearSite + " of this host", "controller " + nearURL + ": site " + peers.NearSite, "controller " + farURL + ": site Default-First-Site-Name",
		"replicas: 2 servers have the same id of dc=ad,",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}

	crashed.Store(true)
	near.Kill()
	more("the other site is asked", farURL)
	crashed.Store(false)
	if err := near.Start(); err != nil {
		t.Fatal(err)
	}
	more("the own site is asked again", nearURL)

	if err := far.Demote(near); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the demoted controller leaves the list", lists(farURL))
	more("the other site is asked", farURL)
	near.Stop()
	more("the other site is still asked", farURL)
}
