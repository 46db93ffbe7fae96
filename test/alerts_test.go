package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestAlerts: each alert has a section in the runbook, and each metric that an alert
// asks for is one that the server has from the start on. promtool says whether alerts
// fire when they should.
func TestAlerts(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../dist/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Runbook string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	demo := filepath.Join(t.TempDir(), "demo")
	s, err := startDemo(nil, demo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	metrics, _, err := httpGet(t.Context(), "http://"+s.admin+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(runbook), -1) {
		sections[m[1]] = true
	}
	known := metricsOfDocs(t)
	name := regexp.MustCompile(`\b(?:berth|process)_[a-z_]+`)
	label := regexp.MustCompile(`\b(reason|type|outcome)=~?"([a-z_|]+)"`)
	for _, rule := range file.Groups[0].Rules {
		if !sections[rule.Alert] || rule.Annotations.Runbook != "docs/runbook.md#"+strings.ToLower(rule.Alert) {
			t.Errorf("%s has no section in the runbook, or does not name it: %q", rule.Alert, rule.Annotations.Runbook)
		}
		delete(sections, rule.Alert)
		for _, metric := range name.FindAllString(rule.Expr, -1) {
			// Without servers that have certificates there are none that end.
			if !strings.Contains(metrics, "# TYPE "+strings.TrimSuffix(metric, "_bucket")+" ") && !(strings.Contains(metric, "certificate") && known(metric)) {
				t.Errorf("%s asks for %s, which the server does not have", rule.Alert, metric)
			}
		}
	}
	for _, rule := range file.Groups[0].Rules { // increase() does not see the first one of a series that was not there
		for _, m := range label.FindAllStringSubmatch(rule.Expr, -1) {
			for value := range strings.SplitSeq(m[2], "|") {
				if !strings.Contains(metrics, m[1]+`="`+value+`"`) {
					t.Errorf("%s asks for the %s %q, which the server has only when it has happened", rule.Alert, m[1], value)
				}
			}
		}
	}
	for section := range sections {
		t.Errorf("the runbook has a section %s, and there is no such alert", section)
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("BERTH_PEERS") != "" {
			t.Fatal("promtool is needed:", err)
		}
		t.Skip("whether alerts fire is not tested: there is no promtool")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "../dist/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
