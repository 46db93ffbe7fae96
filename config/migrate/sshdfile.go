package migrate

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A sshdBlock is what counts for those who meet a Match line. The first one is what
// counts for everybody else.
type sshdBlock struct {
	place    string
	criteria []string // of the Match line: pairs of a name and a value
	values   map[string][]string
	places   map[string]string // of the values
	spelled  map[string]string // the keywords, as they are written
}

// several are the keywords of which every line counts, not only the first.
var several = slices.Concat([]string{"port", "listenaddress", "hostkey", "hostcertificate"}, admitting)

// admitting are the keywords that say who may log in at all.
var admitting = []string{"allowusers", "allowgroups", "denyusers", "denygroups"}

// effective is what counts in a block for a keyword: its own value, or that of all.
func (b *sshdBlock) effective(key string, global *sshdBlock) []string {
	if v := b.values[key]; v != nil {
		return v
	}
	return global.values[key]
}

// parse reads a file into block, and the blocks that begin in it.
func (s *sshd) parse(file, dir string, block *sshdBlock, depth int) error {
	const deepest = 16
	if depth > deepest {
		return fmt.Errorf("%s: Include is nested too deeply", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	within := block.criteria // of the block that includes the file: blocks in it need both
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		place := fmt.Sprintf("%s:%d", file, n)
		words, err := sshdWords(lines.Text())
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		if len(words) == 0 {
			continue
		}
		key, args := strings.ToLower(words[0]), words[1:]
		if key == "challengeresponseauthentication" || key == "skeyauthentication" {
			key = "kbdinteractiveauthentication"
		}
		if len(args) == 0 {
			return fmt.Errorf("%s: %s: has no value", place, words[0])
		}
		_, known := block.values[key]
		if !known {
			block.spelled[key] = words[0]
		}
		switch {
		case key == "match":
			block = &sshdBlock{place: place, criteria: slices.Concat(within, args), values: map[string][]string{}, places: map[string]string{}, spelled: map[string]string{}}
			s.blocks = append(s.blocks, block)
		case key == "include":
			for _, pattern := range args {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(dir, pattern)
				}
				more, err := filepath.Glob(pattern)
				if err != nil {
					return fmt.Errorf("%s: Include %s: %w", place, pattern, err)
				}
				for _, name := range more {
					if err := s.parse(name, dir, block, depth+1); err != nil {
						return err
					}
				}
			}
		case slices.Contains(several, key):
			block.values[key] = append(block.values[key], args...)
			block.places[key] = place
		case !known: // the first one counts
			block.values[key], block.places[key] = args, place
		}
	}
	return lines.Err()
}

// sshdWords splits a line. Quotes keep spaces together, and # begins a comment.
func sshdWords(line string) (words []string, err error) {
	line = strings.TrimSpace(line)
	if key, value, found := strings.Cut(line, "="); found && !strings.ContainsAny(key, " \t\"#") {
		line = key + " " + value
	}
	for line != "" && line[0] != '#' {
		end := strings.IndexAny(line, " \t")
		if line[0] == '"' {
			close := strings.IndexByte(line[1:], '"')
			if close < 0 {
				return nil, errors.New("a quote has no end")
			}
			words, line = append(words, line[1:close+1]), line[close+2:]
		} else if end < 0 {
			words, line = append(words, line), ""
		} else {
			words, line = append(words, line[:end]), line[end:]
		}
		line = strings.TrimLeft(line, " \t")
	}
	return words, nil
}
