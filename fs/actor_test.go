package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/directory"
)

// needRoot skips what only root can try: acting as others.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can act as other people: run the tests as root")
	}
}

func mustActor(t *testing.T, uid, gid uint32, groups ...uint32) *actor {
	t.Helper()
	needRoot(t)
	a, err := newActor(directory.POSIX{UID: uid, GID: gid, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// idsOf reads the ids, groups and effective capabilities of a thread.
func idsOf(status string) string {
	text, err := os.ReadFile(status)
	if err != nil {
		return err.Error()
	}
	var ids []string
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(string(line), ":")
		if slices.Contains([]string{"Uid", "Gid", "Groups", "CapEff"}, key) {
			ids = append(ids, key+" "+strings.Join(strings.Fields(value), " "))
		}
	}
	return strings.Join(ids, "; ")
}

// threads are the ids of all threads of this process.
func threads(t *testing.T) map[string]string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	all := map[string]string{}
	for _, status := range tasks {
		if ids := idsOf(status); !strings.Contains(ids, "no such") {
			all[filepath.Base(filepath.Dir(status))] = ids
		}
	}
	return all
}

// TestActor reads the ids of all threads of the process. Only the thread of the actor
// has the person's ids, and only while it acts. It has two capabilities left, which
// give no access to files. Everything is restored, also after an error and a panic.
func TestActor(t *testing.T) {
	a := mustActor(t, 1001, 2000, 2001, 2002)
	before := idsOf("/proc/thread-self/status")
	want := fmt.Sprintf("Uid 0 1001 0 1001; Gid 0 2000 0 2000; Groups 2001 2002; CapEff %016x", keep)
	wrong := errors.New("what op returned")
	for i := range 200 {
		var tid string
		panicked := func() (p any) {
			defer func() { p = recover() }()
			err := a.do(func() error {
				tid = fmt.Sprint(unix.Gettid())
				if got := idsOf("/proc/thread-self/status"); got != want {
					t.Errorf("the person has %s, want %s", got, want)
				}
				for id, ids := range threads(t) {
					if (ids == want) != (id == tid) {
						t.Errorf("thread %s, not the actor's %s, has %s", id, tid, ids)
					}
				}
				if i%2 == 0 {
					panic(wrong)
				}
				return wrong
			})
			if !errors.Is(err, wrong) {
				t.Errorf("do returned %v", err)
			}
			return nil
		}()
		if (panicked == wrong) != (i%2 == 0) {
			t.Errorf("do panicked with %v", panicked)
		}
		for id, ids := range threads(t) {
			if ids != before {
				t.Fatalf("thread %s has %s, want %s", id, ids, before)
			}
		}
	}
}

// TestActorThatCannotReturn checks that a thread ends if it does not get its own ids
// back.
func TestActorThatCannotReturn(t *testing.T) {
	a := mustActor(t, 1001, 2000)
	a.service.groups = make([]uint32, 1<<16+1) // NGROUPS_MAX, and one more
	before := idsOf("/proc/thread-self/status")
	for range 20 {
		tid := 0
		if err := a.do(func() error { tid = unix.Gettid(); return nil }); err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			continue // the runtime parks the first thread for ever
		}
		deadline := time.Now().Add(time.Minute)
		for unix.Tgkill(os.Getpid(), tid, 0) == nil {
			if time.Now().After(deadline) {
				t.Fatalf("thread %d is still there: %s", tid, idsOf(fmt.Sprintf("/proc/self/task/%d/status", tid)))
			}
		}
	}
	if got := idsOf("/proc/thread-self/status"); got != before {
		t.Errorf("the test has %s, want %s", got, before)
	}
}

// TestActorThatCannotBegin checks that the operation does not run if only a part of the
// change of ids works.
func TestActorThatCannotBegin(t *testing.T) {
	before := idsOf("/proc/thread-self/status")
	for what, spoil := range map[string]func(p *credentials){
		"groups": func(p *credentials) { p.groups = make([]uint32, 1<<16+1) },
		"gid":    func(p *credentials) { p.gid = 1<<32 - 1; p.groups = make([]uint32, 1<<16+1) },
		"caps":   func(p *credentials) { p.caps[0].Permitted = 0 }, // fewer than effective
	} {
		a := mustActor(t, 1001, 2000)
		spoil(&a.person)
		err := a.do(func() error {
			t.Errorf("%s: the operation ran", what)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "act as uid 1001") {
			t.Errorf("%s: do = %v", what, err)
		}
		for id, ids := range threads(t) {
			if ids != before {
				t.Errorf("%s: thread %s has %s, want %s", what, id, ids, before)
			}
		}
	}
	for _, p := range []directory.POSIX{{}, {UID: 0, GID: 1}, {UID: 1, GID: 0}, {UID: 1, GID: 1, Problem: "x"}} {
		if _, err := newActor(p); err == nil {
			t.Errorf("an actor for %+v", p)
		}
	}
}
