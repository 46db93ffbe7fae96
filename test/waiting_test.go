package test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	eventuallyWithin(t, time.Minute, what, so)
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// recorded waits until each pattern matches an event of the file in dir. The server writes
// events behind what they are about, so a test that reads the file once may see too little.
func recorded(t *testing.T, dir string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		event := regexp.MustCompile(pattern)
		eventually(t, "an event "+pattern, func() bool {
			text, _ := os.ReadFile(filepath.Join(dir, "events.jsonl"))
			return event.Match(text)
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
