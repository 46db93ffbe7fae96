package scp

import (
	"slices"
	"strings"
)

// How many words braces may make of one, and of how many bytes; and how many braces may
// open in one.
const (
	maxBraces           = 256
	maxAlternatives     = 1024
	maxAlternativeBytes = 1 << 20
)

// braces expands {a,b} as shells do, also nested, and leaves other braces alone. It
// reports false when there are too many words, or too long ones.
func braces(pattern string) ([]string, bool) {
	if strings.Count(pattern, "{") > maxBraces {
		return nil, false
	}
	words := []string{pattern}
	size := len(pattern) // of all words
	for i := 0; i < len(words); {
		before, choices, after, found := cutBraces(words[i])
		if !found {
			i++
			continue
		}
		size -= len(words[i])
		for _, c := range choices {
			size += len(before) + len(c) + len(after)
		}
		if len(words)-1+len(choices) > maxAlternatives || size > maxAlternativeBytes {
			return nil, false
		}
		for j, c := range choices {
			choices[j] = before + c + after
		}
		words = slices.Replace(words, i, i+1, choices...)
	}
	return words, true
}

// cutBraces finds the first group of braces that has a comma.
func cutBraces(p string) (before string, choices []string, after string, found bool) {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			choices, end := cutGroup(p[i+1:])
			if len(choices) > 1 {
				return p[:i], choices, p[i+1+end:], true
			}
		}
	}
	return p, nil, "", false
}

// cutGroup reads from after an opening brace to the brace that closes it. It returns
// the parts between commas and the length of what it has read. Without a closing
// brace there are no parts.
func cutGroup(p string) (parts []string, end int) {
	depth, start := 0, 0
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return append(parts, p[start:i]), i + 1
			}
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, p[start:i])
				start = i + 1
			}
		}
	}
	return nil, 0
}

// hasMeta reports whether pattern is more than a name.
func hasMeta(pattern string) bool {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' {
			i++
		} else if strings.IndexByte("*?[", pattern[i]) >= 0 {
			return true
		}
	}
	return false
}
