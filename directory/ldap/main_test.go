package ldap_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain gives goroutines time to end: the standard library waits some seconds for a name
// server that has died, also for a call that was given up.
func TestMain(m *testing.M) {
	code := m.Run()
	leak := goleak.Find() // looks several times
	for end := time.Now().Add(20 * time.Second); leak != nil && time.Now().Before(end); {
		leak = goleak.Find()
	}
	if leak != nil {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	os.Exit(code)
}
