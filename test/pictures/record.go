package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A line is what somebody types when the terminal shows a prompt.
type line struct{ prompt, text string }

// scenes by the names of their pictures. Of all but the demonstration only the end
// is shown.
var scenes = map[string][]line{
	"demo": demonstration,
	"login-openssh": {
		{"$ ", "sftp -P 2022 bob@127.0.0.1"},
		{"Password: ", "bob-demo-1"},
		{"sftp> ", "ls"},
		{"sftp> ", "put report.pdf"},
		{"sftp> ", ""},
	},
	"login-putty": {
		{"$ ", "psftp -P 2022 bob@127.0.0.1"},
		{"i for more info) ", "y"},
		{"Password: ", "bob-demo-1"},
		{"psftp> ", ""},
	},
	"expired-openssh": {
		{"$ ", "sftp -P 2022 erin@127.0.0.1"},
		{"Password: ", "erin-demo-1"},
		{"New password: ", "a better secret 7"},
		{"Confirm new password: ", "a better secret 7"},
		{"sftp> ", ""},
	},
	"expired-putty": {
		{"$ ", "psftp -P 2022 erin@127.0.0.1"},
		{"i for more info) ", "y"},
		{"Password: ", "erin-demo-1"},
		{"New password: ", "a better secret 7"},
		{"Confirm new password: ", "a better secret 7"},
		{"psftp> ", ""},
	},
	"passwd": {
		{"$ ", "ssh -t -p 2022 bob@127.0.0.1 passwd"},
		{"Password: ", "bob-demo-1"},
		{"Current password: ", "bob-demo-1"},
		{"New password: ", "a better secret 7"},
		{"Confirm new password: ", "a better secret 7"},
		{"$ ", ""},
	},
	"refused": {
		{"$ ", "sftp -P 2022 bob@127.0.0.1"},
		{"Password: ", "not my password"},
		{"$ ", "sftp -P 2022 mallory@127.0.0.1"},
		{"Password: ", "mallory-demo-1"},
		{"$ ", "ssh -p 2022 -i berth-demo/keys/alice alice@127.0.0.1"},
		{"$ ", ""},
	},
}

var demonstration = []line{
	{"$ ", "sftp -P 2022 -i berth-demo/keys/alice alice@127.0.0.1"},
	{"sftp> ", "ls"},
	{"sftp> ", "put report.pdf /finance"},
	{"sftp> ", "put report.pdf /shared"},
	{"sftp> ", "ls -l /finance"},
	{"sftp> ", "bye"},
	{"$ ", "clear; ssh -t -p 2022 bob@127.0.0.1 passwd"},
	{"Password: ", "bob-demo-1"},
	{"Current password: ", "bob-demo-1"},
	{"New password: ", "a better secret 7"},
	{"Confirm new password: ", "a better secret 7"},
	{"$ ", "clear; ssh -p 2022 -i berth-demo/keys/alice alice@127.0.0.1 whoami | sed -n '/^rules/,/^values/p'"},
	{"$ ", "clear; tail -n 3 berth-demo/events.jsonl"},
	{"$ ", ""},
}

// How fast somebody types, and how long a pause is at most and after an answer.
const (
	keystroke    = 55 * time.Millisecond
	longestPause = 700 * time.Millisecond
	reading      = 1600 * time.Millisecond
	lastReading  = 5 * time.Second
)

// record runs the demonstration in a folder of its own, types a scene into a
// shell on a terminal, and writes what the terminal shows to NAME.svg in dir. The
// program must have been built; port 2022 must be free.
func record(dir, name string) error {
	tmp, err := os.MkdirTemp("", "berth-recording-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	program, err := filepath.Abs("berth")
	if err != nil {
		return err
	}
	// Clients that know the host key, and leave the files of the user alone.
	client := "Host *\n StrictHostKeyChecking yes\n UserKnownHostsFile " + tmp + "/known_hosts\n IdentitiesOnly yes\n NumberOfPasswordPrompts 1\n PreferredAuthentications publickey,keyboard-interactive\n"
	files := map[string]string{"config": client, "report.pdf": strings.Repeat("%PDF", 5e5)}
	for _, name := range []string{"ssh", "sftp", "psftp"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return err
		}
		config := "-F " + tmp + "/config"
		if name == "psftp" { // its configuration is below HOME
			config = ""
		}
		files["bin/"+name] = fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", path, config)
	}
	if err := os.Mkdir(filepath.Join(tmp, "bin"), 0o700); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(tmp, name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	demo := exec.Command(program, "demo", "--admin", "127.0.0.1:0")
	demo.Dir = tmp
	out, err := demo.StdoutPipe()
	if err != nil {
		return err
	}
	if err := demo.Start(); err != nil {
		return err
	}
	defer demo.Wait()
	defer demo.Process.Signal(syscall.SIGTERM)
	if n, err := out.Read(make([]byte, 1<<10)); n == 0 {
		return fmt.Errorf("berth demo did not start: %w", err)
	}
	hostKey, err := os.ReadFile(filepath.Join(tmp, "berth-demo/ssh_host_ed25519_key.pub"))
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, "known_hosts"), append([]byte("[127.0.0.1]:2022 "), hostKey...), 0o600)
	}
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // what it says later must not stop it
	frames, end, err := play(tmp, scenes[name])
	if err != nil {
		return err
	}
	if name != "demo" {
		frames = frames[len(frames)-1:]
	}
	return os.WriteFile(filepath.Join(dir, name+".svg"), []byte(film("berth demo, recorded: "+name, frames, end)), 0o644)
}

// play types a scene into a shell and returns what was to be seen.
func play(dir string, scene []line) (frames []frame, end time.Duration, err error) {
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	defer screen.Close()
	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: columns})); err != nil {
		return nil, 0, err
	}
	keyboard, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, err
	}
	shell := exec.Command("bash", "--norc", "--noprofile", "--noediting")
	shell.Dir = dir
	shell.Env = []string{"PATH=" + dir + "/bin:" + os.Getenv("PATH"), "PS1=$ ", "TERM=dumb", "HOME=" + dir, "PUTTYDIR=" + dir, "LANG=C.UTF-8"}
	shell.Stdin, shell.Stdout, shell.Stderr = keyboard, keyboard, keyboard
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		return nil, 0, err
	}
	keyboard.Close()
	defer shell.Wait()
	defer shell.Process.Kill()

	chunks := make(chan string)
	go func() {
		defer close(chunks)
		for buffer := make([]byte, 1<<14); ; {
			n, err := screen.Read(buffer)
			if err != nil {
				return
			}
			chunks <- string(buffer[:n])
		}
	}()
	var t terminal
	show := func() { frames = append(frames, frame{end, t.screen()}) }
	seen := "" // since the last line was typed
	for i, s := range scene {
		started := time.Now()
		for !strings.HasSuffix(seen, s.prompt) {
			select {
			case chunk, ok := <-chunks:
				if !ok {
					return nil, 0, errors.New("the shell ended")
				}
				seen += chunk
				t.write(chunk)
				end += min(time.Since(started), longestPause)
				started = time.Now()
				show()
			case <-time.After(20 * time.Second):
				return nil, 0, fmt.Errorf("no prompt %q after: %q", s.prompt, seen)
			}
		}
		if i > 0 {
			end += reading
		}
		text, cleared := strings.CutPrefix(s.text, "clear; ")
		if cleared { // a new page for the next command
			t = terminal{}
			t.write(s.prompt)
			show()
		}
		if text == "" {
			break
		}
		seen = ""
		// The terminal echoes what is typed; a line is sent at once.
		if _, err := screen.WriteString(text + "\n"); err != nil {
			return nil, 0, err
		}
		if strings.Contains(strings.ToLower(s.prompt), "password") {
			end += time.Duration(len(text)) * keystroke // which nobody sees
			continue
		}
		for echo := ""; len(echo) < len(text); {
			echo += <-chunks
			if rest := strings.TrimPrefix(echo, text); rest != echo {
				for i := range text {
					t.write(text[i : i+1])
					end += keystroke
					if i%3 == 2 || i == len(text)-1 {
						show()
					}
				}
				seen = rest
				t.write(rest)
				show()
			} else if len(echo) >= len(text) {
				return nil, 0, fmt.Errorf("typed %q, the terminal shows %q", text, echo)
			}
		}
	}
	return frames, end + lastReading, nil
}
