package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the keeper of servers, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == keepCommand {
		os.Exit(keep(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

func TestSpeed(t *testing.T) {
	r := round{other: result{Value: 10}, berth: result{Value: 20}}
	if got := (unit{}).speed(r); got != 2 {
		t.Errorf("speed where more is better = %v, want 2", got)
	}
	if got := (unit{less: true}).speed(r); got != 0.5 {
		t.Errorf("speed where less is better = %v, want 0.5", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
		spread string
	}{
		{[]float64{3}, 3, "3.00"},
		{[]float64{9, 1, 3}, 3, "3.00 (1.00 to 9.00)"},
		{[]float64{4, 1, 2, 100}, 3, "3.00 (1.00 to 100)"},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
		if got := spread(tt.values); got != tt.spread {
			t.Errorf("spread(%v) = %q, want %q", tt.values, got, tt.spread)
		}
	}
}

func TestRowMarksWhatIsMissed(t *testing.T) {
	w := workload{name: "w", unit: bytesPerSecond, goal: goal{speed: 2, cpu: 0.5}}
	rounds := []round{{other: result{Value: 100, CPU: 2}, berth: result{Value: 300, CPU: 1.5}}}
	var out bytes.Buffer
	r := &report{out: &out}
	if err := r.add(w, "OpenSSH", rounds, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, "| 3.00 | >= 2.00 |") || !strings.Contains(got, "| 0.750 | <= 0.500 MISSED |") {
		t.Errorf("row = %s", got)
	}
	if r.goals != 2 || r.met != 1 {
		t.Errorf("%d of %d goals met, want 1 of 2", r.met, r.goals)
	}
}

func TestRowOfFailure(t *testing.T) {
	var out bytes.Buffer
	r := &report{out: &out}
	if err := r.add(workload{name: "w"}, "OpenSSH", nil, errors.New("two\nlines")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "| w | OpenSSH | could not be measured: two lines |\n"; got != want {
		t.Errorf("row = %q, want %q", got, want)
	}
}

// TestMeterCountsWhatIsLeftBehind starts a server whose child outlives its
// parent and then works: its CPU time must not be lost.
func TestMeterCountsWhatIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	begin, done := filepath.Join(dir, "begin"), filepath.Join(dir, "done")
	b := &bench{}
	script := `(while [ ! -e ` + begin + ` ]; do sleep 0.01; done; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; touch ` + done + `)`
	p, err := b.launch(filepath.Join(dir, "log"), "/bin/sh", "-c", "("+script+" & ) ; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	m := &meter{pid: p.pid()}
	m.start()
	if err := os.WriteFile(begin, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(done); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the child did not end; it said: %s", p.said())
		}
	}
	m.stop()
	if m.used < 0.02 {
		t.Errorf("CPU time = %v s, want that of 300,000 turns of a shell's loop", m.used)
	}
}

func TestStopEndsEverything(t *testing.T) {
	dir := t.TempDir()
	b := &bench{}
	p, err := b.launch(filepath.Join(dir, "log"), "/bin/sh", "-c", "sleep 60 & sleep 60 & wait")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for end := time.Now().Add(30 * time.Second); len(pids) < 4 && time.Now().Before(end); {
		pids = pids[:0]
		for pid := range tree(p.pid()) {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 4 {
		t.Errorf("tree = %v, want the keeper, the shell and its two children", pids)
	}
	p.stop()
	for _, pid := range pids {
		if _, ok := readStat(pid); ok {
			t.Errorf("process %d lives on", pid)
		}
	}
}

// TestLongLine sends a word there and back.
func TestLongLine(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		c, err := echo.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c)
	}()
	const delay = 20 * time.Millisecond
	l, err := longLine(echo.Addr().String(), delay)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	began := time.Now()
	c, err := net.Dial("tcp", l.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "word")
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "word" {
		t.Errorf("back came %q, %v", got, err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("took %v, want at least %v", took, 2*delay)
	}
}

// TestBench runs the program on one workload with both servers.
func TestBench(t *testing.T) {
	for _, program := range []string{"ssh", "sftp"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not installed: run test/packages.sh base", program)
		}
	}
	lines := filepath.Join(t.TempDir(), "lines")
	if err := run(t.Context(), []string{"-quick", "-rounds", "1", "-only", "^(stat-1|small-put)$", "-json", lines}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), `"workload":`); got != 2 {
		t.Errorf("%d measurements, want 2:\n%s", got, text)
	}
}

func TestUnknownOption(t *testing.T) {
	for _, args := range [][]string{{"-only", "("}, {"left over"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%q) succeeds", args)
		}
	}
}
