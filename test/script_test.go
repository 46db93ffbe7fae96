// Package test looks at Berth from outside: the built binary, real clients,
// real directory servers. Each file in testdata/script is a scenario; it runs
// against the embedded directory and again against OpenLDAP, with nothing
// changed but the configuration.
package test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/test/peers"
)

// berth is the binary under test, built by TestMain with the race detector if
// the tests have it; plain is always without, for what is about size.
var berth, plain string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "berth-test-")
	if err != nil {
		panic(err)
	}
	plain = filepath.Join(dir, "plain", "berth")
	berth = plain
	builds := [][]string{{"OUT=" + plain}}
	if raced() {
		berth = filepath.Join(dir, "berth")
		builds = append(builds, []string{"OUT=" + berth, "BUILDFLAGS=-race"})
	}
	for _, args := range builds {
		cmd := exec.Command("make", append(args, "-s", "-C", "..", "build")...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build the binary under test:", err)
			os.Exit(1)
		}
	}
	if err := outputs.collect(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := errors.Join(outputs.report(), outputs.examples.write()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// raced reports whether this program has the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// need fails the test when a program it cannot do without is missing: a
// scenario that does not run proves nothing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is not installed: run test/packages.sh base", p)
		}
	}
}

func TestScriptsEmbedded(t *testing.T) {
	t.Parallel()
	need(t, "sftp", "scp", "ssh", "sshpass", "ssh-keygen", "expect", "psftp", "rclone")
	testscript.Run(t, testscript.Params{
		Dir:       "testdata/script",
		Setup:     func(env *testscript.Env) error { return setup(env, startDemo) },
		Cmds:      commands,
		Condition: func(cond string) (bool, error) { return cond == "embedded" || has(cond), nil },
	})
}

// has reports whether there is what a condition of a scenario needs. Where all
// peers are wanted it must be there: then the scenario fails without it.
func has(condition string) bool {
	if condition != "fido" {
		return false
	}
	_, err := os.Stat("/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so")
	return err == nil || strings.Contains(os.Getenv("BERTH_PEERS"), "suites")
}

// A starter starts a server for the demonstration's people and rules, in the
// folder demo of the scenario, and returns the address it listens on.
type starter func(env *testscript.Env, dir string) (*server, error)

// setup starts a server and writes an ssh_config with a host "berth" for it.
func setup(env *testscript.Env, start starter) error {
	dir := filepath.Join(env.WorkDir, "demo")
	s, err := start(env, dir)
	if err != nil {
		return err
	}
	env.Defer(s.stop)
	env.Values["server"] = s
	env.Setenv("DEMO", dir)
	env.Setenv("PORT", s.port())
	env.Setenv("PATH", filepath.Dir(berth)+":"+os.Getenv("PATH"))
	env.Setenv("PLAIN", filepath.Dir(plain))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("ADMIN", s.admin)
	cfg := fmt.Sprintf(`Host berth
	HostName 127.0.0.1
	Port %s
	StrictHostKeyChecking no
	UserKnownHostsFile %[2]s/known_hosts
	GlobalKnownHostsFile /dev/null
	IdentitiesOnly yes
	IdentityFile none
	NumberOfPasswordPrompts 1
	LogLevel ERROR
	ControlPath none
`, s.port(), env.WorkDir)
	return os.WriteFile(filepath.Join(env.WorkDir, "ssh_config"), []byte(cfg), 0o600)
}

// A server is a running berth.
type server struct {
	cmd     *exec.Cmd
	addr    string
	admin   string
	console string // of a demonstration
	output  string // file
	done    chan error
	ended   *sync.Once

	addKeys func(s *server, user string, keys []string) error // to a directory entry
}

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// stop ends the server as systemd would, and waits for it. It may be called again.
func (s *server) stop() {
	s.ended.Do(func() {
		s.saveMetrics()
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(20 * time.Second):
			s.cmd.Process.Kill()
			<-s.done
		}
	})
}

var (
	listening = regexp.MustCompile(`listening.*?(127\.0\.0\.1)(?: port |:)(\d+)`)
	consoleAt = regexp.MustCompile(`^The web page for IT, for ida: http://(127\.0\.0\.1:\d+)$`)
	adminAt   = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)/`)
)

// startServer runs berth with args and waits until it says where it listens.
func startServer(binary, dir string, args ...string) (*server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &server{output: filepath.Join(dir, "output.log"), done: make(chan error, 1), ended: new(sync.Once)}
	log, err := os.OpenFile(s.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if len(args) > 0 && args[0] == "demo" && !slices.Contains(args, "--console") {
		args = append(args, "--console", "127.0.0.1:0") // several run side by side
	}
	s.cmd = exec.Command(binary, args...)
	s.cmd.Dir = filepath.Dir(dir)
	s.cmd.Stderr = log
	s.cmd.Env = append(os.Environ(), "BERTH_LOG_LEVEL=trace", "GOTRACEBACK=all") // as talkative as it can be
	said, err := os.OpenFile(filepath.Join(dir, "stdout.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		text := bufio.NewScanner(out)
		for text.Scan() {
			if s.admin != "" { // the text before this is the welcome of the demonstration, which has passwords
				fmt.Fprintln(said, text.Text())
			}
			if m := listening.FindStringSubmatch(text.Text()); m != nil && s.addr == "" {
				s.addr = m[1] + ":" + m[2]
			}
			if m := consoleAt.FindStringSubmatch(text.Text()); m != nil {
				s.console = m[1]
			}
			if m := adminAt.FindStringSubmatch(text.Text()); m != nil && s.admin == "" {
				s.admin = m[1]
				close(ready)
			}
		}
		err := s.cmd.Wait()
		said.Close()
		outputs.look(dir)
		s.done <- err
	}()
	select {
	case <-ready:
		return s, nil
	case err := <-s.done:
		text, _ := os.ReadFile(s.output)
		return nil, fmt.Errorf("the server ended: %v\n%s", err, text)
	case <-time.After(time.Minute):
		s.cmd.Process.Kill()
		return nil, fmt.Errorf("the server did not say where it listens")
	}
}

func startDemo(_ *testscript.Env, dir string) (*server, error) {
	listen, admin, err := addresses()
	if err != nil {
		return nil, err
	}
	s, err := startServer(berth, dir, "demo", "--listen", listen, "--admin", admin, "--dir", dir)
	if err == nil {
		s.addKeys = addKeysToLDIF
	}
	return s, err
}

// addresses returns those of a server that is restarted. If the system chose the ports, a
// client could get one meanwhile.
func addresses() (listen, admin string, err error) {
	port, err := peers.FreePort("127.0.0.1")
	if err != nil {
		return "", "", err
	}
	operators, err := peers.FreePort("127.0.0.1")
	return "127.0.0.1:" + port, "127.0.0.1:" + operators, err
}

// addKeysToLDIF edits the people of the embedded directory, as its
// administrator does: with the server stopped.
func addKeysToLDIF(s *server, user string, keys []string) error {
	s.stop()
	s.done <- nil
	file := filepath.Join(filepath.Dir(s.output), "people.ldif")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	entry := "\nuid: " + user + "\n"
	if !strings.Contains(string(text), entry) {
		return fmt.Errorf("%s: no %q", file, entry)
	}
	var more strings.Builder
	for _, k := range keys {
		more.WriteString("sshPublicKey: " + k + "\n")
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), entry, entry+more.String(), 1)), 0o600); err != nil {
		return err
	}
	return s.restart()
}

// restart starts the server again on the same ports.
func (s *server) restart() error {
	again, err := startServer(s.cmd.Path, filepath.Dir(s.output), s.cmd.Args[1:]...)
	if err != nil {
		return err
	}
	again.addKeys = s.addKeys
	*s = *again
	return nil
}

// commands are what scenarios have beside testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"events":  cmdEvents,
	"random":  cmdRandom,
	"tree":    cmdTree,
	"signal":  cmdSignal,
	"restart": cmdRestart,
	"addkeys": cmdAddKeys,
	"get":     cmdGet,
	"same":    cmdSame,
	"code":    cmdCode,
	"audit":   cmdAudit,
}

// events PATTERN [COUNT]: some line of the event file (or exactly COUNT) matches.
// Events are written behind the operation, so it waits for them a while.
func cmdEvents(ts *testscript.TestScript, neg bool, args []string) {
	re := regexp.MustCompile(args[0])
	want := -1
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		want = n
	}
	var text string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text = ts.ReadFile(filepath.Join(ts.Getenv("DEMO"), "events.jsonl"))
		n := 0
		for line := range strings.Lines(text) {
			if re.MatchString(line) {
				n++
			}
		}
		if neg && n > 0 {
			ts.Fatalf("%d events match %s:\n%s", n, re, text)
		}
		if neg || n == want || want < 0 && n > 0 {
			return
		}
	}
	ts.Fatalf("events that match %s: not %d in\n%s", re, want, text)
}

// random FILE BYTES: makes a file of random bytes.
func cmdRandom(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.CopyN(f, rand.Reader, n)
	ts.Check(err)
	ts.Check(f.Close())
}

// tree DIR FILES: makes a tree of that many small files, 20 a directory.
func cmdTree(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for i := range n {
		dir := filepath.Join(ts.MkAbs(args[0]), fmt.Sprintf("d%02d", i/20))
		ts.Check(os.MkdirAll(dir, 0o755))
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%03d", i)), fmt.Appendf(nil, "file %d\n", i), 0o644))
	}
}

// signal NAME: sends TERM, HUP or KILL to the server; TERM and KILL wait for
// its end.
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("server").(*server)
	switch args[0] {
	case "HUP":
		ts.Check(s.cmd.Process.Signal(syscall.SIGHUP))
	case "TERM":
		s.stop()
		s.done <- nil
	case "KILL":
		s.cmd.Process.Kill()
		s.done <- <-s.done
	}
}

// restart: starts the server that a signal ended again, on the same port.
func cmdRestart(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.Value("server").(*server).restart())
}

// addkeys USER FILE ...: puts public keys into the directory entry of a user.
func cmdAddKeys(ts *testscript.TestScript, _ bool, args []string) {
	var keys []string
	for _, file := range args[1:] {
		keys = append(keys, strings.TrimSpace(ts.ReadFile(file)))
	}
	s := ts.Value("server").(*server)
	ts.Check(s.addKeys(s, args[0], keys))
}

// get URL: prints what the server's second listener says, to stdout.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	body, status, err := httpGet(ctx, "http://"+ts.Getenv("ADMIN")+args[0])
	ts.Check(err)
	if (status == 200) == neg {
		ts.Fatalf("%s: status %d: %s", args[0], status, body)
	}
	for _, want := range args[1:] {
		if !regexp.MustCompile(want).MatchString(body) {
			ts.Fatalf("%s: %q does not match in\n%s", args[0], want, body)
		}
	}
}

// same A B: two files or trees hold the same, names and contents.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	out, err := exec.Command("diff", "-r", ts.MkAbs(args[0]), ts.MkAbs(args[1])).CombinedOutput()
	if (err == nil) == neg {
		ts.Fatalf("diff -r %s %s: %v\n%s", args[0], args[1], err, out)
	}
}
