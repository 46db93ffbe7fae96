package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	base   = "dc=example,dc=org"
	people = "ou=people," + base
	alice  = "uid=alice," + people
	bob    = "uid=bob," + people
	dave   = "uid=dave," + people
	erin   = "uid=erin," + people
)

// peopleFile is a copy of the example that a test may change.
func peopleFile(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/people.ldif")
	if err != nil {
		t.Fatal(err)
	}
	return writeLDIF(t, string(data))
}

func writeLDIF(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "people.ldif")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// open starts a server that the test's end stops. Settings that are missing are
// the example's.
func open(t testing.TB, s Settings) *Server {
	t.Helper()
	if s.LDIF == "" {
		s.LDIF = peopleFile(t)
	}
	if s.hashMemory == 0 {
		s.hashMemory = 64
	}
	srv, err := Open(s, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}
