package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var scpChecks = []check{
	{name: "scp: a plain upload works", run: scpWorks},
	{name: "scp: get what is outside", run: scpGet},
	{name: "scp: put to names and places outside", run: scpPut},
	{name: "scp: malformed records", run: scpRecords},
	{name: "commands but ours are refused", run: commands},
	{name: "shell, environment and forwarding are refused", run: shellAndForwarding},
}

// run runs a command and returns its output. It ends the command after a
// while, because some commands wait for more input.
func (t *target) run(command, input string) (string, error) {
	client, err := t.dial()
	if err != nil {
		return "", err
	}
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		return "", err
	}
	var output bytes.Buffer
	s.Stdout, s.Stdin = &output, strings.NewReader(input)
	cut := time.AfterFunc(4*time.Second, func() { client.Close() })
	defer cut.Stop()
	_ = s.Run(command) // that it failed is what we hope for
	return output.String(), nil
}

// put is scp -t with records.
func (t *target) put(options, dir, records string) error {
	_, err := t.run("scp "+options+" -t "+dir, records)
	return err
}

func scpWorks(t *target) error {
	if err := t.put("", t.dir, "C0644 3 by-scp\nabc\x00"); err != nil {
		return err
	}
	text, err := os.ReadFile(t.disk + "/by-scp")
	if err == nil && string(text) != "abc" {
		err = fmt.Errorf("the file holds %q", text)
	}
	return err
}

func scpGet(t *target) error {
	for _, dir := range t.outside {
		for _, name := range []string{dir, below(dir), t.dir + "/" + below(dir), "'" + dir + "/../" + filepath.Base(dir) + "'", "../" + t.beside()} {
			for _, options := range []string{"-f", "-r -f", "-p -f", "-rpf"} {
				for _, command := range []string{"scp " + options + " -- " + name + "/secret", "scp " + options + " " + name} {
					said, err := t.run(command, strings.Repeat("\x00", 64))
					if err != nil {
						return err
					}
					if t.leaks([]byte(said)) {
						return fmt.Errorf("%s: the secret could be read", command)
					}
				}
			}
		}
	}
	return nil
}

func scpPut(t *target) error {
	const file = "C0644 3 new\nabc\x00"
	for _, dir := range t.outside {
		var errs []error
		for _, name := range []string{"../../.." + dir + "/new", below(dir) + "/new", dir + "/new", "..", ".", "", "a/b", "../x", "x\x00y"} {
			errs = append(errs,
				t.put("", t.dir, "C0644 3 "+name+"\nabc\x00"),
				t.put("-r", t.dir, "D0755 0 "+name+"\n"+file+"E\n"))
		}
		os.Symlink(dir, t.disk+"/link")
		errs = append(errs,
			t.put("", dir, file),
			t.put("", below(dir), file),
			t.put("", t.dir+"/link", file),
			t.put("-r", t.dir, "D0777 0 link\n"+file+"E\n"),
			t.put("-r", t.dir, strings.Repeat("D0755 0 ..\n", 3)+file+strings.Repeat("E\n", 3)),
			t.put("-r", t.dir, "D0755 0 a\n"+strings.Repeat("E\n", 4)+file))
		os.Remove(t.disk + "/link")
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(t.root, "x")); err == nil {
		os.Remove(filepath.Join(t.root, "x"))
		return errors.New("the name ../x leaves the target directory")
	}
	return nil
}

func scpRecords(t *target) error {
	for _, records := range []string{
		"C0644 99999999999999999999 x\n", "C0644 -1 x\n", "C9999 3 x\nabc\x00", "Cxxxx 3 x\n", "C0644\n", "\n",
		"\x01err\n", "\x02fatal\n", "T1 2 3\n", "T99999999999999999999 0 99999999999999999999 0\nC0644 1 t\nx\x00",
		"E\n", "Z\n", strings.Repeat("A", 200000), "C0644 9223372036854775807 big\nabc",
		"D0755 0 " + strings.Repeat("n", 70000) + "\n", strings.Repeat("D0755 0 d\n", 3000),
	} {
		if err := t.put("-r", t.dir, records); err != nil {
			return err
		}
	}
	return nil
}

func commands(t *target) error {
	for _, command := range []string{
		"id", "sh -c id", "/bin/sh", "cat /etc/passwd", "", "scp", "scp -f", "scp; id", "scp -f /etc/passwd; id",
		"scp -f $(id)", "scp -S /bin/sh -f x", "scp -oProxyCommand=id -f x", "rsync --server .", "sftp-server",
		"passwd root", "passwd; id", "passwd\nid",
	} {
		said, err := t.run(command, "")
		if err != nil {
			return err
		}
		if t.leaks([]byte(said)) || strings.Contains(said, "uid=") {
			return fmt.Errorf("%q says %.50q", command, said)
		}
	}
	return nil
}

func shellAndForwarding(t *target) error {
	client, err := t.dial()
	if err != nil {
		return err
	}
	defer client.Close()
	if c, err := client.Dial("tcp", t.addr); err == nil {
		c.Close()
		return errors.New("direct-tcpip works")
	}
	if l, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
		return errors.New("tcpip-forward works")
	}
	s, err := client.NewSession()
	if err != nil {
		return err
	}
	if s.Setenv("LD_PRELOAD", "/x") == nil {
		return errors.New("LD_PRELOAD can be set")
	}
	input, err := s.StdinPipe()
	if err != nil {
		return err
	}
	output, err := s.StdoutPipe()
	if err != nil {
		return err
	}
	if s.Shell() != nil {
		return nil
	}
	io.WriteString(input, "echo Q$((6*7))Q\n")
	cut := time.AfterFunc(2*time.Second, func() { client.Close() })
	defer cut.Stop()
	if said, _ := io.ReadAll(io.LimitReader(output, 4096)); bytes.Contains(said, []byte("Q42Q")) {
		return errors.New("there is a shell")
	}
	return nil
}
