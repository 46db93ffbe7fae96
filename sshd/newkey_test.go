package sshd

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"

	"berth/directory"
	"berth/policy"
	"berth/sshd/cert"
	"berth/sshd/event"
)

// TestKeyComesLate: somebody starts a service, waits until they may no longer use it, and
// sends the key then.
func TestKeyComesLate(t *testing.T) {
	for _, command := range []string{"certify", "keys add"} {
		for change, how := range map[string]func(f *fixture, taken *atomic.Bool){
			"the rules have no such service": func(_ *fixture, taken *atomic.Bool) { taken.Store(true) },
			"the password must be changed":   func(f *fixture, _ *atomic.Bool) { f.people.set("alice", directory.StatusMustChange) },
		} {
			t.Run(command+", and "+change, func(t *testing.T) {
				var taken atomic.Bool
				f := start(t, func(f *fixture) {
					c := newCity(t)
					a, err := cert.Open(cert.Settings{CAKeys: []string{c.trusted}})
					if err != nil {
						t.Fatal(err)
					}
					if err := a.IssueWith(cert.DefaultSettings().Issue, c.ca); err != nil {
						t.Fatal(err)
					}
					f.Gate.Certificates = a
					f.change(func(p *policy.Policy) {
						if !taken.Load() {
							p.Services = append(p.Services, "certify", "keys")
						}
					})
				})
				s, err := f.must(t).NewSession()
				if err != nil {
					t.Fatal(err)
				}
				var out bytes.Buffer
				s.Stdout = &out
				in, err := s.StdinPipe()
				if err == nil {
					err = s.Start(command)
				}
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "the service runs", func() bool { return len(f.events.reasons(event.ServiceStarted)) == 1 })
				how(f, &taken)
				f.Reconsider(t.Context())
				_, _ = io.WriteString(in, publicLine(newSigner(t)))
				in.Close()
				if err := s.Wait(); err == nil || out.Len() > 0 {
					t.Errorf("got %v, %q", err, out.String())
				}
				if n := len(f.events.reasons(event.CertificateIssued)) + len(f.events.reasons(event.KeyAdded)); n > 0 {
					t.Error("the key was used")
				}
				if n := len(f.events.reasons(event.ServiceRefused)); n != 1 {
					t.Errorf("%d events that the service was refused", n)
				}
			})
		}
	}
}
