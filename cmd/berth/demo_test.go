package main

import (
	"net"
	"strings"
	"testing"
)

// TestDemoOnUsedPort: a newcomer whose port is in use reads how to take another one.
func TestDemoOnUsedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = call("demo", "--dir", t.TempDir(), "--listen", l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "--listen 127.0.0.1:PORT") {
		t.Error(err)
	}
}
