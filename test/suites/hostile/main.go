// Hostile is a client that attacks the server. It sends what no honest client
// sends, and reports whether anything outside the user's root could be read
// or changed, whether another session noticed, and whether the server's
// memory stayed bounded. The server may answer with an error or end the
// connection.
//
// Which server it is, and what is printed, is as lib.sh beside it has it;
// SERVER_PID is the server's process. Start at checks.
package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// A check is one thing that must not work.
type check struct {
	name        string
	connections int // at the same time, which bounds the memory it may take; 0 is one
	run         func(t *target) error
}

// checks is all of them, in order.
var checks = slices.Concat(pathChecks, linkChecks, scpChecks, raceChecks, sshChecks, authChecks, packetChecks, handleChecks, nameChecks, volumeChecks)

// hangs is how long a check may take: far more than any does.
const hangs = 60 * time.Second

func main() {
	t, err := newTarget()
	if err != nil {
		fmt.Println("FAIL the target can be used")
		fmt.Println("    ", err)
		os.Exit(2)
	}
	defer t.cleanUp()
	passed, total := 0, 0
	report := func(name string, err error) {
		total++
		if err == nil {
			passed++
			fmt.Println("ok  ", name)
			return
		}
		fmt.Println("FAIL", name)
		fmt.Println("    ", err)
	}
	for _, c := range checks {
		report(c.name, t.check(c))
	}
	report("no descriptors are left open", t.descriptorsLeft())
	fmt.Printf("%d/%d passed\n", passed, total)
	if passed != total {
		t.cleanUp()
		os.Exit(1)
	}
}

// check runs c, and then looks whether the server is as good as before.
func (t *target) check(c check) error {
	memory := t.watchMemory()
	done := make(chan error, 1)
	go func() { done <- c.run(t) }()
	var err error
	select {
	case err = <-done:
	case <-time.After(hangs):
		err = fmt.Errorf("no end after %v", hangs)
	}
	grown := memory()
	switch outside := t.restoreOutside(); {
	case err != nil:
		return err
	case outside != "":
		return fmt.Errorf("outside: %s", outside)
	case grown > max(c.connections, 1)*memoryOfConnection:
		return fmt.Errorf("the server grew by %d MiB", grown>>20)
	}
	if err := t.bystander.noticed(); err != nil {
		return fmt.Errorf("another session noticed: %w", err)
	}
	if err := t.alive(); err != nil {
		return fmt.Errorf("the server cannot be used any more: %w", err)
	}
	return nil
}
