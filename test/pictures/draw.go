// Command pictures makes the pictures of the documentation: drawings from texts
// (docs/pictures/*.txt), and the recording of the demonstration (see record.go).
// A picture is drawn with characters for boxes, lines and arrows, so the text
// can be read, and compared, as it is.
package main

import (
	"fmt"
	"html"
	"strings"
)

// A character of a text takes so many pixels.
const (
	cellWidth  = 8.4
	cellHeight = 18
)

// sides are the directions in which a character has a line: up, right, down, left.
var sides = map[rune]string{
	'─': "rl", '│': "ud", '┌': "rd", '┐': "dl", '└': "ur", '┘': "ul",
	'├': "urd", '┤': "udl", '┬': "rdl", '┴': "url", '┼': "urdl",
	'╌': "rl", '┆': "ud", '►': "l", '◄': "r", '▼': "u", '▲': "d",
}

// heads are the tips of arrows, in cells around the middle.
var heads = map[rune]string{
	'►': "M-.5-.2 L.5 0 L-.5.2Z", '◄': "M.5-.2 L-.5 0 L.5.2Z",
	'▼': "M-.5-.2 L0 .35 L.5-.2Z", '▲': "M-.5.2 L0-.35 L.5.2Z",
}

// fills are the colours of boxes, by the number that the legend gives. The
// legend is lines at the end of a text: "1: guard, resolve" colours the boxes
// whose first line begins with one of these words.
var fills = map[string]string{"0": "#f1f5f9", "1": "#dbeafe", "2": "#dcfce7", "3": "#fef3c7", "4": "#fee2e2"}

// A drawing is a text as a grid of characters.
type drawing struct {
	rows   [][]rune
	colour map[string]string // of boxes, by the first word in them
}

// parse reads a text: the drawing, and after an empty line the legend.
func parse(text string) drawing {
	d := drawing{colour: map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if n, words, ok := strings.Cut(line, ": "); ok && fills[n] != "" {
			for _, word := range strings.Split(words, ", ") {
				d.colour[word] = fills[n]
			}
			continue
		}
		d.rows = append(d.rows, []rune(line))
	}
	for len(d.rows) > 0 && len(d.rows[len(d.rows)-1]) == 0 {
		d.rows = d.rows[:len(d.rows)-1]
	}
	return d
}

func (d drawing) at(x, y int) rune {
	if y < 0 || y >= len(d.rows) || x < 0 || x >= len(d.rows[y]) {
		return ' '
	}
	return d.rows[y][x]
}

// svg renders the drawing. title is for those who cannot see it.
func (d drawing) svg(title string) string {
	width := 0
	for _, row := range d.rows {
		width = max(width, len(row))
	}
	w, h := float64(width+2)*cellWidth, (len(d.rows)+2)*cellHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(title))
	b.WriteString(`<rect width="100%" height="100%" rx="8" fill="#ffffff"/>` + "\n")
	fmt.Fprintf(&b, `<g transform="translate(%.1f %d)">`+"\n", cellWidth, cellHeight)
	for y := range d.rows {
		for x := range d.rows[y] {
			if right, bottom, ok := d.box(x, y); ok {
				fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6" fill="%s"/>`+"\n",
					centre(x), middle(y), centre(right)-centre(x), middle(bottom)-middle(y), d.fill(x, y, right, bottom))
			}
		}
	}
	var solid, dashed strings.Builder
	for y, row := range d.rows {
		for x := 0; x < len(row); x++ {
			switch r := row[x]; {
			case r == '╌' || r == '┆':
				d.line(&b, &dashed, x, y, r)
			case sides[r] != "":
				d.line(&b, &solid, x, y, r)
			case r != ' ':
				end := x
				for end < len(row) && sides[row[end]] == "" && (row[end] != ' ' || end+1 < len(row) && row[end+1] != ' ' && sides[row[end+1]] == "") {
					end++
				}
				d.text(&b, x, y, string(row[x:end]))
				x = end - 1
			}
		}
	}
	fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="#475569" stroke-width="1.4"/>`+"\n", &solid)
	if dashed.Len() > 0 {
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="#475569" stroke-width="1.4" stroke-dasharray="3 3"/>`+"\n", &dashed)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

func centre(x int) float64 { return (float64(x) + .5) * cellWidth }
func middle(y int) float64 { return (float64(y) + .5) * cellHeight }

// box returns the opposite corner of the box whose upper left corner is at x, y.
func (d drawing) box(x, y int) (right, bottom int, ok bool) {
	if d.at(x, y) != '┌' {
		return 0, 0, false
	}
	right, bottom = x+1, y+1
	for strings.ContainsRune("─╌┬┴┼▲▼", d.at(right, y)) {
		right++
	}
	for strings.ContainsRune("│┆├┤┼►◄", d.at(x, bottom)) {
		bottom++
	}
	return right, bottom, d.at(right, y) == '┐' && d.at(x, bottom) == '└' && d.at(right, bottom) == '┘'
}

// fill is the colour of a box: that of its first line of text.
func (d drawing) fill(x, y, right, bottom int) string {
	for row := y + 1; row < bottom; row++ {
		if first := strings.TrimSpace(string(d.rows[row][x+1 : right])); first != "" {
			for word, colour := range d.colour {
				if strings.HasPrefix(first, word) {
					return colour
				}
			}
			break
		}
	}
	return fills["0"]
}

// line adds a character of a box or a line to path, and the head of an arrow to
// b. Corners are round.
func (d drawing) line(b, path *strings.Builder, x, y int, r rune) {
	cx, cy := centre(x), middle(y)
	end := map[rune][2]float64{'u': {cx, cy - cellHeight/2}, 'r': {cx + cellWidth/2, cy}, 'd': {cx, cy + cellHeight/2}, 'l': {cx - cellWidth/2, cy}}
	s := sides[r]
	if strings.ContainsRune("┌┐└┘", r) {
		from, to := end[rune(s[0])], end[rune(s[1])]
		fmt.Fprintf(path, "M%.1f %.1fQ%.1f %.1f %.1f %.1f", from[0], from[1], cx, cy, to[0], to[1])
	} else {
		for _, side := range s {
			fmt.Fprintf(path, "M%.1f %.1fL%.1f %.1f", cx, cy, end[side][0], end[side][1])
		}
	}
	if head := heads[r]; head != "" {
		fmt.Fprintf(b, `<path transform="translate(%.1f %.1f) scale(%.1f %d)" d="%s" fill="#475569"/>`+"\n", cx, cy, cellWidth*1.1, cellHeight, head)
	}
}

// text writes words. The first words inside a box, up to a colon, are its name, in
// bold.
func (d drawing) text(b *strings.Builder, x, y int, words string) {
	left := x
	for left > 0 && sides[d.at(left, y)] == "" {
		left--
	}
	name, rest := "", words
	if strings.ContainsRune("│┤├", d.at(left, y)) && strings.ContainsRune("┌├", d.at(left, y-1)) && strings.TrimSpace(string(d.rows[y][left+1:x])) == "" {
		if name, rest, _ = strings.Cut(words, ":"); rest != "" {
			name += ":"
		}
	}
	for _, part := range []struct{ words, weight string }{{name, ` font-weight="bold"`}, {rest, ""}} {
		if length := float64(len([]rune(part.words))) * cellWidth; length > 0 {
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13.5" fill="#0f172a"%s xml:space="preserve">%s</text>`+"\n",
				float64(x)*cellWidth, middle(y)+5, length, part.weight, html.EscapeString(part.words))
			x += len([]rune(part.words))
		}
	}
}
