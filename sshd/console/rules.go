package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/policy/review"
)

// Rules are the rules in force, and those that may be next.
type Rules interface {
	// Set is the rules in force.
	Set() *policy.Set
	// File reads the rules of the configuration file.
	File() (RulesFile, error)
	// Parse returns the rules of a text that may replace those of the file, or why a
	// reload would refuse them. Mistakes have the place in a file of that name.
	Parse(name, text string) (*policy.Set, error)
	// Disk returns a function that says what the disk permits in a folder, beside the
	// rights of the rules; nil if files belong to nobody but the service. The error says
	// why the disk cannot be asked.
	Disk() (func(policy.Folder, policy.Op) *policy.ExplainedDisk, error)
}

// A RulesFile is the rules of the configuration file. It has nothing of other sections,
// which may hold passwords.
type RulesFile struct {
	Name    string
	First   int // number of the first line
	Lines   []string
	InForce bool  // the rules in force are these
	Err     error // why they could not be in force
}

// A rulesBody has the rules, and the people whose access others would change.
type rulesBody struct {
	File    RulesFile
	Lines   []numbered
	Text    string // the next version
	Problem string
	Result  *resultView
}

type numbered struct {
	Number int
	Text   string
}

func (c *Console) rules(w http.ResponseWriter, r *http.Request, s *session) {
	b := rulesBody{Result: c.resultOf(r, "rules")}
	status := http.StatusOK
	if b.Result == nil && r.FormValue("job") != "" {
		b.Problem, status = say("result.gone_ask"), http.StatusNotFound
	}
	c.showRules(w, status, s, b)
}

func (c *Console) showRules(w http.ResponseWriter, status int, s *session, b rulesBody) {
	var err error
	if b.File, err = c.Rules.File(); err != nil {
		b.File.Err = err
	}
	for i, text := range b.File.Lines {
		b.Lines = append(b.Lines, numbered{b.File.First + i, text})
	}
	if b.Text == "" {
		b.Text = strings.Join(b.File.Lines, "\n")
	}
	c.show(w, status, "rules.html", c.view(s, say("rules.title"), b))
}

// compare begins to find the people whose access other rules would change. It
// installs nothing.
func (c *Console) compare(w http.ResponseWriter, r *http.Request, s *session) {
	b := rulesBody{Text: strings.ReplaceAll(r.PostFormValue("rules"), "\r\n", "\n")}
	comparison, err := c.comparison(b.Text)
	if err == nil {
		comparison.Most = mostResult
		err = c.begin(w, r, s, "rules", func(ctx context.Context, j *job) (any, error) {
			comparison.Problem = c.everybody(ctx, j, func(u *directory.User) bool { comparison.Add(u); return false })
			return comparison, nil
		})
	}
	if err != nil {
		b.Problem = err.Error()
		c.showRules(w, refusal(err), s, b)
	}
}

// comparison compares the rules of a form with those in force, still without people. It
// takes one form at a time.
func (c *Console) comparison(text string) (*review.Comparison, error) {
	if !c.trying.TryLock() {
		return nil, errBusy
	}
	defer c.trying.Unlock()
	next, err := c.Rules.Parse(say("rules.new"), text)
	if err != nil {
		return nil, err
	}
	return review.CompareRules(c.Rules.Set(), next, time.Now())
}
