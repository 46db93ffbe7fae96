// Package event says what can happen: an Event is one fact, with its Type and Reason. A
// Sink takes events: the audit file and a syslog server (package audit), the metrics, the
// log. Start at Event.
package event

import (
	"net/netip"
	"time"
)

// An Event is one thing that happened. Zero fields are left out of its JSON.
// It never carries a password, a key's private part or a file's content.
type Event struct {
	Time         time.Time
	Type         Type
	Session      string // id of the connection, the same in all its events
	User         string // canonical name if known, else as typed
	UserID       string // the directory's stable id
	Directory    string // of the user: two may have one id
	Remote       netip.AddrPort
	Client       string // identification string of the client
	Method       string // of a login
	Service      string // sftp, scp, passwd, …
	Path         string // in the user's view
	HostPath     string // the same on this machine
	Target       string // second name of a rename or link
	HostTarget   string // the same on this machine
	Mode         string // how a file was opened, one of the six phrases
	Size         int64  // of the file when it was closed
	BytesRead    int64
	BytesWritten int64
	Duration     time.Duration
	Work         time.Duration // of Duration, what the server needed: without waiting for the client, and without delays on purpose
	FirstByte    time.Duration // from opening a file to the first byte that was read; for metrics only
	SHA256       string        // of a whole sequential transfer, hexadecimal
	Err          error         // nil means success
	Reason       Reason        // code of a refusal or failure
	Detail       string        // more, for the administrator
	Fields       map[string]string
}

// reason is e.Reason, or if that is empty, the reason for e.Err.
func (e *Event) reason() Reason {
	if e.Reason == (Reason{}) && e.Err != nil {
		return ReasonOf(e.Err)
	}
	return e.Reason
}

// A Sink takes events. Emit is safe for concurrent use and never blocks on a
// slow receiver.
type Sink interface {
	Emit(Event)
}

// Sinks is several sinks as one.
type Sinks []Sink

// Emit gives e to each sink in turn.
func (s Sinks) Emit(e Event) {
	for _, sink := range s {
		sink.Emit(e)
	}
}
