package sshd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
)

// resolve asks the rules about u, who logs in by method.
func (l *login) resolve(u *directory.User, method string) (*policy.Policy, error) {
	return l.srv.Policy.Resolve(policy.Request{User: u, Remote: l.remote.Addr(), Method: method, Time: time.Now()})
}

// demand returns all that was proved when it makes up one of the alternatives,
// and else tells the client which methods go on.
func (l *login) demand(alternatives [][]string, factors []string) (proved []string, err error) {
	proved = slices.Concat(l.proved, factors)
	next, done := missing(alternatives, proved)
	if done {
		return proved, nil
	}
	if len(next) == 0 {
		return nil, fmt.Errorf("%w: the rule requires %v, not %s", errMethod, alternatives, strings.Join(proved, ", "))
	}
	l.proved = proved
	l.emit(event.Event{Type: event.LoginPartial, Method: factors[0], Detail: "next: " + strings.Join(next, " or ")})
	return nil, &ssh.PartialSuccessError{Next: l.callbacks(next...)}
}

// missing returns what each of the alternatives wants next of somebody who has
// proved some factors; done if one of them wants nothing more. With nothing
// demanded any one method will do.
func missing(alternatives [][]string, proved []string) (next []string, done bool) {
	for _, want := range alternatives {
		if len(proved) > len(want) || !slices.EqualFunc(proved, want[:len(proved)], satisfies) {
			continue
		}
		if len(proved) == len(want) {
			return nil, true
		}
		next = append(next, want[len(proved)])
	}
	return next, len(alternatives) == 0
}

// errMethod refuses a method that no rule asks for.
var errMethod = errors.New("method not accepted")

// satisfies reports whether a proved method is what a rule wants: a password is
// a password whether it was asked for by prompt or sent outright.
func satisfies(proved, wanted string) bool {
	return proved == wanted || (proved == methodInteractive && wanted == methodPassword)
}
