// Package directorytest is the conformance suite of directory.Directory. Every
// implementation, over every kind of server, passes the same tests; a server
// that cannot do something says so in Suite.Cannot and the test prints it.
package directorytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"berth/directory"
)

// A Person is somebody the server under test knows.
type Person struct {
	Name      string   // canonical
	Password  string   // that is right
	Spellings []string // further ones that mean the same person
	Groups    []string // plain names of all groups, with " (via)" as in Group.Via
	Keys      int      // that may be used
	Notes     int      // values that may not

	// Proved says that the server reports a right password as right although the
	// account may not log in.
	Proved bool
	// RightIs is the answer to the right password of somebody who may not log in;
	// nil means the error of the state.
	RightIs error
	// WrongIs is the answer to a wrong password; nil means ErrBadPassword.
	WrongIs error
}

// A Suite says who is in the server under test. New is called once for each
// test of the suite; it may return the same Directory each time.
type Suite struct {
	New func(t *testing.T) directory.Directory

	Active []Person                    // log in with everything
	States map[directory.Status]Person // do not, because of their state

	Changer     Person // may change the password, has done nothing else
	MustChange  Person // must, and can
	Expired     Person // has an expired password, and can change it
	NewPassword string // meets the rules; for whoever changes

	// Refused are new passwords that the directory does not take, with the
	// reason.
	Refused map[string]error
	// Forbidden may not change their password, with the reason.
	Forbidden map[string]Forbidden

	// NoKeysFor may not be given a key, because of their state.
	NoKeysFor []Person

	// Cannot has the subtests that this server cannot pass, with the reasons. A
	// key is the name of a subtest, such as "States/disabled", or "History" for a
	// server that does not refuse old passwords.
	Cannot map[string]string

	// Outage makes the server unreachable until the returned function is called.
	// nil leaves the test out.
	Outage func(t *testing.T) (end func())
}

// Forbidden is a person who may not change the password, and why not.
type Forbidden struct {
	Person
	Why error
}

// timeout is longer than any answer takes. It has an effect only when a test
// fails.
const timeout = time.Minute

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, directory.Directory)
	}{
		{"Lookup", s.lookup},
		{"LookupMany", s.lookupMany},
		{"Find", s.find},
		{"Nobody", s.nobody},
		{"Authenticate", s.authenticate},
		{"States", s.states},
		{"Concurrent", s.concurrent},
		{"Cancelled", s.cancelled},
		{"Ping", s.ping},
		{"Change", s.change},
		{"ChangeMust", func(t *testing.T, d directory.Directory) { s.changeBound(t, d, s.MustChange, directory.ErrMustChange) }},
		{"ChangeExpired", func(t *testing.T, d directory.Directory) {
			s.changeBound(t, d, s.Expired, directory.ErrPasswordExpired)
		}},
		{"ChangeForbidden", s.changeForbidden},
		{"Keys", s.keys},
		{"Outage", s.outage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.may(t)
			tt.run(t, s.New(t))
		})
	}
}

// may skips what the server cannot do.
func (s Suite) may(t *testing.T) {
	t.Helper()
	_, name, _ := strings.Cut(t.Name(), "/")
	for key, why := range s.Cannot {
		if name == key || strings.HasSuffix(name, "/"+key) {
			t.Skipf("this server cannot: %s", why)
		}
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

func lookup(t *testing.T, d directory.Directory, name string) *directory.User {
	t.Helper()
	u, err := d.Lookup(within(t), name)
	if err != nil {
		t.Fatalf("Lookup(%q) = %v, want the user", name, err)
	}
	return u
}

func (s Suite) lookup(t *testing.T, d directory.Directory) {
	for _, p := range s.Active {
		u := lookup(t, d, p.Name)
		if u.Name != p.Name || u.ID == "" || u.DN == "" || u.Source == "" || u.Cached {
			t.Errorf("Lookup(%q): got name %q, id %q, DN %q, source %q, cached %t; want all set, and not cached", p.Name, u.Name, u.ID, u.DN, u.Source, u.Cached)
		}
		if u.State.Status != directory.StatusActive || u.State.Err() != nil {
			t.Errorf("Lookup(%q): got state %v, want active", p.Name, u.State)
		}
		if got := groupNames(u.Groups); !cmp.Equal(got, p.Groups) {
			t.Errorf("groups of %q: %s", p.Name, cmp.Diff(p.Groups, got))
		}
		for _, g := range u.Groups {
			if g.DN.IsZero() {
				t.Errorf("group %q of %q has no DN", g.Name, p.Name)
			}
		}
		if len(u.Keys) != p.Keys || len(u.Notes) != p.Notes {
			t.Errorf("keys of %q: got %d and the notes %v, want %d and %d notes", p.Name, len(u.Keys), u.Notes, p.Keys, p.Notes)
		}
		for _, spelling := range append(p.Spellings, strings.ToUpper(p.Name)) {
			if v := lookup(t, d, spelling); v.Name != u.Name || v.ID != u.ID || v.DN != u.DN {
				t.Errorf("Lookup(%q): got %q (%s, %s), want the same as %q (%s, %s)", spelling, v.Name, v.ID, v.DN, u.Name, u.ID, u.DN)
			}
		}
	}
}

// lookupMany looks everybody up together, and some who are nobody: each answer
// must be that of Lookup.
func (s Suite) lookupMany(t *testing.T, d directory.Directory) {
	names := []string{"nobody", "*", "", "a)(uid=*"}
	for _, p := range s.Active {
		names = append(append(names, p.Name, strings.ToUpper(p.Name)), p.Spellings...)
	}
	for _, p := range s.States {
		names = append(names, p.Name)
	}
	for i := range 150 { // more than one filter takes
		names = append(names, fmt.Sprint("nobody-", i))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	answers := d.LookupMany(within(t), names)
	if len(answers) != len(names) {
		t.Errorf("%d answers for %d names", len(answers), len(names))
	}
	for _, name := range names {
		u, err := d.Lookup(within(t), name)
		got := answers[name]
		if errors.Is(err, directory.ErrNoUser) != errors.Is(got.Err, directory.ErrNoUser) || (err == nil) != (got.Err == nil) {
			t.Errorf("LookupMany of %q = %v, want %v as Lookup", name, got.Err, err)
		}
		if diff := cmp.Diff(u, got.User, cmp.AllowUnexported(directory.Secret{}), cmp.Comparer(sameKey)); diff != "" {
			t.Errorf("LookupMany of %q (-Lookup +LookupMany):\n%s", name, diff)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, a := range d.LookupMany(ctx, []string{s.Active[0].Name, s.Changer.Name}) {
		if a.Err == nil || directory.Refused(a.Err) {
			t.Errorf("LookupMany of %q with a cancelled context = %v, want an error that is no refusal", name, a.Err)
		}
	}
}

// find searches by what names begin with. Characters with a special meaning in filters are
// ordinary characters of a name here.
func (s Suite) find(t *testing.T, d directory.Directory) {
	const many = 100
	p := s.Active[0]
	begin := strings.ToUpper(p.Name[:len(p.Name)-1])
	found, more, err := d.Find(within(t), begin, many)
	i := slices.IndexFunc(found, func(f directory.Found) bool { return f.Name == p.Name })
	if err != nil || more || i < 0 {
		t.Fatalf("%q: %+v, more: %t, %v", begin, found, more, err)
	}
	if u := lookup(t, d, p.Name); found[i].DN != u.DN || found[i].Source != u.Source {
		t.Errorf("%q: %+v, but the look-up gives %s of %s", begin, found[i], u.DN, u.Source)
	}
	for _, text := range []string{"", "*", p.Name + ")(uid=*", "no-such-person"} {
		if found, more, err := d.Find(within(t), text, many); err != nil || more || len(found) > 0 {
			t.Errorf("%q: %+v, more: %t, %v", text, found, more, err)
		}
	}
	one := s.Active[0].Name[:1]
	all, _, err := d.Find(within(t), one, many)
	if err != nil {
		t.Fatal(err)
	}
	some, more, err := d.Find(within(t), one, 1)
	if err != nil || len(some) != 1 || more != (len(all) > 1) {
		t.Errorf("%q, one of %d: %+v, more: %t, %v", one, len(all), some, more, err)
	}
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

func groupNames(groups []directory.Group) []string {
	var names []string
	for _, g := range groups {
		names = append(names, fmt.Sprintf("%s (%s)", g.Name, g.Via))
	}
	slices.Sort(names)
	return names
}

// nobody looks up names that nobody has. Most of them are such as an attacker
// would type, with special characters of filters and DNs.
func (s Suite) nobody(t *testing.T, d directory.Directory) {
	name := s.Active[0].Name
	names := []string{
		"", "nobody", "*", name[:1] + "*", "*)(uid=*", ")(uid=*", "*)(objectClass=*", name + ")(objectClass=*",
		name + "\x00", "\x00", "\\2a", "\\", `NOWHERE\` + name, `\` + name, name + `\`, name + "@nowhere.invalid",
		"\xff\xfe", "uid=" + name, "\n", "a\nb", strings.Repeat("a", 10_000), strings.Repeat("(", 250), "é", "%u", "%s",
	}
	for _, name := range names {
		u, err := d.Lookup(within(t), name)
		if !errors.Is(err, directory.ErrNoUser) || !directory.Refused(err) {
			t.Errorf("Lookup(%.40q) = %v, %v; want ErrNoUser", name, u, err)
		}
	}
}

func (s Suite) authenticate(t *testing.T, d directory.Directory) {
	for _, p := range s.Active {
		u := lookup(t, d, p.Name)
		if err := d.Authenticate(within(t), u, p.Password); err != nil {
			t.Errorf("Authenticate(%q) with the right password = %v, want nil", p.Name, err)
		}
		// Only one wrong password is tried, so that nobody is locked. An empty one
		// must not be sent to the server at all.
		for _, wrong := range []string{"", p.Password + "x"} {
			wantWrong(t, d, u, wrong, nil)
		}
	}
	gone := *lookup(t, d, s.Active[0].Name)
	gone.DN, gone.Name = strings.Replace(gone.DN, "=", "=gone", 1), "nobody"
	wantWrong(t, d, &gone, s.Active[0].Password, nil)
	gone.DN = ""
	wantWrong(t, d, &gone, s.Active[0].Password, nil)
}

// wantWrong expects the refusal of a wrong password.
func wantWrong(t *testing.T, d directory.Directory, u *directory.User, password string, why error) {
	t.Helper()
	if why == nil {
		why = directory.ErrBadPassword
	}
	err := d.Authenticate(within(t), u, password)
	if !errors.Is(err, why) || !directory.Refused(err) || directory.Proved(err) {
		t.Errorf("Authenticate(%q) with a wrong password = %v (proved: %t), want %v, not proved", u.Name, err, directory.Proved(err), why)
	}
	if err != nil && password != "" && strings.Contains(err.Error(), password) {
		t.Errorf("the error holds the password: %v", err)
	}
}

func (s Suite) states(t *testing.T, d directory.Directory) {
	all := []directory.Status{
		directory.StatusDisabled, directory.StatusLocked, directory.StatusExpired, directory.StatusOutsideHours,
		directory.StatusPasswordExpired, directory.StatusMustChange,
	}
	for _, status := range all {
		t.Run(strings.ReplaceAll(status.String(), " ", "_"), func(t *testing.T) {
			s.may(t)
			p := s.States[status]
			u := lookup(t, d, p.Name)
			if u.State.Status != status || u.State.Reason == "" {
				t.Errorf("state of %q: got %v because of %q, want %v and a reason", p.Name, u.State.Status, u.State.Reason, status)
			}
			why := directory.State{Status: status}.Err()
			if err := u.State.Err(); !errors.Is(err, errors.Unwrap(why)) {
				t.Errorf("State.Err of %q = %v, want %v", p.Name, err, why)
			}
			wantWrong(t, d, u, p.Password+"x", p.WrongIs)
			want := p.RightIs
			if want == nil {
				want = errors.Unwrap(why)
			}
			err := d.Authenticate(within(t), u, p.Password)
			if !errors.Is(err, want) || directory.Proved(err) != p.Proved {
				t.Errorf("Authenticate(%q) with the right password = %v (proved: %t), want %v (proved: %t)", p.Name, err, directory.Proved(err), want, p.Proved)
			}
		})
	}
}

func (s Suite) concurrent(t *testing.T, d directory.Directory) {
	p := s.Active[0]
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			u, err := d.Lookup(within(t), p.Name)
			if err != nil {
				t.Errorf("Lookup(%q) among others = %v, want the user", p.Name, err)
				return
			}
			if err := d.Authenticate(within(t), u, p.Password); err != nil {
				t.Errorf("Authenticate(%q) among others = %v, want nil", p.Name, err)
			}
		})
	}
	wg.Wait()
}

// cancelled asks with a context that has ended. The error must not look like
// a "no" of the directory.
func (s Suite) cancelled(t *testing.T, d directory.Directory) {
	p := s.Active[0]
	u := lookup(t, d, p.Name)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Lookup(ctx, p.Name); err == nil || directory.Refused(err) {
		t.Errorf("Lookup with a cancelled context = %v, want an error that is no refusal", err)
	}
	if err := d.Authenticate(ctx, u, p.Password); err == nil || directory.Refused(err) {
		t.Errorf("Authenticate with a cancelled context = %v, want an error that is no refusal", err)
	}
	if err := d.Authenticate(within(t), u, p.Password); err != nil {
		t.Errorf("Authenticate afterwards = %v, want nil", err)
	}
}

func (s Suite) ping(t *testing.T, d directory.Directory) {
	if err := d.Ping(within(t)); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
}

func (s Suite) change(t *testing.T, d directory.Directory) {
	p := s.Changer
	u := lookup(t, d, p.Name)
	refused := func(old, new string, why error) {
		t.Helper()
		err := d.ChangePassword(within(t), u, old, new)
		if !errors.Is(err, why) || !directory.Refused(err) {
			t.Errorf("ChangePassword(%q) to %q = %v, want %v", p.Name, new, err, why)
		}
		if err != nil && (strings.Contains(err.Error(), p.Password) || strings.Contains(err.Error(), s.NewPassword)) {
			t.Errorf("the error holds a password: %v", err)
		}
	}
	refused("", s.NewPassword, directory.ErrBadPassword)
	refused(p.Password+"x", s.NewPassword, directory.ErrBadPassword)
	refused(p.Password, "", directory.ErrPasswordTooShort)
	if _, forgets := s.Cannot["History"]; !forgets {
		refused(p.Password, p.Password, directory.ErrPasswordUsed)
	}
	for new, why := range s.Refused {
		refused(p.Password, new, why)
	}
	if err := d.Authenticate(within(t), u, p.Password); err != nil {
		t.Errorf("Authenticate with the old password after refusals = %v, want nil", err)
	}
	s.changed(t, d, u, p.Password)
}

// changed changes u's password and checks that it is.
func (s Suite) changed(t *testing.T, d directory.Directory, u *directory.User, old string) {
	t.Helper()
	if err := d.ChangePassword(within(t), u, old, s.NewPassword); err != nil {
		t.Fatalf("ChangePassword(%q) = %v, want nil", u.Name, err)
	}
	// The user may be an older one: a login goes on with it after a change.
	if err := d.Authenticate(within(t), u, s.NewPassword); err != nil {
		t.Errorf("Authenticate(%q) with the new password = %v, want nil", u.Name, err)
	}
	wantWrong(t, d, u, old, nil)
	if v := lookup(t, d, u.Name); v.State.Status != directory.StatusActive {
		t.Errorf("state of %q after the change: got %v (%s), want active", u.Name, v.State.Status, v.State.Reason)
	}
}

// changeBound changes the password of somebody who has to.
func (s Suite) changeBound(t *testing.T, d directory.Directory, p Person, why error) {
	u := lookup(t, d, p.Name)
	if err := d.Authenticate(within(t), u, p.Password); !errors.Is(err, why) || !directory.Proved(err) {
		t.Fatalf("Authenticate(%q) = %v, want %v, proved", p.Name, err, why)
	}
	err := d.ChangePassword(within(t), u, p.Password+"x", s.NewPassword)
	if !errors.Is(err, directory.ErrBadPassword) || directory.Proved(err) {
		t.Errorf("ChangePassword(%q) with a wrong one = %v, want ErrBadPassword", p.Name, err)
	}
	for new := range s.Refused {
		if err := d.ChangePassword(within(t), u, p.Password, new); !directory.Refused(err) {
			t.Errorf("ChangePassword(%q) to %q = %v, want a refusal", p.Name, new, err)
		}
	}
	s.changed(t, d, u, p.Password)
}

// changeForbidden proves that a refused change neither changes the password nor
// unlocks the account.
func (s Suite) changeForbidden(t *testing.T, d directory.Directory) {
	for name, p := range s.Forbidden {
		t.Run(name, func(t *testing.T) {
			s.may(t)
			u := lookup(t, d, p.Name)
			err := d.ChangePassword(within(t), u, p.Password, s.NewPassword)
			if !errors.Is(err, p.Why) || !directory.Refused(err) {
				t.Errorf("ChangePassword(%q) = %v, want %v", p.Name, err, p.Why)
			}
			if v := lookup(t, d, p.Name); v.State.Status != u.State.Status {
				t.Errorf("state of %q: got %v afterwards, want %v as before", p.Name, v.State.Status, u.State.Status)
			}
			if err := d.Authenticate(within(t), u, s.NewPassword); !directory.Refused(err) {
				t.Errorf("Authenticate(%q) with the refused password = %v, want a refusal", p.Name, err)
			}
		})
	}
}

// outage proves that an unreachable server is never taken for a "no".
func (s Suite) outage(t *testing.T, d directory.Directory) {
	if s.Outage == nil {
		t.Skip("no way to make this server unreachable")
	}
	p := s.Active[0]
	u := lookup(t, d, p.Name)
	end := s.Outage(t)
	if _, err := d.Lookup(within(t), p.Name); err == nil || directory.Refused(err) {
		t.Errorf("Lookup without a server = %v, want an error that is no refusal", err)
	}
	for _, password := range []string{p.Password, p.Password + "x"} {
		if err := d.Authenticate(within(t), u, password); err == nil || directory.Refused(err) {
			t.Errorf("Authenticate without a server = %v, want an error that is no refusal", err)
		}
	}
	end()
	for within(t).Err() == nil {
		if _, err := d.Lookup(within(t), p.Name); err == nil {
			break
		} else if directory.Refused(err) {
			t.Fatalf("Lookup while the server comes back = %v, want no refusal", err)
		}
	}
	if err := d.Authenticate(within(t), u, p.Password); err != nil {
		t.Errorf("Authenticate when the server is back = %v, want nil", err)
	}
}
