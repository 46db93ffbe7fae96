package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"berth/test/peers"
)

// TestSignIn logs in with OpenSSH's client at a provider of another project. The person
// opens the link that the client shows, and allows or denies.
func TestSignIn(t *testing.T) {
	t.Parallel()
	need(t, "sftp")
	s, at := startWithZitadel(t)
	for _, tt := range []struct {
		name, login, action string
		out, event          string // a regular expression of the event
	}{
		{"allowed", "bob", "allowed", "Remote working directory: /", `"type":"login_accepted".*"user":"bob".*"method":"oidc"`},
		{"denied", "bob", "denied", "Permission denied", `"reason":"not_signed_in"`},
		{"another's name", "alice", "allowed", "Permission denied", `"reason":"sign_in_of_another"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := signInWith(t, s, tt.login, func(link string) error { return at.SignIn(t.Context(), link, "bob", tt.action) })
			if !strings.Contains(out, tt.out) {
				t.Errorf("the client says %q, want %q", out, tt.out)
			}
			recorded(t, filepath.Dir(s.output), tt.event)
		})
	}
}

// startWithZitadel starts the demonstration with a provider that knows alice and bob.
func startWithZitadel(t *testing.T) (*server, *peers.Zitadel) {
	t.Helper()
	at := peers.NewZitadel(t, "alice", "bob")
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := startDemo(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.done <- nil
	secret := filepath.Join(dir, "oidc.secret")
	if err := os.WriteFile(secret, []byte(at.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "berth.yaml"), "rules:\n", fmt.Sprintf(
		"oidc: {issuer: %q, client_id: %s, client_secret_file: %q, ca_file: %q, prompt: browser}\nrules:\n", at.Issuer, at.ClientID, secret, at.CAFile))
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s, at
}

// TestSignInDemo does what berth demo --oidc says.
func TestSignInDemo(t *testing.T) {
	t.Parallel()
	signInToDemo(t, func(dir, link string) error { return pressButton(t, filepath.Join(dir, "oidc-ca.pem"), link) })
}

// TestSignInDemoInBrowser does the same with chromium in place of the person.
func TestSignInDemoInBrowser(t *testing.T) {
	slow(t)
	t.Parallel()
	signInToDemo(t, func(dir, link string) error {
		ctx := startBrowser(t, dir, chromedp.Flag("ignore-certificate-errors", true)) // the authority is in a file only
		return chromedp.Do(ctx, chromedp.Navigate(link), chromedp.Click(`//button[.='Sign in as alice']`), chromedp.WaitVisible(`//*[contains(text(), 'Signed in as alice.')]`))
	})
}

func signInToDemo(t *testing.T, open func(dir, link string) error) {
	t.Helper()
	need(t, "sftp")
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := startServer(berth, dir, "demo", "--oidc", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	out := signInWith(t, s, "alice", func(link string) error { return open(dir, link) })
	if !strings.Contains(out, "Remote working directory: /") {
		t.Errorf("the client says %q", out)
	}
	recorded(t, dir, `"type":"login_accepted".*"user":"alice".*"method":"oidc"`)
}

// TestCertifyInBrowser gets a certificate with berth certify and a sign-in with the browser.
// The helper opens the link, and after that the stock client needs no question.
func TestCertifyInBrowser(t *testing.T) {
	t.Parallel()
	need(t, "ssh", "sftp")
	work := t.TempDir()
	dir, person, opened := filepath.Join(work, "demo"), filepath.Join(work, "person"), filepath.Join(work, "opened")
	s, err := startServer(berth, dir, "demo", "--oidc", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.done <- nil
	if out, err := exec.CommandContext(t.Context(), berth, "ca", "make", filepath.Join(dir, "user-ca")).CombinedOutput(); err != nil {
		t.Fatalf("berth ca make: %v: %s", err, out)
	}
	edit(t, filepath.Join(dir, "berth.yaml"), "rules:\n", fmt.Sprintf(`certificates: {ca_keys: [%[1]q], issue: {ca_key: %[2]q}}
rules:
  - name: sign in once a day
    when: {groups: [staff], method: [oidc]}
    services: [certify]
`, filepath.Join(dir, "user-ca.pub"), filepath.Join(dir, "user-ca")))
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)

	for _, dir := range []string{person, filepath.Join(work, "bin")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\nprintf %%s \"$1\" >%[1]s.new && mv %[1]s.new %[1]s\n", opened)
	if err := os.WriteFile(filepath.Join(work, "bin", "xdg-open"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	certify := exec.CommandContext(t.Context(), berth, "certify", "--dir", person, "alice@127.0.0.1", "--", "-F", "none", "-p", s.port(),
		"-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oPreferredAuthentications=keyboard-interactive", "-oNumberOfPasswordPrompts=1")
	certify.Env = append(os.Environ(), "PATH="+filepath.Join(work, "bin")+":"+os.Getenv("PATH"), "DISPLAY=:0", "SSH_AUTH_SOCK=",
		"SSH_ASKPASS=/bin/true", "SSH_ASKPASS_REQUIRE=force") // presses Enter
	certify.Stdout, certify.Stderr = &out, &out
	if err := certify.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- certify.Wait() }()
	var link []byte
	eventually(t, "berth certify opens the link", func() bool {
		select {
		case err := <-done:
			t.Fatalf("berth certify ended before: %v: %s", err, out.String())
		default:
		}
		link, err = os.ReadFile(opened)
		return err == nil
	})
	if err := pressButton(t, filepath.Join(dir, "oidc-ca.pem"), string(link)); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil || !strings.Contains(out.String(), "the certificate is valid until") {
		t.Fatalf("berth certify: %v: %s", err, out.String())
	}

	client := exec.CommandContext(t.Context(), "sftp", "-F", filepath.Join(person, "config"), "-b", "-", "-P", s.port(), "-oStrictHostKeyChecking=no",
		"-oUserKnownHostsFile=/dev/null", "-oPreferredAuthentications=publickey", "-oIdentitiesOnly=yes", "alice@127.0.0.1")
	client.Stdin = strings.NewReader("pwd\n")
	if out, err := client.CombinedOutput(); err != nil || !strings.Contains(string(out), "Remote working directory: /") {
		t.Errorf("with the certificate: %v: %s", err, out)
	}
	recorded(t, dir,
		`"type":"login_accepted".*"user":"alice".*"method":"oidc"`,
		`"type":"certificate_issued".*"user":"alice".*"outcome":"success"`,
		`"type":"login_accepted".*"user":"alice".*"method":"publickey".*"certificate":"alice"`)
}

// pressButton opens a page and sends its form, whose only field is hidden.
func pressButton(t *testing.T, caFile, link string) error {
	text, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	read := func(answer *http.Response, err error) (string, error) {
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		return string(page), err
	}
	page, err := read(browser.Get(link))
	if err != nil {
		return err
	}
	form := regexp.MustCompile(`<form method="post"><input type="hidden" name="(\w+)" value="([\w-]+)"><button>Sign in as alice</button>`).FindStringSubmatch(page)
	if form == nil {
		return fmt.Errorf("no button: %s", page)
	}
	if page, err = read(browser.PostForm(link, url.Values{form[1]: {form[2]}})); err == nil && !strings.Contains(page, "Signed in as alice.") {
		err = fmt.Errorf("no sign-in: %s", page)
	}
	return err
}

var linkLine = regexp.MustCompile(`(?m)^\s*(https://\S+code=\S+)\s*$`)

// signInWith runs sftp as login, passes the link that it shows to open, and returns
// all output in the end.
func signInWith(t *testing.T, s *server, login string, open func(link string) error) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sftp", "-F", "none", "-oBatchMode=no", "-b", "-", "-P", s.port(), "-oStrictHostKeyChecking=no",
		"-oUserKnownHostsFile=/dev/null", "-oPreferredAuthentications=keyboard-interactive", "-oNumberOfPasswordPrompts=1", login+"@127.0.0.1")
	cmd.Stdin = strings.NewReader("pwd\n")
	cmd.Env = append(os.Environ(), "SSH_ASKPASS=/bin/true", "SSH_ASKPASS_REQUIRE=force") // presses Enter
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait() // a refusal is an error, too
		write.Close()
	}()
	var said strings.Builder
	opened := false
	for lines := bufio.NewScanner(read); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if m := linkLine.FindStringSubmatch(lines.Text()); m != nil && !opened {
			opened = true
			if err := open(m[1]); err != nil {
				t.Error(err)
				cmd.Process.Kill()
			}
		}
	}
	if !opened {
		t.Error("the client showed no link")
	}
	return said.String()
}
