package sshd

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

// TestSharedStderr: lines that several goroutines write to one standard error arrive whole,
// and the end comes while they write.
func TestSharedStderr(t *testing.T) {
	const writers, each = 4, 500
	client, accepted := libraryPair(t, func(int64) error { return nil })
	here, there := openChannel(t, client, accepted)
	ch := &sharedStderr{Channel: there}
	var writing sync.WaitGroup
	for w := range writers {
		line := strings.Repeat(fmt.Sprint(w), 10+10*w) + "\n"
		writing.Go(func() {
			for range each {
				if _, err := io.WriteString(ch.Stderr(), line); err != nil {
					t.Error(err)
				}
			}
		})
	}
	lines := bufio.NewScanner(here.Stderr())
	for n := range writers * each {
		if !lines.Scan() {
			t.Fatalf("after %d lines: %v", n, lines.Err())
		}
		if text := lines.Text(); len(text) < 10 || strings.Trim(text, text[:1]) != "" || len(text) != 10+10*int(text[0]-'0') {
			t.Fatalf("line %d is %q", n, text)
		}
	}
	writing.Wait()
	writing.Go(func() {
		for {
			if _, err := io.WriteString(ch.Stderr(), "late\n"); err != nil {
				return
			}
		}
	})
	ch.CloseWrite()
	ch.Close()
	for lines.Scan() {
	}
	writing.Wait()
}

// TestNoticeAtTheEnd: a person gets the notices that rights have changed and that the
// session has ended, while services write and end.
func TestNoticeAtTheEnd(t *testing.T) {
	for range 20 {
		f := start(t)
		c := f.must(t)
		run1(t, c, "help", "") // after its answer the session is open
		open := f.connections()[0]
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				for range 10 {
					s, err := c.NewSession()
					if err != nil {
						return // the connection has ended
					}
					_, _ = s.CombinedOutput("help")
				}
			})
		}
		for range 100 {
			open.notify("What you may do here has changed.")
		}
		open.revoke(errDown)
		running.Wait()
		c.Close()
	}
}
