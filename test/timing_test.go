package test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

const (
	// seen and suspected are how many standard deviations apart (Mann-Whitney)
	// two kinds of refusal must be to be told apart: without the delay, so that
	// the test can see at all, and with it. By chance alone the second comes once
	// in a hundred thousand.
	seen, suspected = 6.0, 4.5

	leastTries, mostTries = 40, 400 // of each kind
)

// kinds are refusals that nobody may be able to distinguish. The i-th is of a
// user of its own, so that nobody is locked or shielded on the way.
var kinds = map[string]func(i int) (user, password string){
	"unknown user":   func(i int) (string, string) { return fmt.Sprint("zoe-", i), "wrong" },
	"wrong password": func(i int) (string, string) { return fmt.Sprint("open-", i), "wrong" },
	"locked account": func(i int) (string, string) { return fmt.Sprint("locked-", i), "right-Passw0rd" },
}

// TestRefusalsTakeTheSameTime measures whether the time of a refusal shows who
// exists. It compares the kinds with each other and not with a clock, and first
// of all a server that does not delay refusals, where they must differ: how much
// they do on this machine, now, is the measure for the other.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	p, err := peers.StartOpenLDAP(t.TempDir(), timedPeople())
	t.Cleanup(p.Kill)
	if err != nil {
		t.Fatal(err)
	}
	bare := refusals{}
	addr := serveTimed(t, p, "0s")
	for len(bare["unknown user"]) < leastTries || (bare.z("unknown user", "wrong password") < seen && len(bare["unknown user"]) < mostTries) {
		bare.measure(t, addr, leastTries/4)
	}
	difference := bare.difference("unknown user", "wrong password")
	if z := bare.z("unknown user", "wrong password"); z < seen {
		t.Fatalf("without a delay a wrong password takes %v more than an unknown user, %.1f deviations: too little to see anything by", difference, z)
	}
	even := refusals{}
	even.measure(t, serveTimed(t, p, "150ms"), len(bare["unknown user"]))
	for _, pair := range [][2]string{{"unknown user", "wrong password"}, {"unknown user", "locked account"}, {"wrong password", "locked account"}} {
		z, d := even.z(pair[0], pair[1]), even.difference(pair[0], pair[1])
		t.Logf("%s, %s: %v apart, %.1f deviations; without the delay %v, %.1f", pair[0], pair[1], d, z, bare.difference(pair[0], pair[1]), bare.z(pair[0], pair[1]))
		// What is much less than without the delay is the noise of a machine.
		if z > suspected && d > difference/5 {
			t.Errorf("%s and %s can be told apart: %v, %.1f deviations", pair[0], pair[1], d, z)
		}
	}
}

// timedPeople is LDIF of as many people as may be tried.
func timedPeople() string {
	const base = "ou=timed,dc=example,dc=test"
	entries := []string{"dn: " + base + "\nobjectClass: organizationalUnit\nou: timed"}
	for _, state := range []string{"open", "locked"} {
		for i := range mostTries {
			e := fmt.Sprintf("dn: uid=%[1]s-%[2]d,%[3]s\nobjectClass: inetOrgPerson\nuid: %[1]s-%[2]d\ncn: x\nsn: x\nuserPassword: right-Passw0rd", state, i, base)
			if state == "locked" {
				e += "\npwdAccountLockedTime: 000001010000Z"
			}
			entries = append(entries, e)
		}
	}
	return strings.Join(entries, "\n\n")
}

// serveTimed starts a server that makes refusals take so long.
func serveTimed(t *testing.T, p *peers.Peer, delay string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "berth.yaml")
	text := fmt.Sprintf(`listen: ["127.0.0.1:0"]
host_keys: [%[1]s/ssh_host_ed25519_key]
directories:
  - {name: timed, kind: openldap, urls: [%[2]s], ca_file: %[3]s, base: "%[4]s", bind_dn: "%[5]s", bind_password: "%[6]s"}
rules: [{name: all, home: {host: "%[1]s/home/%%u", create: true}}]
ssh: {refusal_delay: %[7]s}
events: {file: "%[1]s/events.jsonl"}
admin: {listen: "127.0.0.1:0"}
`, dir, p.LDAPS, p.CAFile, p.Base, p.BindDN, p.BindPassword, delay)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startServer(berth, dir, "serve", "--config", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s.addr
}

// refusals are how long each kind took.
type refusals map[string][]time.Duration

// measure makes n tries more of each kind, one after another in any order: what
// else the machine does then meets all of them.
func (r refusals) measure(t *testing.T, addr string, n int) {
	t.Helper()
	names := slices.Sorted(maps.Keys(kinds))
	from := len(r[names[0]])
	for i := from; i < from+n; i++ {
		rand.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
		for _, name := range names {
			user, password := kinds[name](i)
			r[name] = append(r[name], refusal(t, addr, user, password))
		}
	}
}

// refusal returns how long the answer to a password takes.
func refusal(t *testing.T, addr, user, password string) time.Duration {
	t.Helper()
	var sent time.Time
	var took time.Duration
	enough := errors.New("enough")
	_, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: user, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
		Auth: []ssh.AuthMethod{ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
			if !sent.IsZero() {
				took = time.Since(sent)
				return "", enough
			}
			sent = time.Now()
			return password, nil
		}), 2)},
	})
	if err == nil || took == 0 {
		t.Fatalf("%s: %v, and no refusal", user, err)
	}
	return took
}

// difference is how far apart the medians of two kinds are.
func (r refusals) difference(a, b string) time.Duration {
	median := func(all []time.Duration) time.Duration { return slices.Sorted(slices.Values(all))[len(all)/2] }
	return (median(r[a]) - median(r[b])).Abs()
}

// z is how many standard deviations the ranks of two kinds are from those of one
// kind: the test of Mann and Whitney, in its normal approximation, which is good
// from twenty samples on.
func (r refusals) z(a, b string) float64 {
	type sample struct {
		took time.Duration
		of   string
	}
	var all []sample
	for _, of := range []string{a, b} {
		for _, took := range r[of] {
			all = append(all, sample{took, of})
		}
	}
	slices.SortFunc(all, func(x, y sample) int { return cmp.Compare(x.took, y.took) }) // of nanoseconds: no ties
	n, m, ranks := float64(len(r[a])), float64(len(r[b])), 0.0
	for rank, s := range all {
		if s.of == a {
			ranks += float64(rank + 1)
		}
	}
	u := ranks - n*(n+1)/2
	return math.Abs(u-n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}
