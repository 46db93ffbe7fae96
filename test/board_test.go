package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestBoard: every query of the board for Grafana is one that Prometheus understands, and asks for
// metrics that the server has (docs/metrics.md, which a test holds to the code).
func TestBoard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../dist/grafana/berth.json")
	if err != nil {
		t.Fatal(err)
	}
	var board any
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	known := metricsOfDocs(t)
	name := regexp.MustCompile(`\bberth_[a-z_]+`)
	var rules []map[string]string
	for _, expr := range texts(board, "expr") {
		expr = strings.NewReplacer("$__rate_interval", "5m", "$instance", "one").Replace(expr)
		rules = append(rules, map[string]string{"record": "board:query", "expr": expr})
		for _, metric := range name.FindAllString(expr, -1) {
			if !known(metric) {
				t.Errorf("the board asks for %s, which the server does not have", metric)
			}
		}
	}
	if len(rules) < 20 {
		t.Errorf("the board has %d queries, want more", len(rules))
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("BERTH_PEERS") != "" {
			t.Fatal("promtool is needed:", err)
		}
		t.Skip("whether queries can be parsed is not tested: there is no promtool")
	}
	file, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "board", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "check", "rules", "--lint=none", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// texts returns all texts with a key, wherever they are in v.
func texts(v any, key string) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, below := range v {
			if text, ok := below.(string); ok && k == key {
				all = append(all, text)
			}
			all = append(all, texts(below, key)...)
		}
	case []any:
		for _, below := range v {
			all = append(all, texts(below, key)...)
		}
	}
	return all
}

// metricsOfDocs reports whether docs/metrics.md has the metric that a series belongs to.
func metricsOfDocs(t *testing.T) func(series string) bool {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`_(bucket|sum|count)$`)
	return func(series string) bool {
		return strings.Contains(string(text), "| `"+series+"` |") || strings.Contains(string(text), "| `"+part.ReplaceAllString(series, "")+"` |")
	}
}
