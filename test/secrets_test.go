package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/crypto/ssh"

	"berth/test/leaks"
)

// watch checks all output of every server of these tests when it ends.
// TestMain fails the whole run if the output has a password, or an event that
// docs/schema does not know. The path shows which test it was.
type watch struct {
	passwords []string
	schema    *jsonschema.Schema // of events
	examples  examples

	mu      sync.Mutex
	servers int
	found   []string
}

var outputs watch

// collect gathers the passwords of the tests.
func (w *watch) collect() error {
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		return err
	}
	w.passwords, err = leaks.Passwords(append(tests, "testdata/script", "fixtures", "../cmd/berth/demo/people.ldif")...)
	if err == nil && len(w.passwords) < 20 {
		err = fmt.Errorf("only %d passwords found in the tests: %q", len(w.passwords), w.passwords)
	}
	if err == nil {
		w.schema, err = jsonschema.NewCompiler().Compile("../docs/schema/event.schema.json")
	}
	return err
}

// strange returns the first lines of the events file in dir that the schema does not
// allow. A kill may have left a part of a line, which is no JSON.
func (w *watch) strange(dir string) (found []string) {
	text, _ := os.ReadFile(filepath.Join(dir, "events.jsonl"))
	for line := range strings.Lines(string(text)) {
		event, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil || len(found) == 3 {
			continue
		}
		if err := w.schema.Validate(event); err != nil {
			found = append(found, fmt.Sprintf("%s: event %s: %v", dir, line, err))
		}
	}
	return found
}

func TestStrangeEvents(t *testing.T) {
	const good = `{"time":"2026-01-31T22:59:59.007Z","id":1532,"type":"removed","outcome":"success"}` + "\n"
	dir := t.TempDir()
	for text, want := range map[string]int{
		good: 0,
		good + strings.Replace(good, "removed", "renamed", 1): 1,
		strings.Repeat(`{"id":1}`+"\n", 9):                    3,
		good + `{"time":"2026`:                                0,
	} {
		if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := outputs.strange(dir); len(got) != want {
			t.Errorf("%s: %q, want %d", text, got, want)
		}
	}
}

// look looks at the outputs in dir.
func (w *watch) look(dir string) {
	found, looked, err := leaks.Find(dir, w.passwords)
	found = append(found, w.strange(dir)...)
	w.examples.gather(dir)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers++
	w.found = append(w.found, found...)
	switch {
	case err != nil:
		w.found = append(w.found, fmt.Sprintf("%s: %v", dir, err))
	case looked == 0:
		w.found = append(w.found, dir+": the server has said nothing, so nothing is proved")
	}
}

// report returns what was found, as an error.
func (w *watch) report() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) == 0 {
		return nil
	}
	return errors.New("in the outputs of servers:\n" + strings.Join(w.found, "\n"))
}

// saveMetrics writes what the second listener says to a file among the outputs.
func (s *server) saveMetrics() {
	if s.admin == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var all strings.Builder
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		body, _, err := httpGet(ctx, "http://"+s.admin+path)
		if err != nil {
			return // it has ended already
		}
		all.WriteString(body)
	}
	_ = os.WriteFile(filepath.Join(filepath.Dir(s.output), "metrics.log"), []byte(all.String()), 0o600)
}

// TestCrashDump ends the server with a signal that makes it print all its
// stacks, while one person logs in and another changes the password: none of
// it may be in the dump.
func TestCrashDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := startServer(berth, dir, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 2)
	dial := func(user string, auth ssh.AuthMethod) (*ssh.Client, error) {
		return ssh.Dial("tcp", s.addr, &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	}
	hold := make(chan struct{})
	defer close(hold)
	go dial("erin", ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		switch len(questions) {
		case 1:
			return []string{"erin-demo-1"}, nil
		case 2: // the server waits for a new one, with the old one in its hands
			asked <- struct{}{}
			<-hold
		}
		return nil, nil
	}))
	c, err := dial("bob", ssh.Password("bob-demo-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := session.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("passwd"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(in, "bob-demo-1\nBetter-9-Horse\n")
	go func() {
		var said strings.Builder
		buf := make([]byte, 100)
		for !strings.Contains(said.String(), "Confirm") {
			n, err := out.Read(buf)
			said.Write(buf[:n])
			if err != nil {
				return
			}
		}
		asked <- struct{}{}
	}()
	for range 2 {
		select {
		case <-asked:
		case <-time.After(time.Minute):
			t.Fatal("the dialogues did not come so far")
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-s.done
	dump, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dump), "changePassword") || !strings.Contains(string(dump), "servePasswd") {
		t.Errorf("the dump does not show what the server was doing:\n%s", dump)
	}
	// The watch has looked at it, with all the rest.
}
