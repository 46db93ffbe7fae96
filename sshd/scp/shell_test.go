package scp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWordsAsBash makes up thousands of words of quotes, backslashes, braces and
// wildcards, and sees to it that they become the same names as in bash, which is
// what OpenSSH's server has read command lines.
func TestWordsAsBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatalf("bash is needed: %v", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "ab", "a b", "ba", "a-b", "[a]", "a*", ".a", "a,b", "{a,b}", "d/a", "d/b", "d/.b", "d/e/a", "a]", "!a", "ä"} {
		write(t, filepath.Join(dir, name), "", 0o600)
	}
	words := madeUp(5000)
	var script bytes.Buffer
	for _, w := range words {
		fmt.Fprintf(&script, "printf '%%s\\0' %s; printf 'END\\0'\n", w)
	}
	cmd := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile")
	cmd.Dir, cmd.Stdin, cmd.Env = dir, &script, append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bash: %v", err)
	}
	said := strings.Split(string(out), "END\x00")
	if len(said) != len(words)+1 {
		t.Fatalf("bash answered %d words of %d", len(said)-1, len(words))
	}
	wrong := 0
	for i, w := range words {
		want := strings.Split(strings.TrimSuffix(said[i], "\x00"), "\x00")
		c, err := Parse("scp -f -- " + w)
		if err != nil {
			t.Fatalf("Parse(%q): %v", w, err)
		}
		var got []string
		for _, p := range c.Paths {
			g := &glob{view: view{files: dirFS(dir)}}
			found, err := g.expand(p)
			if err != nil {
				t.Fatalf("expand %q: %v", p, err)
			}
			got = append(got, found...)
		}
		for i := range got { // bash has one slash for several where there are wildcards
			got[i] = slashes.ReplaceAllString(got[i], "/")
		}
		for i := range want {
			want[i] = slashes.ReplaceAllString(want[i], "/")
		}
		slices.Sort(got)
		slices.Sort(want) // and another order
		if !slices.Equal(got, want) {
			wrong++
			t.Errorf("%s becomes %q, want %q", w, got, want)
		}
		if wrong > 30 {
			t.Fatal("and more")
		}
	}
}

var slashes = regexp.MustCompile("/+")

// madeUp are n words that can be read: what split refuses, bash refuses too, or
// takes for more than a word.
func madeUp(n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "ab", "*", "?", "[", "]", "!", "^", "-", "{", "}", ",", `\`, "'", `"`, "/", "d", ".", " ", "ä", "{a,b}", "[ab]", "[!a]", "d/"}
	var words []string
	for len(words) < n {
		var w strings.Builder
		for range 1 + r.IntN(7) {
			w.WriteString(pieces[r.IntN(len(pieces))])
		}
		word := w.String()
		parts, err := split(word)
		outside := func(word string) bool { // of the directory, where bash could see
			return strings.HasPrefix(strings.TrimLeft(word, "{,"), "/") || strings.Contains(word, "..")
		}
		collating := strings.Contains(word, "[.") // [[.a.]], which nobody has ever typed
		if err == nil && len(parts) > 0 && !collating && !slices.ContainsFunc(parts, outside) {
			words = append(words, word)
		}
	}
	return words
}
