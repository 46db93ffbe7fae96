package scp

import (
	"errors"
	"fmt"
	"path"
)

// Sentences for people whose client asks for something that this server does not have.
const (
	// NoShell is for a client that asks for a shell, as WinSCP does in SCP mode.
	NoShell = "There is no shell here. In WinSCP choose the file protocol SFTP; with other programs use sftp or scp."
	// NoRsync is for rsync.
	NoRsync = "rsync is not available here. Use sftp or scp, or a program that synchronises over SFTP, such as rclone, lftp or WinSCP."
)

// Longest command line, in bytes, and most words on it.
const (
	maxCommand = 64 << 10
	maxWords   = 4096
)

// Parse reads the command line of an SSH exec request. It is split into words as a
// POSIX shell does, with quotes and backslashes, but nothing is executed or
// substituted: $ and backticks have no special meaning, and an unquoted shell operator
// is an error. Errors are sentences for the client.
func Parse(command string) (Command, error) {
	words, err := split(command)
	first := ""
	if len(words) > 0 {
		first = path.Base(unescape(words[0]))
	}
	switch {
	case first == "rsync":
		return Command{}, fatal{text: NoRsync}
	case first != "scp":
		return Command{}, errors.New("not an scp command")
	case err != nil:
		return Command{}, fmt.Errorf("scp: %w", err)
	}
	c, err := options(words[1:])
	if err != nil {
		return Command{}, fmt.Errorf("scp: %w", err)
	}
	return c, nil
}

// flags are the options without a value. Some clients also send options that are
// meant for their own side; these have no effect here.
var flags = map[byte]func(*Command){
	'f': func(c *Command) { c.Source = true },
	't': func(c *Command) { c.Sink = true },
	'r': func(c *Command) { c.Recursive = true },
	'p': func(c *Command) { c.Preserve = true },
	'd': func(c *Command) { c.TargetDirectory = true },
	'v': func(c *Command) { c.Verbose = true },
	'1': nil, '2': nil, '4': nil, '6': nil, 'B': nil, 'C': nil, 'E': nil, 'T': nil, 'q': nil,
}

// options reads the words after "scp" as getopt(3) does.
func options(words []string) (Command, error) {
	var c Command
	for len(words) > 0 {
		word := unescape(words[0])
		if len(word) < 2 || word[0] != '-' {
			break
		}
		words = words[1:]
		if word == "--" {
			break
		}
		takesNext, err := c.set(word[1:])
		if err != nil {
			return c, err
		}
		if takesNext {
			if len(words) == 0 {
				return c, fmt.Errorf("option %s needs a value", printable(word))
			}
			words = words[1:]
		}
	}
	if c.Source == c.Sink {
		return c, errors.New("this is the server's side of scp: it needs either -f or -t")
	}
	if len(words) == 0 {
		words = []string{""}
	}
	c.Paths = words
	return c, nil
}

// set reads one word of options. The value of the last one may be the next word.
func (c *Command) set(letters string) (takesNext bool, err error) {
	for i := range len(letters) {
		if letters[i] == 'l' { // the only one with a value, which has no meaning here
			return i == len(letters)-1, nil
		}
		apply, known := flags[letters[i]]
		if !known {
			return false, fmt.Errorf("unknown option -%s", printable(letters[i:i+1]))
		}
		if apply != nil {
			apply(c)
		}
	}
	return false, nil
}
