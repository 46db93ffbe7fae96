package main

import (
	"encoding/xml"
	"html"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPicturesAreDrawn holds each picture to the text that it is drawn from.
func TestPicturesAreDrawn(t *testing.T) {
	texts, err := filepath.Glob("../../docs/pictures/*.txt")
	if err != nil || len(texts) < 3 {
		t.Fatalf("texts: %v, %v", texts, err)
	}
	for _, file := range texts {
		want, err := draw(file)
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, file, want)
		if got, err := os.ReadFile(strings.TrimSuffix(file, ".txt") + ".svg"); err != nil || string(got) != want {
			t.Errorf("%s has changed: run make pictures (%v)", file, err)
		}
	}
}

// TestRecordings: each scene has a picture, a page shows it, and no password is in it.
func TestRecordings(t *testing.T) {
	var pages string
	for _, page := range []string{"../../README.md", "../../docs/for-users.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		pages += string(text)
	}
	for name, scene := range scenes {
		picture, err := os.ReadFile("../../docs/pictures/" + name + ".svg")
		if err != nil {
			t.Errorf("%v: run make recording", err)
			continue
		}
		wellFormed(t, name, string(picture))
		if !strings.Contains(pages, "pictures/"+name+".svg)") {
			t.Errorf("no page shows %s", name)
		}
		for _, l := range scene {
			if secret := strings.Contains(strings.ToLower(l.prompt), "password"); secret == strings.Contains(string(picture), html.EscapeString(l.text)) && l.text != "" && name != "demo" {
				t.Errorf("%s: %q after %q: in the picture: %t", name, l.text, l.prompt, secret)
			}
		}
	}
}

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

func TestDraw(t *testing.T) {
	got := parse("┌─────────┐\n│ one: a<b├─►\n│ two     │\n└─────────┘\n\n1: one\n").svg("A title")
	for _, want := range []string{
		"<title>A title</title>",
		`rx="6" fill="#dbeafe"`,                               // the colour of the legend
		`font-weight="bold" xml:space="preserve">one:</text>`, // the name of the box
		"> a&lt;b</text>", ">two</text>",
		"M-.5-.2 L.5 0 L-.5.2Z", // the arrow
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not once in:\n%s", want, got)
		}
	}
}

func TestTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"a\r\nb":                           "a|b█",
		"50%\r100%":                        "100%█",
		"ab\b\x1b[Kc":                      "ac█",
		"\x1b[1;32mok\x1b[0m":              "ok█",
		"a\tb":                             "a       b█",
		strings.Repeat("x", columns) + "y": strings.Repeat("x", columns) + "|y█",
	} {
		var s terminal
		for _, r := range text { // in pieces, as a program may write it
			s.write(string(r))
		}
		if got := strings.Join(s.screen(), "|"); got != want {
			t.Errorf("%q shows %q, want %q", text, got, want)
		}
	}
	var s terminal
	s.write(strings.Repeat("\n", 2*lines) + "last")
	if got := s.screen(); len(got) != lines || got[lines-1] != "last█" {
		t.Errorf("the screen has %d lines, the last is %q", len(got), got[len(got)-1])
	}
}

func TestFilm(t *testing.T) {
	got := film("x", []frame{{0, []string{"$ a"}}, {time.Second, []string{"$ a"}}, {2 * time.Second, []string{"$ a", "b & c"}}}, 4*time.Second)
	wellFormed(t, "film", got)
	for text, n := range map[string]int{"<use ": 3, ">$ a</text>": 1, "b &amp; c": 1, "50.000%{": 1, "25.000%{": 0} {
		if strings.Count(got, text) != n {
			t.Errorf("%q is %d times in it, want %d:\n%s", text, strings.Count(got, text), n, got)
		}
	}
}
