package ldap

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTraffic has one of two servers answer slowly and then no more.
func TestTraffic(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, c *Client, s []*script) {
		s[0].set(func() { s[0].slow = 10 * time.Millisecond })
		for range 5 {
			atOnce(t, c, 1)
		}
		first, second := c.Traffic()[0], c.Traffic()[1]
		if first.URL != "server 1" || !first.Up || first.Connections != 1 || first.Requests < 5 || first.Errors != 0 || first.Took != 50*time.Millisecond {
			t.Errorf("the first server: %+v, want 5 searches that took 50 ms", first)
		}
		if second.Connections != 0 || second.Requests != 0 || !second.Up {
			t.Errorf("the second server: %+v, want that it was not asked", second)
		}
		s[0].set(func() {
			s[0].stopped = true
			for nc := range s[0].open {
				nc.Close()
			}
		})
		time.Sleep(2 * checkAfter)
		atOnce(t, c, 1)
		time.Sleep(c.settings.ConnectTimeout)
		synctest.Wait()
		first, second = c.Traffic()[0], c.Traffic()[1]
		if first.Up || first.Failures != 1 || first.Errors == 0 || first.Connections != 0 {
			t.Errorf("the first server: %+v, want that it was found down once", first)
		}
		if second.Requests == 0 || second.Connections != 1 {
			t.Errorf("the second server: %+v, want that it was asked", second)
		}
	})
}
