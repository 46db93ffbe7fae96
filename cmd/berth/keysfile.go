package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"berth/sshd/hostkey"
	"berth/sshd/privatefile"
)

const mostKey = 1 << 20 // bytes that are read of a file; hostkey.Parse accepts fewer

// readKey reads the key in file, "-" for standard input. ask may be nil.
func readKey(file string, ask hostkey.Ask) (hostkey.Key, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return hostkey.Key{}, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, mostKey))
	if err != nil {
		return hostkey.Key{}, err
	}
	k, err := hostkey.Parse(text, ask)
	if err != nil {
		return k, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// writeKey writes a key to a new file, or to out if no file is named.
func writeKey(file string, out io.Writer, text []byte, perm os.FileMode) error {
	if file == "" {
		_, err := out.Write(text)
		return err
	}
	if err := privatefile.Create(file, text, perm); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// passphraseFrom reads passphrases from a file; nil if none is named.
func passphraseFrom(file string) hostkey.Ask {
	if file == "" {
		return nil
	}
	return hostkey.PassphraseFile(file)
}

// passphraseOf reads the passphrase of key from secret, or asks the person at
// the terminal if no such file is named.
func passphraseOf(key, secret string) hostkey.Ask {
	if read := passphraseFrom(secret); read != nil {
		return read
	}
	return func() ([]byte, error) { return prompt("Passphrase of "+key+": ", "--passphrase-file") }
}

// newPassphrase asks twice for a passphrase. With an empty one the key is not
// encrypted.
func newPassphrase() ([]byte, error) {
	once, err := prompt("New passphrase (empty for none): ", "--passphrase-file")
	if err != nil {
		return nil, err
	}
	again, err := prompt("New passphrase again: ", "--passphrase-file")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(once, again) {
		return nil, errors.New("the passphrases are not the same")
	}
	return once, nil
}

// prompt asks for a secret on the terminal. It switches the echo off before it writes
// the question, so that an answer that comes at once cannot be seen.
func prompt(question, flag string) ([]byte, error) {
	secret, err := onTerminal(flag, func(t *term.Terminal) (string, error) { return t.ReadPassword(question) })
	return []byte(secret), err
}

// readLine asks for something that is no secret.
func readLine(question, flag string) (string, error) {
	return onTerminal(flag, func(t *term.Terminal) (string, error) {
		t.SetPrompt(question)
		return t.ReadLine()
	})
}

// onTerminal asks on the terminal, whatever standard input and output are. Without a
// terminal the error names the flag to use.
func onTerminal(flag string, ask func(*term.Terminal) (string, error)) (answer string, err error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("there is no terminal to ask on: use %s", flag)
	}
	defer tty.Close()
	before, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return "", err
	}
	answer, err = ask(term.NewTerminal(tty, ""))
	if errors.Is(err, io.EOF) { // Ctrl-C, Ctrl-D
		err = errors.New("nothing was typed")
	}
	return answer, errors.Join(err, term.Restore(int(tty.Fd()), before))
}
