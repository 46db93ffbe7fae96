package peers

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestFreePort: a port is returned once, in whichever process, although nobody listens on it.
func TestFreePort(t *testing.T) {
	if os.Getenv("PORT_TAKEN") != "" {
		if err := reserve(os.Getenv("PORT_TAKEN")); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("another process has the port, and reserve returns %v", err)
		}
		return
	}
	port := freePort(t)
	if err := reserve(port); err == nil {
		t.Errorf("port %s is reserved twice", port)
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestFreePort$")
	other.Env = append(os.Environ(), "PORT_TAKEN="+port)
	if out, err := other.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for range 2 { // it can be used, and again
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}
