package scp

import (
	"errors"
	"fmt"
	"strings"
)

// split cuts a command line into words as POSIX says (Shell Command Language,
// sections 2.2 and 2.3). A quoted character that has a meaning in patterns
// gets a backslash. With an error, split returns the words before the error.
func split(line string) ([]string, error) {
	if len(line) > maxCommand || strings.IndexByte(line, 0) >= 0 {
		return nil, errors.New("the command line is too long, or contains a NUL byte")
	}
	var words []string
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, nil
		}
		if len(words) == maxWords {
			return words, errors.New("too many words")
		}
		word, rest, err := cutWord(line)
		if err != nil {
			return words, err
		}
		words, line = append(words, word), rest
	}
}

// cutWord reads the word that line begins with.
func cutWord(line string) (word, rest string, err error) {
	var w strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t':
			return w.String(), line[i:], nil
		case '\\':
			i++
			if i == len(line) {
				return "", "", errors.New("backslash at the end")
			}
			if line[i] != '\n' { // a joined line
				literal(&w, line[i])
			}
		case '\'', '"':
			n, err := quoted(&w, line[i+1:], c)
			if err != nil {
				return "", "", err
			}
			i += n
		case ';', '&', '|', '<', '>', '\n', '\r':
			return "", "", fmt.Errorf("there is no shell here; put %q in quotes if it is part of a name", c)
		default:
			w.WriteByte(c)
		}
	}
	return w.String(), "", nil
}

// quoted reads up to the closing quote. It returns the number of bytes with the quote.
func quoted(w *strings.Builder, s string, quote byte) (int, error) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == quote:
			return i + 1, nil
		case quote == '"' && c == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0:
			i++
			if s[i] != '\n' {
				literal(w, s[i])
			}
		default:
			literal(w, c)
		}
	}
	return 0, fmt.Errorf("closing %q is missing", quote)
}

// special are the characters that may mean something in a pattern.
const special = `\*?[]{},!^-~`

// literal adds c so that it has no special meaning in a pattern.
func literal(w *strings.Builder, c byte) {
	if strings.IndexByte(special, c) >= 0 {
		w.WriteByte('\\')
	}
	w.WriteByte(c)
}

// unescape returns the name that a pattern without wildcards means.
func unescape(pattern string) string {
	if strings.IndexByte(pattern, '\\') < 0 {
		return pattern
	}
	var w strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		w.WriteByte(pattern[i])
	}
	return w.String()
}
