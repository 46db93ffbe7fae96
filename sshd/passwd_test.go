package sshd

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/directory"
	"berth/sshd/event"
)

func TestPasswd(t *testing.T) {
	const good = "a longer one"
	tests := []struct {
		name, input, want string
		status            int
	}{
		{"changed", "secret-1\n" + good + "\n" + good + "\n", textUpdated + "\n", 0},
		{"no newline at the end", "secret-1\n" + good + "\n" + good, textUpdated + "\n", 0},
		{"line ends of Windows", "secret-1\r\n" + good + "\r\n" + good + "\r\n", textUpdated + "\n", 0},
		{"wrong current", "x\n" + good + "\n" + good + "\n", "The current password is wrong.\n" + textFailed + "\n", 1},
		{"mismatch", "secret-1\n" + good + "\nother\n", "The new passwords do not match.\n" + textFailed + "\n", 1},
		{"blank first", "secret-1\n " + good + "\n " + good + "\n", "space or a tab.\n" + textFailed + "\n", 1},
		{"tab last", "secret-1\n" + good + "\t\n" + good + "\t\n", "space or a tab.\n" + textFailed + "\n", 1},
		{"empty", "secret-1\n\n\n", "The new password is empty.\n" + textFailed + "\n", 1},
		{"refused", "secret-1\nx\nx\n", "The new password is too short. The directory asks for at least 8 characters.\n" + textFailed + "\n", 1},
		{"input over", "secret-1\n", "The dialogue was ended.\n" + textFailed + "\n", 1},
		{"line too long", strings.Repeat("x", 5000) + "\n", "The dialogue was ended.\n" + textFailed + "\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t)
			c := f.must(t)
			out, _, status := run1(t, c, "passwd", tt.input)
			if status != tt.status || !strings.HasSuffix(out, tt.want) {
				t.Errorf("status %d, output %q; want %d, %q at the end", status, out, tt.status, tt.want)
			}
			if !strings.HasPrefix(out, promptCurrent) {
				t.Errorf("output %q does not begin with the first prompt", out)
			}
			if err := c.Wait(); err == nil {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestReviewDuringPasswd: a person who changes the password gets the answer, even if the
// session is reviewed between the change and the end of the connection.
func TestReviewDuringPasswd(t *testing.T) {
	f := start(t)
	f.Gate.Directory = reviewing{f.people, func() { f.Reconsider(t.Context()) }}
	c := f.must(t, ssh.Password("secret-1"))
	out, stderr, status := run1(t, c, "passwd", "secret-1\na longer one\na longer one\n")
	if status != 0 || !strings.HasSuffix(out, textUpdated+"\n") || stderr != "" {
		t.Errorf("status %d, output %q, %q on standard error", status, out, stderr)
	}
	c.Wait()
	f.hangUp()
	if got := f.events.reasons(event.LoginRevoked); len(got) > 0 {
		t.Errorf("revoked: %q", got)
	}
	if got := f.events.reasons(event.ConnectionClosed); !slices.Equal(got, []string{"password_dialogue_over"}) {
		t.Errorf("closed for %q", got)
	}
}

// A reviewing has a review of all sessions after a new password.
type reviewing struct {
	*people
	review func()
}

func (r reviewing) ChangePassword(ctx context.Context, u *directory.User, old, new string) error {
	err := r.people.ChangePassword(ctx, u, old, new)
	r.people.mu.Lock()
	r.people.users[u.Name].State.PasswordChanged = time.Now()
	r.people.mu.Unlock()
	r.review()
	return err
}

func TestPasswdWithTerminal(t *testing.T) {
	f := start(t)
	c := f.must(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.Stdin, s.Stdout = strings.NewReader("secret-1\ra longer onX\x7fe\ra longer one\r"), &out
	if err := s.Run("passwd"); err != nil {
		t.Errorf("passwd = %v, %q", err, out.String())
	}
	if got := out.String(); strings.Contains(got, "secret-1") || strings.Contains(got, "longer") || !strings.HasSuffix(got, textUpdated+"\r\n") {
		t.Errorf("output %q", got)
	}
}

func TestCtrlCEndsPasswd(t *testing.T) {
	f := start(t)
	c := f.must(t)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("xterm", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	s.Stdin = strings.NewReader("secret-1\r\x03")
	if err := s.Run("passwd"); err == nil {
		t.Error("passwd succeeded")
	}
	if got := f.events.reasons(event.PasswordChangeFailed); !slices.Equal(got, []string{"no_answer"}) {
		t.Errorf("reasons = %q", got)
	}
}
