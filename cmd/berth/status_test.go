package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/admin"
)

// TestLogLevel: a level with a time ends with it, whatever was set meanwhile; one
// without stays.
func TestLogLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn})
		l := newLogLevel(log)
		named := log.Named("sshd")
		is := func(want hclog.Level) {
			t.Helper()
			synctest.Wait()
			if got := named.GetLevel(); got != want {
				t.Errorf("after %v: %v, want %v", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), got, want)
			}
		}
		set := func(level string, d time.Duration) {
			t.Helper()
			if err := l.set(level, d); err != nil {
				t.Fatal(err)
			}
		}
		set("debug", 10*time.Minute)
		time.Sleep(9 * time.Minute)
		is(hclog.Debug)
		set("trace", 10*time.Minute)
		time.Sleep(9 * time.Minute)
		is(hclog.Trace)
		time.Sleep(time.Minute)
		is(hclog.Warn)
		set("debug", time.Minute)
		set("info", 0)
		time.Sleep(time.Hour)
		is(hclog.Info)
		for level, d := range map[string]time.Duration{"loud": 0, "": 0, "debug": -time.Second} {
			if err := l.set(level, d); err == nil {
				t.Errorf("level %q for %v is accepted", level, d)
			}
		}
		is(hclog.Info)
	})
}

// TestLogLevelAtTheEndOfAnother: a level that is set in the moment in which another one ends
// stays.
func TestLogLevelAtTheEndOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn})
		l := newLogLevel(log)
		for range 20 {
			if err := l.set("debug", time.Minute); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if err := l.set("trace", time.Hour); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := log.GetLevel(); got != hclog.Trace {
				t.Fatalf("got %v, want %v", got, hclog.Trace)
			}
			if err := l.set("error", 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestPrintStatus: faults are in capitals, with their reasons.
func TestPrintStatus(t *testing.T) {
	began := time.Date(2026, 11, 28, 12, 0, 0, 0, time.Local)
	s := admin.Status{
		Release: "1.2", PID: 7, Started: began, Config: "/etc/berth/berth.yaml", RulesHash: "ab12", Listening: []string{"[::]:22"},
		NotReady: "directory corp: refused", Reloaded: &admin.Reload{At: began.Add(time.Hour), Error: "line 3"},
		Directories: []admin.DirectoryStatus{{Name: "corp", Error: "refused"}, {Name: "partner"}},
		Certificates: []admin.CertificateStatus{
			{Name: "ldaps://dc1:636", Ends: began.AddDate(1, 0, 0)},
			{Name: "ldaps://dc2:636", Ends: began.AddDate(0, 0, 9)},
			{Name: "/etc/berth/ca.pem", Ends: began.AddDate(0, 0, -1)},
		},
		Logins: 1, Sessions: 2, Penalized: 1, LogLevel: "info", ConfinedTo: []string{"/srv/berth", "/var/log/berth"},
		Events: []admin.EventsStatus{{To: "/var/log/berth/events.jsonl", Dropped: 4}, {To: "tcp://siem", Error: "no route", LeftOut: 5, Refused: 2}},
	}
	var b strings.Builder
	if err := printStatus(&b, s, began.Add(90*time.Minute)); err != nil {
		t.Fatal(err)
	}
	want := `server                                 berth 1.2, process 7, since 2026-11-28 12:00:00 (1h30m0s)
ready                                  NO: directory corp: refused
listening                              [::]:22
configuration                          /etc/berth/berth.yaml, rules ab12
last reload                            2026-11-28 13:00:00, FAILED: line 3
directory corp                         DOES NOT ANSWER: refused
directory partner                      answers
certificate of ldaps://dc1:636         valid until 2027-11-28
certificate of ldaps://dc2:636         ENDS on 2026-12-07, in 8 days
certificate of /etc/berth/ca.pem       HAS ENDED on 2026-11-27
sessions                               2, and 1 login under way
penalties                              against 1 source
events to /var/log/berth/events.jsonl  written; 4 LOST since the start
events to tcp://siem                   NOT WRITTEN: no route; 5 left out by events.rate; 2 REFUSED by the receiver and set aside
landlock                               writes only below /srv/berth, /var/log/berth
log level                              info
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
