package login

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"berth/directory"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/oidc"
	"berth/sshd/state"
)

// The matrix plays every chain of factors, every state of the account, every
// order in which a client may try, every outcome of the rules, and every factor
// right or wrong, through the callbacks of the SSH library and without a
// connection. What must hold is written as rules over what happened, and not as
// a second implementation.

// chains are what rules may ask for: every one or two methods in every order, without
// and with a code at the end, and some choices between several.
func chains() [][][]string {
	all := [][][]string{
		nil,
		{{"publickey", "password", "gssapi-with-mic"}},
		{{"gssapi-with-mic", "oidc", "password", "totp"}},
		{{"publickey"}, {"password", "totp"}},
		{{"publickey", "password"}, {"password", "publickey"}},
		{{"gssapi-with-mic", "totp"}, {"publickey", "oidc"}},
		{{"publickey", "gssapi-with-mic"}, {"publickey", "oidc"}, {"password"}},
		{{"publickey", "oidc"}, {"publickey", "password"}},
		{{"publickey", "oidc"}, {"publickey", "totp"}},
	}
	methods := []string{methodPublicKey, methodPassword, methodTicket, methodBrowser}
	for _, first := range methods {
		all = append(all, [][]string{{first}}, [][]string{{first, factorCode}})
		for _, second := range methods {
			if second != first {
				all = append(all, [][]string{{first, second}}, [][]string{{first, second, factorCode}})
			}
		}
	}
	return all
}

// orders are all sequences of up to three tries.
func orders() [][]try {
	var single []try
	for _, f := range []string{methodPublicKey, methodPassword, methodInteractive, methodTicket, methodBrowser, factorCode} {
		single = append(single, try{f, true}, try{f, false})
	}
	var all [][]try
	var grow func(prefix []try)
	grow = func(prefix []try) {
		if len(prefix) > 0 {
			all = append(all, slices.Clone(prefix))
		}
		if len(prefix) == 3 {
			return
		}
		for _, t := range single {
			grow(append(prefix, t))
		}
	}
	grow(nil)
	return all
}

// uses reports whether order has only right tries, of factors that chain asks for, and
// each once. Such orders are always played, because they are the ones that can succeed.
func uses(chain [][]string, order []try) bool {
	for i, t := range order {
		factor := t.factor
		if factor == methodInteractive {
			factor = methodPassword
		}
		if !t.right || slices.Contains(order[:i], t) || !slices.Contains(slices.Concat(chain...), factor) {
			return false
		}
	}
	return true
}

// An outcome is what the rules say.
type outcome struct {
	name     string
	denied   error
	services []string
}

// TestMatrix checks what must be true of a login, for all chains x states x
// orders x outcomes of the rules.
func TestMatrix(t *testing.T) {
	states := []directory.Status{
		directory.StatusActive, directory.StatusDisabled, directory.StatusLocked, directory.StatusExpired,
		directory.StatusOutsideHours, directory.StatusUnknown, directory.StatusPasswordExpired, directory.StatusMustChange,
	}
	outcomes := []outcome{
		{"allowed", nil, []string{"sftp", "passwd"}},
		{"without passwd", nil, []string{"sftp"}},
		{"no rule", &policy.Denied{Reason: policy.NoRule}, nil},
		{"deny rule", &policy.Denied{Reason: policy.DenyRule}, nil},
	}
	all, keytab := orders(), newKeytab(t)
	stride := []int{1: 1, 2: 11, 3: 127} // of the orders of a length, every how many are played
	if os.Getenv("BERTH_PEERS") != "" {
		stride = []int{1: 1, 2: 1, 3: 5}
	}
	var played, in atomic.Int32
	t.Cleanup(func() { t.Logf("%d logins, of which %d succeeded", played.Load(), in.Load()) })
	for c, chain := range chains() {
		t.Run(fmt.Sprint(chain), func(t *testing.T) {
			t.Parallel()
			signIn := slices.Contains(slices.Concat(chain...), methodBrowser)
			for s, status := range states {
				for o, out := range outcomes {
					for i, order := range all {
						n := i + c + s + o
						always := uses(chain, order)
						if !always && n%stride[len(order)] != 0 {
							continue
						}
						for k := range 4 {
							wantsNew, only := k&1 != 0, k&2 != 0
							if wantsNew && status != directory.StatusPasswordExpired && status != directory.StatusMustChange {
								continue // nobody is asked
							}
							if only != (n%2 == 0) && !(always && signIn) {
								continue // one kind of prompt is enough
							}
							w := newWorld(status)
							w.policy = &policy.Policy{Services: out.services, Require: chain, Rules: []string{"r"}}
							w.denied = out.denied
							w.other = &directory.User{Identity: directory.Identity{Source: "corp", ID: "8"}, Name: "bob"}
							w.keytab, w.browser, w.wrong = keytab, &browser{only: only}, n%3
							a := newAttempt(w)
							g, asked, text := play(w, a, order, wantsNew)
							played.Add(1)
							if g != nil {
								in.Add(1)
							}
							for _, wrong := range violations(w, a, g, asked, text, chain, status, order, wantsNew) {
								t.Fatalf("state %v, rules %s, client tries %v (new password: %t, browser only: %t, wrong is %d): %s", status, out.name, order, wantsNew, only, w.wrong, wrong)
							}
						}
					}
				}
			}
		})
	}
}

// provedBy reports whether the tries of a client have proved all factors of want, in this
// order.
func provedBy(order []try, want []string) bool {
	for _, t := range order {
		for _, f := range t.proves() {
			if len(want) > 0 && f == want[0] {
				want = want[1:]
			}
		}
	}
	return len(want) == 0
}

// follows reports whether order is exactly what want asks for, and nothing else. A code
// beside a password needs keyboard-interactive.
func follows(order []try, want []string) bool {
	for _, t := range order {
		code := len(want) > 1 && want[0] == methodPassword && want[1] == factorCode
		switch {
		case len(want) == 0 || !t.right:
			return false
		case t.factor == methodInteractive && code:
			want = want[2:]
		case t.factor == methodInteractive && want[0] == methodPassword, t.factor == want[0] && !code:
			want = want[1:]
		default:
			return false
		}
	}
	return len(want) == 0
}

// violations returns what must not be of one login.
func violations(w *world, a *Attempt, g *Grant, asked bool, text string, chain [][]string, status directory.Status, order []try, wantsNew bool) []string {
	var wrong []string
	must := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	ways := chain
	if len(ways) == 0 { // any one method will do
		ways = [][]string{{methodPublicKey}, {methodPassword}, {methodTicket}, {methodBrowser}}
	}
	denied := w.denied != nil
	restricts := status == directory.StatusPasswordExpired || status == directory.StatusMustChange
	provable := slices.ContainsFunc(ways, func(want []string) bool { return provedBy(order, want) })
	begun := slices.ContainsFunc(ways, func(want []string) bool { return provedBy(order, want[:1]) })
	count := func(types ...event.Type) (n int) {
		for _, e := range w.events {
			if slices.Contains(types, e.Type) {
				n++
			}
		}
		return n
	}
	passwd := slices.Contains(w.policy.Services, "passwd")
	mayChange := !denied && passwd && restricts && provable

	// Nothing with an effect happens before the decision.
	must(w.changes == 0 || mayChange, "the password was changed")
	must(!asked || mayChange, "a new password was asked for")
	if len(order) == 1 && !denied && !slices.ContainsFunc(ways, func(want []string) bool { return want[0] == methodPassword }) {
		must(w.binds == 0, "%d binds although the rules do not ask for a password first", w.binds)
	}
	// Who gets in has proved what the rules ask for, and may be here.
	if g != nil {
		factors := slices.Clone(g.proofs.factors)
		for i, f := range factors {
			if f == methodInteractive {
				factors[i] = methodPassword
			}
		}
		must(slices.ContainsFunc(ways, func(want []string) bool { return slices.Equal(factors, want) }), "in with %v", factors)
		must(provedBy(order, factors), "in with %v, and not all were proved", factors)
		must(!denied, "in against the rules")
		must(status == directory.StatusActive || restricts, "in with state %v", status)
		must((g.Restriction != nil) == (restricts && w.changes == 0), "restriction %v after %d changes", g.Restriction, w.changes)
		must(g.Restriction == nil || passwd, "restricted to a service that the rules do not allow")
		must(g.User.Identity == w.user.Identity, "in as %v", g.User.Identity)
		must(count(event.LoginAccepted) == 1, "%d events of the login", count(event.LoginAccepted))
		fields := w.events[slices.IndexFunc(w.events, func(e event.Event) bool { return e.Type == event.LoginAccepted })].Fields
		must((fields["principal"] == rightPrincipal) == slices.Contains(factors, methodTicket), "in with %v, and the event has the principal %q", factors, fields["principal"])
		must((fields["subject"] == rightSubject) == slices.Contains(factors, methodBrowser), "in with %v, and the event has the subject %q", factors, fields["subject"])
	} else {
		must(count(event.LoginAccepted) == 0, "a login that failed is accepted in the events")
		must(w.changes == 0, "the password was changed and the login failed")
		must(count(event.LoginRejected, event.LoginDenied, event.LoginPartial) > 0, "no event has the failure")
	}
	// Who does exactly what the rules ask for gets in. If keyboard-interactive is only for
	// the browser, it takes no password first. Two ways that begin alike are left out if
	// one has a password, because keyboard-interactive then asks for that alone.
	last := order[len(order)-1].factor
	straight := len(chain) < 2 || chain[0][0] != chain[1][0] || !slices.Contains(slices.Concat(chain...), methodPassword)
	straight = straight && slices.ContainsFunc(ways, func(want []string) bool { return follows(order, want) })
	straight = straight && !(w.browser.only && order[0].factor == methodInteractive)
	switch {
	case !straight || denied:
	case status == directory.StatusActive:
		must(g != nil, "not in")
	case restricts && passwd && (wantsNew || last != methodInteractive):
		must(g != nil, "not in, though only the password must be changed")
		must((w.changes == 1) == (last == methodInteractive), "the password was changed %d times", w.changes)
	}
	// A client that has proved nothing that the rules ask for now gets no
	// partial success.
	must(begun || count(event.LoginPartial) == 0, "partial success for nothing")
	// Reasons are for who has proved what is asked for before them. That nobody has signed
	// in with the browser is no secret.
	told := strings.ReplaceAll(text, Sentence(oidc.ErrNotSignedIn)+"\n", "")
	must(told == "" || begun || (denied && slices.ContainsFunc(order, func(t try) bool { return t.right })), "a stranger is told %q", told)
	if first := order[0]; len(order) == 1 && !first.right {
		must(told == "", "a wrong %s is told %q", first.factor, told)
		// A client tries any ticket that it has, without asking the person.
		must(a.penalized == (first.factor != methodTicket), "a wrong %s is penalized: %t", first.factor, a.penalized)
	}
	// A session is counted as long as there is a grant, and not otherwise.
	_, sessions, _ := a.gate.State.(*state.Memory).Counts()
	must((sessions == 1) == (g != nil), "%d sessions are counted", sessions)
	return wrong
}
