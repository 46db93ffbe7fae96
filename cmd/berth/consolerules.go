package main

import (
	"bytes"
	"os"
	"sync"

	"berth/config"
	"berth/policy"
	"berth/sshd/console"
)

// consoleRules shows the web page the rules of a running server. Its methods are safe for
// concurrent use.
type consoleRules struct {
	reloader *reloader

	mu   sync.Mutex
	text []byte // of the file when it was compiled last: a thousand rules take a third of a second
	hash string // of its rules
	err  error
}

func (c *consoleRules) Set() *policy.Set { return c.reloader.rules.set.Load() }

func (c *consoleRules) File() (console.RulesFile, error) {
	f := console.RulesFile{Name: c.reloader.started.Path}
	text, err := os.ReadFile(f.Name)
	if err != nil {
		return f, err
	}
	f.First, f.Lines = config.RulesSection(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !bytes.Equal(text, c.text) {
		c.text = text
		c.hash, c.err = c.compile(f.Name, text)
	}
	f.Err, f.InForce = c.err, c.err == nil && c.hash == c.Set().Hash()
	return f, nil
}

// compile returns the hash of the rules of a whole file. An error says only what is wrong
// with the rules.
func (c *consoleRules) compile(name string, text []byte) (hash string, err error) {
	cfg, err := c.reloader.started.WithRules(name, text)
	if err != nil {
		return "", config.RulesMistakes(err)
	}
	set, err := c.reloader.compile(cfg)
	if err != nil {
		return "", err
	}
	return set.Hash(), nil
}

func (c *consoleRules) Parse(name, text string) (*policy.Set, error) {
	cfg, err := c.reloader.started.WithRules(name, []byte(text))
	if err != nil {
		return nil, err
	}
	return c.reloader.compile(cfg)
}

func (c *consoleRules) Disk() (func(policy.Folder, policy.Op) *policy.ExplainedDisk, error) {
	return diskOf(c.Set())
}
