package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// audit FILE: runs the command of every question in docs/audit.md. Each line of FILE has
// words of a question, a colon, and what the command must print. The day, the address,
// the session and the key of the page become those of this run.
func cmdAudit(ts *testscript.TestScript, _ bool, args []string) {
	page, err := os.ReadFile("../docs/audit.md")
	ts.Check(err)
	expected := map[string]string{}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		question, want, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		expected[question] = want
	}
	login := loginOf(ts, "alice")
	ours := strings.NewReplacer(
		"--since 2026-11-24", "--since "+login.Time.Format(time.DateOnly), "--until 2026-11-24", "--until "+time.Now().UTC().Format(time.DateOnly), "192.0.2.0/24", "127.0.0.0/8",
		"3b1f09aa52c7d846", login.Session, "SHA256:9kbTPl1ZkkXOYJTAlVZgBqAHrqjQoHHK4nJyOEEyBP4", login.Fields["fingerprint"],
	)
	rows := regexp.MustCompile("(?m)^\\| ([^|]+\\?) \\| `berth ([^`]+)` \\|$").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 15 {
		ts.Fatalf("docs/audit.md has %d questions, want all", len(rows))
	}
	for _, row := range rows {
		want, answered := "", false
		for question, text := range expected {
			if strings.Contains(row[1], question) {
				want, answered = text, true
				delete(expected, question)
			}
		}
		if !answered {
			ts.Fatalf("no answer is expected to %q", row[1])
		}
		command := exec.Command("sh", "-c", berth+" "+ours.Replace(row[2])+" --config "+ts.Getenv("DEMO")+"/berth.yaml")
		var problems strings.Builder
		command.Stderr = &problems
		got, err := command.Output()
		if err != nil || !regexp.MustCompile(want).Match(got) {
			ts.Fatalf("%s\n%s: %v\n%s%s\nwant %s", row[1], row[2], err, got, &problems, want)
		}
	}
	for question := range expected {
		ts.Fatalf("docs/audit.md does not ask %q", question)
	}
}

// A loginEvent is what is asked of the event of a login.
type loginEvent struct {
	Time                time.Time
	Type, Session, User string
	Fields              map[string]string
}

// loginOf waits for the event of a user's login.
func loginOf(ts *testscript.TestScript, user string) (found loginEvent) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for line := range strings.Lines(ts.ReadFile(filepath.Join(ts.Getenv("DEMO"), "events.jsonl"))) {
			if !strings.HasSuffix(line, "\n") {
				break // it is being written
			}
			var e loginEvent
			ts.Check(json.Unmarshal([]byte(line), &e))
			if e.Type == "login_accepted" && e.User == user {
				return e
			}
		}
	}
	ts.Fatalf("%s has not logged in", user)
	return found
}
