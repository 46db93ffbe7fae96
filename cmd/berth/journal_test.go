package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestJournalPriorities(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if journal(f) != f {
		t.Error("a file that is not the journal gets priorities")
	}
	var s syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	log := hclog.New(&hclog.LoggerOptions{Output: journal(f), Level: hclog.Trace, DisableTime: true})
	log.Named("sshd").Error("one", "stack", "a\nb")
	log.Warn("two")
	log.Info("three")
	log.Trace("four")
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	const want = "<3>[ERROR] sshd: one:\n<3>  stack=\n<3>  | a\n<3>  | b\n<3>  \n<4>[WARN]  two\n<6>[INFO]  three\n<7>[TRACE] four\n"
	if string(text) != want {
		t.Errorf("the journal gets\n%q, want\n%q", text, want)
	}
}
