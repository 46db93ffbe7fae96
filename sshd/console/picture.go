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
	p := picture{Width: folderColumn[0] + folderColumn[1]}
	outcome := say("picture.allowed")
	if !e.Allowed {
		outcome = say("picture.refused", e.Reason)
	}
	person := newBox(personColumn, 0, e.User.State == "active" && e.Allowed, e.User.Name, e.User.State, outcome)
	p.Boxes = append(p.Boxes, person)
	p.Height = person.Height + gap
	byGroup := map[string][]box{} // of rules
	y := 0
	for i, g := range groups {
		if i == mostDrawn {
			p.HiddenGroups = len(groups) - i
			break
		}
		b := newBox(groupColumn, y, true, groupTexts(g)...)
		y = b.Y + b.Height + gap
		p.Boxes, p.Lines = append(p.Boxes, b), append(p.Lines, between(person, b))
		for _, rule := range g.rules {
			byGroup[rule] = append(byGroup[rule], b)
		}
	}
	p.Height = max(p.Height, y)
	rules := map[string]box{}
	y = 0
	for i, r := range e.Rules {
		if i == mostDrawn {
			p.Hidden = len(e.Rules) - i
			break
		}
		b := newBox(ruleColumn, y, r.Matched, ruleTexts(r)...)
		y = b.Y + b.Height + gap
		for _, g := range byGroup[r.Name] {
			p.Lines = append(p.Lines, between(g, b))
		}
		if r.Matched && len(byGroup[r.Name]) == 0 {
			p.Lines = append(p.Lines, between(person, b))
		}
		rules[r.Name] = b
		p.Boxes = append(p.Boxes, b)
	}
	p.Height = max(p.Height, y)
	y = 0
	for _, f := range e.Folders {
		texts := []string{f.Path}
		for _, a := range e.Rights {
			if a.Path == f.Path {
				texts = append(texts, strings.Join(a.Permissions, ", "))
			}
		}
		b := newBox(folderColumn, y, true, texts...)
		y = b.Y + b.Height + gap
		p.Boxes = append(p.Boxes, b)
		if from, drawn := rules[f.Rule]; drawn {
			p.Lines = append(p.Lines, between(from, b))
		}
	}
	p.Height = max(p.Height, y)
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

// newBox is a box in a column, high enough for its texts. The first is its title.
func newBox(column [2]int, y int, yes bool, texts ...string) box {
	b := box{X: column[0] + 1, Y: y + 1, Width: column[1] - 2, Height: len(texts)*rowHeight + padding, Yes: yes}
	for i, text := range texts {
		text = named(text)
		r := row{X: b.X + padding, Y: b.Y + (i+1)*rowHeight - 4, Text: text, Title: i == 0}
		if most := (b.Width - 2*padding) / letter; len([]rune(text)) > most {
			r.Text, r.Full = string([]rune(text)[:most-1])+"…", text
		}
		b.Rows = append(b.Rows, r)
	}
	return b
}

// between joins the right side of a with the left side of b.
func between(a, b box) line {
	return line{a.X + a.Width, a.Y + a.Height/2, b.X, b.Y + b.Height/2}
}
