package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report prints a row of a Markdown table as soon as a workload is done.
type report struct {
	out   io.Writer
	json  *os.File // nil if not wanted
	began time.Time
	goals int
	met   int
}

// newReport adds to the file named json too, unless that is empty.
func newReport(out io.Writer, json string) (*report, error) {
	r := &report{out: out, began: time.Now()}
	if json == "" {
		return r, nil
	}
	var err error
	r.json, err = os.OpenFile(json, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	return r, err
}

func (r *report) close() error {
	if r.json == nil {
		return nil
	}
	return r.json.Close()
}

const rowFormat = "| %-18s | %-7s | %8s | %8s | %-11s | %-20s | %-14s | %8s | %8s | %-8s | %-6s | %-14s | %s |\n"

// begin says what is measured on, and prints the head of the table.
func (r *report) begin(ctx context.Context) error {
	load, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(load), " ")
	fmt.Fprintf(r.out, "Berth (%s); sshd and the clients are %s; %d CPUs, load %s before\n\n", runtime.Version(), openSSHVersion(ctx), runtime.NumCPU(), one)
	fmt.Fprintf(r.out, rowFormat, "workload", "beside", "it", "Berth", "", "speed", "goal", "it", "Berth", "CPU", "ratio", "goal", "notes")
	rule := strings.NewReplacer("%-18s", "---", "%-7s", "---", "%-6s", "---", "%-11s", "---", "%-20s", "---", "%-14s", "---", "%-8s", "---", "%8s", "--:", "%s", "---", " ", "")
	_, err := io.WriteString(r.out, rule.Replace(rowFormat))
	return err
}

// add prints the row of w beside another server: its rounds, or why it could not be
// measured.
func (r *report) add(w workload, other string, rounds []round, failed error) error {
	if failed != nil {
		_, err := fmt.Fprintf(r.out, "| %s | %s | could not be measured: %s |\n", w.name, other, strings.Join(strings.Fields(failed.Error()), " "))
		return err
	}
	if r.json != nil {
		for i, one := range rounds {
			line := map[string]any{"workload": w.name, "round": i, "unit": w.unit.value, "cpu_unit": w.unit.cpu, "beside": other, "other": one.other, "berth": one.berth}
			if err := json.NewEncoder(r.json).Encode(line); err != nil {
				return err
			}
		}
	}
	of := func(f func(round) float64) float64 { return median(each(rounds, f)) }
	speeds := each(rounds, w.unit.speed)
	value := of(func(r round) float64 { return r.berth.Value })
	growth := of(func(r round) float64 { return r.berth.Growth })
	cpu := of(func(r round) float64 { return r.berth.CPU / r.other.CPU })
	notes := []string{}
	if w.goal.growth > 0 {
		notes = append(notes, fmt.Sprintf("memory +%s MiB (goal %s)", short(growth), r.verdict("<=", w.goal.growth, growth)))
	}
	for _, note := range []string{rounds[0].other.Note, rounds[0].berth.Note} {
		if note != "" {
			notes = append(notes, note)
		}
	}
	speedGoal := r.verdict(">=", w.goal.speed, median(speeds))
	if w.goal.value > 0 {
		speedGoal += ", " + r.verdict("<=", w.goal.value, value)
	}
	_, err := fmt.Fprintf(r.out, rowFormat, w.name, other,
		short(of(func(r round) float64 { return r.other.Value })), short(value), w.unit.value,
		spread(speeds), speedGoal,
		short(of(func(r round) float64 { return r.other.CPU })), short(of(func(r round) float64 { return r.berth.CPU })), w.unit.cpu,
		short(cpu), r.verdict("<=", w.goal.cpu, cpu), strings.Join(notes, "; "))
	return err
}

// speed is how many times better Berth was in a round.
func (u unit) speed(r round) float64 {
	if u.less {
		return r.other.Value / r.berth.Value
	}
	return r.berth.Value / r.other.Value
}

// verdict writes a goal down, with a mark if it is missed.
func (r *report) verdict(relation string, want, got float64) string {
	if want == 0 {
		return ""
	}
	r.goals++
	text := relation + " " + short(want)
	if relation == ">=" && got < want || relation == "<=" && got > want {
		return text + " MISSED"
	}
	r.met++
	return text
}

func (r *report) end() {
	fmt.Fprintf(r.out, "\n%d of %d goals met, in %.0f s\n", r.met, r.goals, time.Since(r.began).Seconds())
}

func each(rounds []round, f func(round) float64) []float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = f(r)
	}
	return values
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread is the median with the least and the most.
func spread(values []float64) string {
	if len(values) == 1 {
		return short(values[0])
	}
	return fmt.Sprintf("%s (%s to %s)", short(median(values)), short(slices.Min(values)), short(slices.Max(values)))
}

// short writes a number with the digits that mean something.
func short(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
