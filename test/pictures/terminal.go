package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// The size of the recorded terminal, in characters.
const (
	columns = 96
	lines   = 24
)

// A terminal shows what a program writes, as far as programs without colours and
// windows need it.
type terminal struct {
	rows   [][]rune
	column int
	escape []rune // of an escape sequence under way
}

func (t *terminal) write(text string) {
	if t.rows == nil {
		t.rows = [][]rune{nil}
	}
	for _, r := range text {
		last := len(t.rows) - 1
		switch {
		case len(t.escape) > 0:
			t.escape = append(t.escape, r)
			if len(t.escape) == 2 && r != '[' || len(t.escape) > 2 && r >= '@' {
				if r == 'K' {
					t.rows[last] = t.rows[last][:min(t.column, len(t.rows[last]))]
				}
				t.escape = nil
			}
		case r == '\x1b':
			t.escape = []rune{r}
		case r == '\n':
			t.rows = append(t.rows, nil)
		case r == '\r':
			t.column = 0
		case r == '\b':
			t.column = max(t.column-1, 0)
		case r == '\t':
			t.put(' ')
			for t.column%8 != 0 {
				t.put(' ')
			}
		case r >= ' ':
			t.put(r)
		}
	}
	t.rows = t.rows[max(len(t.rows)-lines, 0):]
}

func (t *terminal) put(r rune) {
	if t.column == columns {
		t.rows, t.column = append(t.rows, nil), 0
	}
	last := len(t.rows) - 1
	for len(t.rows[last]) <= t.column {
		t.rows[last] = append(t.rows[last], ' ')
	}
	t.rows[last][t.column] = r
	t.column++
}

// screen is what can be seen, with the cursor.
func (t *terminal) screen() []string {
	var all []string
	for i, row := range t.rows {
		s := string(row)
		if i == len(t.rows)-1 {
			s += strings.Repeat(" ", max(t.column-len(row), 0)) + "█"
		}
		all = append(all, s)
	}
	return all
}

// A frame is a screen, and when it appears.
type frame struct {
	at     time.Duration
	screen []string
}

// film makes an SVG that shows the frames in a loop: they are one below the other,
// and an animation moves them through the window. Each line of text is there
// once. Without animation the last frame is shown.
func film(title string, frames []frame, end time.Duration) string {
	frames = slices.CompactFunc(frames, func(a, b frame) bool { return slices.Equal(a.screen, b.screen) })
	const margin, step = 14, 17
	rows := 1
	for _, f := range frames {
		rows = max(rows, len(f.screen))
	}
	w, h := columns*84/10+2*margin, rows*step+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>\n", html.EscapeString(title))
	b.WriteString("text{font-family:DejaVu Sans Mono,Menlo,Consolas,monospace;font-size:13.5px;fill:#e2e8f0;white-space:pre}.p{fill:#86efac}\n")
	fmt.Fprintf(&b, "#film{transform:translateY(-%dpx);animation:play %.2fs steps(1,end) infinite}\n@keyframes play{\n", (len(frames)-1)*h, end.Seconds())
	for i, f := range frames {
		fmt.Fprintf(&b, "%.3f%%{transform:translateY(-%dpx)}\n", 100*f.at.Seconds()/end.Seconds(), i*h)
	}
	fmt.Fprintf(&b, "100%%{transform:translateY(-%dpx)}\n}\n</style>\n<defs>\n", (len(frames)-1)*h)
	ids := map[string]int{}
	for _, f := range frames {
		for _, line := range f.screen {
			if _, ok := ids[line]; ok || strings.TrimSpace(line) == "" {
				continue
			}
			ids[line] = len(ids)
			class := ""
			if strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "sftp> ") {
				class = ` class="p"`
			}
			fmt.Fprintf(&b, `<text id="l%d"%s textLength="%.1f" xml:space="preserve">%s</text>`+"\n",
				ids[line], class, float64(len([]rune(line)))*cellWidth, html.EscapeString(line))
		}
	}
	fmt.Fprintf(&b, "<clipPath id=\"window\"><rect width=\"%d\" height=\"%d\"/></clipPath>\n</defs>\n", w, h)
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#0f172a"/>` + "\n" + `<g clip-path="url(#window)"><g id="film">` + "\n")
	for i, f := range frames {
		for n, line := range f.screen {
			if id, ok := ids[line]; ok {
				fmt.Fprintf(&b, `<use href="#l%d" x="%d" y="%d"/>`+"\n", id, margin, i*h+margin+n*step+13)
			}
		}
	}
	b.WriteString("</g></g>\n</svg>\n")
	return b.String()
}
