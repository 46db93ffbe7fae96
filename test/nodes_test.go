package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/test/peers"
)

// TestNodes: three servers with one Redis count the sessions of a person together, go on
// without Redis, and forget those of a node that was killed.
func TestNodes(t *testing.T) {
	t.Parallel()
	r := peers.Redis(t)
	var nodes []*server
	var files []string
	for i := range 3 {
		demo := filepath.Join(t.TempDir(), "demo")
		file := atomicDemo(t, demo)
		edit(t, file, "    uploads: atomic\n", "    limits: {sessions: 2}\n")
		edit(t, file, "admin:", fmt.Sprintf("state: {redis: {urls: [%q], timeout: 10s}}\nadmin:", r.URL))
		if i < 2 { // the last one has the name of this machine
			edit(t, file, "events: {", fmt.Sprintf("events: {node: node%d, ", i))
		}
		s, err := startServer(berth, demo, "serve", "--config", file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.stop)
		nodes, files = append(nodes, s), append(files, file)
	}
	status := func(i int) string {
		out, _ := exec.Command(berth, "status", "--config", files[i]).CombinedOutput()
		return string(out)
	}
	eventually(t, "all nodes know each other", func() bool {
		return strings.Contains(status(0), "3, this one included") && strings.Contains(status(2), "3, this one included")
	})
	login := func(i int) (*ssh.Client, error) { return dialAlice(nodes[i].addr, filepath.Dir(files[i])) }
	first, err := login(0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := login(1)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if third, err := login(2); err == nil {
		third.Close()
		t.Error("a third session of alice, who may have two")
	}
	tell := func(command ...string) string {
		out, err := exec.Command(berth, append(command, "--config", files[0])...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v: %s", command, err, out)
		}
		return string(out)
	}
	if all := tell("sessions"); strings.Count(all, "alice") != 2 || strings.Count(all, "node1") != 1 {
		t.Errorf("sessions of all nodes:\n%s", all)
	}
	if ended := tell("kick", "alice"); strings.Count(ended, "of alice") != 2 {
		t.Errorf("kick on all nodes:\n%s", ended)
	}
	second.Wait()
	may := func(i int) func() bool {
		return func() bool {
			c, err := login(i)
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err == nil
		}
	}
	eventually(t, "alice may log in when her sessions have ended", may(2))
	eventually(t, "and a second time", may(1))

	r.Kill()
	if !may(0)() {
		t.Error("without Redis each node has a share of the limit, at least one session")
	}
	eventually(t, "the status says so", func() bool { return strings.Contains(status(0), "CANNOT BE ASKED") })
	if body, code, err := httpGet(t.Context(), "http://"+nodes[0].admin+"/readyz"); err != nil || code != 200 || !strings.Contains(body, "state.redis") {
		t.Errorf("/readyz without Redis: %d, %q, %v; want ready, and why not quite", code, body, err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the nodes are together again", func() bool { return strings.Contains(status(0), "3, this one included") })
	recorded(t, filepath.Dir(files[0]), `"type":"state_down"`, `"type":"state_up"`)
	recorded(t, filepath.Dir(files[2]), `"reason":"too_many_sessions"`)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"node0", "node1", name} {
		all := readFile(t, filepath.Join(filepath.Dir(files[i]), "events.jsonl"))
		started := all[strings.LastIndex(all, `"type":"server_started"`):] // before, it was a demonstration
		if named := `"node":"` + want + `"`; strings.Count(started, named) != strings.Count(started, "\n") {
			t.Errorf("events of node %d without %s:\n%s", i, named, started)
		}
	}

	if err := nodes[1].cmd.Process.Kill(); err != nil { // one of three sessions
		t.Fatal(err)
	}
	if err := nodes[2].cmd.Process.Kill(); err != nil { // another one
		t.Fatal(err)
	}
	eventuallyWithin(t, 90*time.Second, "their leases of 30 seconds end", may(0))
}

// TestSharedQuota: two nodes fill a folder together, never more than its quota, and all of it.
func TestSharedQuota(t *testing.T) {
	t.Parallel()
	const limit, whole = 40 << 20, 40
	f := newFarm(t, 2, "    limits: {quota: 40MiB}\n")
	data := make([]byte, 1<<20-1)
	var tries, files atomic.Int32
	upload := func(client int) bool {
		_, err := f.upload(fmt.Sprintf("f%d-%d", client, tries.Add(1)), data)
		if err == nil {
			files.Add(1)
			return true
		}
		if !strings.Contains(err.Error(), "Quota exceeded") {
			t.Error(err)
		}
		return false
	}
	var wg sync.WaitGroup
	for client := range 6 {
		wg.Go(func() {
			for upload(client) {
			}
		})
	}
	wg.Wait()
	// Files that came half-way are removed, and a moment later the other node knows.
	eventually(t, "the folder is full", func() bool { return files.Load() == whole || upload(6) && files.Load() == whole })
	if upload(7) {
		t.Errorf("%d files went in, want %d", files.Load(), whole)
	}
	var used int64
	err := filepath.Walk(filepath.Join(f.demo, "home", "alice"), func(_ string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			used += fi.Size()
		}
		return err
	})
	if err != nil || used > limit {
		t.Errorf("the folder holds %d bytes, %v; want at most %d", used, err, limit)
	}
	for _, n := range f.nodes {
		recorded(t, n.demo, `"path":"/f`)
	}
}

// TestOneConsole: what an operator asks of one node reaches another one, or all, and rules
// that differ are noticed.
func TestOneConsole(t *testing.T) {
	t.Parallel()
	f := newFarm(t, 3, "    limits: {sessions: 9}\n")
	tell := func(command ...string) string {
		out, err := exec.Command(berth, append(command, "--config", f.nodes[0].file)...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v: %s", command, err, out)
		}
		return string(out)
	}
	eventually(t, "all nodes know each other", func() bool { return strings.Contains(tell("status"), "3, this one included") })
	if all := tell("log-level", "debug", "for", "1h", "--node", "all"); strings.Count(all, ": done\n") != 3 {
		t.Errorf("log-level on all nodes:\n%s", all)
	}
	if other := tell("status", "--node", "node2"); !strings.Contains(other, "debug") || !strings.Contains(other, f.nodes[2].file) {
		t.Errorf("status of another node:\n%s", other)
	}
	if here := tell("status"); strings.Contains(here, "WARNING") || strings.Count(here, "\nnode") != 3 { // the line "nodes" and two others
		t.Errorf("status:\n%s", here)
	}
	edit(t, f.nodes[1].file, "sessions: 9", "sessions: 8")
	if all := tell("reload", "--node", "all"); strings.Count(all, ": done\n") != 3 || strings.Count(all, "\nrules ") != 2 || !strings.Contains(all, "WARNING") || !strings.Contains(all, ": node0, node2\n") {
		t.Errorf("reload of all nodes, of which one has other rules:\n%s", all)
	}
	if here := tell("status"); !strings.Contains(here, "WARNING") {
		t.Errorf("status with different rules:\n%s", here)
	}
	edit(t, f.nodes[1].file, "sessions: 8", "sessions: 9")
	if one := tell("reload", "--node", "node1"); !strings.HasPrefix(one, "node1: done\n") || strings.Contains(one, "node2") {
		t.Errorf("reload of one node:\n%s", one)
	}
	if all := tell("reload"); strings.Contains(all, "WARNING") || !strings.Contains(all, ": node0, node1, node2\n") {
		t.Errorf("reload when all nodes have the same rules:\n%s", all)
	}
	if out, err := exec.Command(berth, "drain", "--node", "node7", "--config", f.nodes[0].file).CombinedOutput(); err == nil || !strings.Contains(string(out), `no node is called "node7"`) {
		t.Errorf("drain of a node that does not exist: %v, %s", err, out)
	}
	session, err := dialAlice(f.addr, f.demo)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if has := tell("sessions", "--node", "node0") + tell("sessions", "--node", "node1") + tell("sessions", "--node", "node2"); strings.Count(has, "alice") != 1 {
		t.Errorf("sessions of each node:\n%s", has)
	}
	if one := tell("drain", "--node", "node2"); one != "node2: done\n" {
		t.Errorf("drain of another node: %q", one)
	}
	f.nodes[2].done <- <-f.nodes[2].done // stop wants to see it, too
	eventually(t, "there are two nodes", func() bool { return strings.Contains(tell("status"), "2, this one included") })
	recorded(t, f.nodes[2].demo, `"operator"`)
}
