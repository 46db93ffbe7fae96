package mail

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFileForgets: claims that are over are removed, and nothing else.
func TestFileForgets(t *testing.T) {
	f := &File{Path: filepath.Join(t.TempDir(), "mail.json")}
	synctest.Test(t, func(t *testing.T) {
		for i, tt := range []struct {
			keys []string
			keep time.Duration
			want bool
		}{
			{[]string{"a", "b"}, time.Hour, true}, {[]string{"c", "b"}, time.Hour, false}, {[]string{"c"}, 0, true}, {[]string{"c"}, 3 * time.Hour, true},
		} {
			if got, err := f.Claim(t.Context(), tt.keep, tt.keys...); got != tt.want || err != nil {
				t.Errorf("%d: got %v, %v, want %v", i, got, err, tt.want)
			}
		}
		time.Sleep(2 * time.Hour)
		if err := f.Release(t.Context(), "none"); err != nil {
			t.Error(err)
		}
		if _, err := f.Claim(t.Context(), time.Hour, "d"); err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]time.Time
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 2 || all["c"].IsZero() || all["d"].IsZero() {
		t.Errorf("%s: %v; want c and d only", text, err)
	}
}

// TestFileOfTwoProcesses: two that share a file lose nothing that the other one has recorded,
// and only one of them may send a mail.
func TestFileOfTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.json")
	const mails = 50
	var sent [mails]atomic.Int32
	var both sync.WaitGroup
	for range 2 {
		f := &File{Path: path}
		both.Go(func() {
			for i := range mails {
				claimed, err := f.Claim(t.Context(), time.Hour, fmt.Sprint(i))
				if err != nil {
					t.Error(err)
				}
				if claimed {
					sent[i].Add(1)
				}
			}
		})
	}
	both.Wait()
	for i := range sent {
		if n := sent[i].Load(); n != 1 {
			t.Errorf("mail %d was sent %d times", i, n)
		}
	}
}
