package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
		edit(t, file, "admin:", fmt.Sprintf("state: {redis: {urls: [%q]}}\nadmin:", r.URL))
		edit(t, file, "events: {", fmt.Sprintf("events: {node: node%d, ", i))
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
	eventsOf := func(i int) string {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(files[i]), "events.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, want := range []string{`"type":"state_down"`, `"type":"state_up"`} {
		if !strings.Contains(eventsOf(0), want) {
			t.Errorf("no event %s", want)
		}
	}
	if !strings.Contains(eventsOf(2), `"reason":"too_many_sessions"`) {
		t.Error("no event says why alice was refused")
	}

	if err := nodes[1].cmd.Process.Kill(); err != nil { // one of three sessions
		t.Fatal(err)
	}
	if err := nodes[2].cmd.Process.Kill(); err != nil { // another one
		t.Fatal(err)
	}
	eventuallyWithin(t, 90*time.Second, "their leases of 30 seconds end", may(0))
}
