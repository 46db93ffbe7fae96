package console

import (
	"strings"

	"berth/policy"
)

// A picture is a drawing of an explanation: the person at the left, then the groups that
// rules name, the rules with their conditions, and the folders at the right. page/people.html makes
// the SVG of it. Units are pixels at full size.
type picture struct {
	Width, Height int
	Boxes         []box
	Lines         []line
	Hidden        int // rules that are not drawn
	HiddenGroups  int
}

// A box has a title and lines of text.
type box struct {
	X, Y, Width, Height int
	Yes                 bool // it has an effect
	Rows                []row
}

// A row is a line of text in a box. Full is the whole text if Text is a part of it.
type row struct {
	X, Y       int
	Text, Full string
	Title      bool
}

// A line joins two boxes.
type line struct{ X1, Y1, X2, Y2 int }

const (
	rowHeight = 20
	padding   = 8
	gap       = 14  // between boxes
	letter    = 8   // width, at most
	mostDrawn = 100 // rules, and groups
)

// The columns: where they begin and how wide they are.
var (
	personColumn = [2]int{0, 180}
	groupColumn  = [2]int{230, 240}
	ruleColumn   = [2]int{520, 400}
	folderColumn = [2]int{970, 330}
)

// draw makes the picture of e, with the groups that rules name.
func draw(e policy.Explanation, groups []through) picture {
	p := picture{
		Width: folderColumn[0] + folderColumn[1], Hidden: max(0, len(e.Rules)-mostDrawn), HiddenGroups: max(0, len(groups)-mostDrawn),
	}
	outcome := say("picture.allowed")
	if !e.Allowed {
		outcome = say("picture.refused", e.Reason)
	}
	persons := stack{picture: &p, column: personColumn}
	inGroups := stack{picture: &p, column: groupColumn}
	inRules := stack{picture: &p, column: ruleColumn}
	inFolders := stack{picture: &p, column: folderColumn}
	person := persons.add(e.User.State == "active" && e.Allowed, e.User.Name, e.User.State, outcome)
	byGroup := map[string][]box{} // of rules
	for _, g := range groups[:len(groups)-p.HiddenGroups] {
		b := inGroups.add(true, groupTexts(g)...)
		p.join(person, b)
		for _, rule := range g.rules {
			byGroup[rule] = append(byGroup[rule], b)
		}
	}
	rules := map[string]box{}
	for _, r := range e.Rules[:len(e.Rules)-p.Hidden] {
		b := inRules.add(r.Matched, ruleTexts(r)...)
		for _, g := range byGroup[r.Name] {
			p.join(g, b)
		}
		if r.Matched && len(byGroup[r.Name]) == 0 {
			p.join(person, b)
		}
		rules[r.Name] = b
	}
	for _, f := range e.Folders {
		texts := []string{f.Path}
		for _, a := range e.Rights {
			if a.Path == f.Path {
				texts = append(texts, strings.Join(a.Permissions, ", "))
			}
		}
		b := inFolders.add(true, texts...)
		if from, drawn := rules[f.Rule]; drawn {
			p.join(from, b)
		}
	}
	return p
}

// groupTexts says how the person is in a group.
func groupTexts(g through) []string {
	if len(g.chain) == 0 {
		return []string{g.name, g.via}
	}
	texts := []string{g.name}
	for i := len(g.chain) - 1; i >= 0; i-- {
		texts = append(texts, say("picture.contains", g.chain[i]))
	}
	return texts
}

func ruleTexts(r policy.ExplainedRule) []string {
	verdict := say("picture.matches", r.Name)
	switch {
	case !r.Matched:
		verdict = say("picture.no_match", r.Name)
	case r.Deny:
		verdict = say("picture.refuses", r.Name)
	}
	texts := []string{verdict}
	for _, c := range r.Conditions {
		held := say("people.not_held", c.Key, c.Why)
		if c.Held {
			held = say("people.held", c.Key, c.Why)
		}
		texts = append(texts, held)
	}
	return texts
}

// A stack is the boxes of a column, one below the other.
type stack struct {
	*picture
	column [2]int
	y      int // of the next one
}

// add adds a box that is high enough for its texts. The first is its title.
func (s *stack) add(yes bool, texts ...string) box {
	b := box{X: s.column[0] + 1, Y: s.y + 1, Width: s.column[1] - 2, Height: len(texts)*rowHeight + padding, Yes: yes}
	for i, text := range texts {
		text = named(text)
		r := row{X: b.X + padding, Y: b.Y + (i+1)*rowHeight - 4, Text: text, Title: i == 0}
		if most := (b.Width - 2*padding) / letter; len([]rune(text)) > most {
			r.Text, r.Full = string([]rune(text)[:most-1])+"…", text
		}
		b.Rows = append(b.Rows, r)
	}
	s.y = b.Y + b.Height + gap
	s.Boxes, s.Height = append(s.Boxes, b), max(s.Height, s.y)
	return b
}

// join draws a line from the right side of a to the left side of b.
func (p *picture) join(a, b box) {
	p.Lines = append(p.Lines, line{a.X + a.Width, a.Y + a.Height/2, b.X, b.Y + b.Height/2})
}
