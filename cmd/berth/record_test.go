package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"berth/config"
	"berth/sshd/event"
)

// TestLastEventsAreLost: the log says so if the events of the end of a server cannot be written.
func TestLastEventsAreLost(t *testing.T) {
	cfg := config.Default()
	cfg.Events.File, cfg.Events.Chain = "/dev/full", false
	cfg.Events.MaxSize, cfg.Events.MaxAge = 0, 0
	var logged bytes.Buffer
	r, err := openRecord(&cfg, nil, hclog.New(&hclog.LoggerOptions{Output: &logged}))
	if err != nil {
		t.Fatal(err)
	}
	r.Emit(event.Event{Type: event.FileOpened})
	r.Close()
	if !strings.Contains(logged.String(), "bytes lost") {
		t.Errorf("the log has %q", logged.String())
	}
}
