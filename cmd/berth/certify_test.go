package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLinkOpener: the link of a sign-in is opened once, and nothing else, and all that ssh
// says is shown.
func TestLinkOpener(t *testing.T) {
	dir := t.TempDir()
	opened := filepath.Join(dir, "opened")
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" >>"+opened+".new; mv "+opened+".new "+opened+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("WAYLAND_DISPLAY", "")
	const said = "Banner: see https://corp.example/help\r\nTo sign in, open this link in a browser:\n  https://login.corp.example/device?code=AB-CD\nIf it asks for a code, it is AB-CD.\n" +
		"To sign in, open this link in a browser:\n  https://login.corp.example/device?code=EF-GH\n"
	for display, want := range map[string]string{"": "", ":0": "https://login.corp.example/device?code=AB-CD\n"} {
		t.Setenv("DISPLAY", display)
		var shown bytes.Buffer
		l := &linkOpener{to: &shown}
		for part := range strings.SplitSeq(said, "n") { // in pieces, as a pipe has them
			l.Write([]byte(part + "n"))
		}
		if got := strings.TrimSuffix(shown.String(), "n"); got != said {
			t.Errorf("shown %q, want %q", got, said)
		}
		var got []byte
		for deadline := time.Now().Add(20 * time.Second); want != "" && len(got) == 0 && time.Now().Before(deadline); {
			got, _ = os.ReadFile(opened)
			time.Sleep(5 * time.Millisecond)
		}
		if string(got) != want {
			t.Errorf("with the display %q the browser got %q, want %q", display, got, want)
		}
	}
}
