package scp

import (
	"errors"
	iofs "io/fs"
	"slices"
	"strings"
	"syscall"

	"berth/fs"
)

// Bounds on what one command line may ask for.
const (
	maxMatches = 100_000
	maxBytes   = 4 << 20    // of all names that match; a system takes command lines of half as many
	maxLooked  = 10_000_000 // directory entries; a long pattern counts for several
	perEntry   = 1 << 10    // steps of match that count as one more entry
)

var (
	errTooMany = errors.New("too many names match")
	errClosing = errors.New("the server is closing")
	errUnread  = errors.New("a directory could not be read")
)

// answers are the errors which say that a name leads to nothing that the user may see. After
// any other error it is not known what is there.
var answers = []error{iofs.ErrNotExist, iofs.ErrPermission, fs.ErrFolderMissing, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG}

// unread returns errUnread if err is no answer.
func unread(err error) error {
	if err == nil || slices.ContainsFunc(answers, func(is error) bool { return errors.Is(err, is) }) {
		return nil
	}
	return errUnread
}

// A glob expands patterns over a view, until done is closed.
type glob struct {
	view
	done   <-chan struct{}
	looked int
}

// expand returns the paths that match pattern, as the client would write them without
// wildcards: braces in their order, matches sorted. A word that matches nothing
// is returned as it is, as in a shell, and is then reported as missing.
func (g *glob) expand(pattern string) ([]string, error) {
	words, ok := braces(pattern)
	if !ok {
		return nil, errTooMany
	}
	var paths []string
	size := 0
	for _, word := range words {
		if word == "" && pattern != "" {
			continue // "{a,}" is one word, as in a shell
		}
		word = tilde(word)
		found, err := g.matches(word)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			found = []string{unescape(word)}
		}
		for _, p := range found {
			size += len(p)
		}
		if len(paths)+len(found) > maxMatches || size > maxBytes {
			return nil, errTooMany
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

// matches walks word from component to component. Without a wildcard in word it
// finds nothing.
func (g *glob) matches(word string) ([]string, error) {
	if !hasMeta(word) {
		return nil, nil
	}
	paths := []string{""}
	for word != "" {
		var component string
		component, word = cutComponent(word)
		next, err := g.step(paths, component, word == "")
		if err != nil {
			return nil, err
		}
		paths = next
	}
	return paths, nil
}

// cutComponent splits after the first run of slashes.
func cutComponent(word string) (component, rest string) {
	i := strings.IndexByte(word, '/')
	if i < 0 {
		return word, ""
	}
	rest = strings.TrimLeft(word[i:], "/")
	return word[:len(word)-len(rest)], rest
}

// step adds one component to each path, and returns the paths that exist and
// match.
func (g *glob) step(paths []string, component string, last bool) ([]string, error) {
	name := strings.TrimRight(component, "/")
	slashes := component[len(name):]
	var next []string
	size := 0
	add := func(p string) {
		next = append(next, p)
		size += len(p)
	}
	for _, dir := range paths {
		if !hasMeta(name) {
			p := dir + unescape(name) + slashes
			if last {
				if there, err := g.exists(p); err != nil {
					return nil, err
				} else if !there {
					continue
				}
			}
			add(p)
			continue
		}
		found, err := g.entries(dir, name)
		if err != nil {
			return nil, err
		}
		for _, n := range found {
			if slashes != "" {
				if is, err := g.isDir(dir + n); err != nil {
					return nil, err
				} else if !is {
					continue
				}
			}
			add(dir + n + slashes)
			if len(next) > maxMatches || size > maxBytes {
				return nil, errTooMany
			}
		}
	}
	return next, nil
}

// entries are the names in dir that match, sorted. What is no directory that the user may
// list has none. A listing that ends early must not pass for all that there is.
func (g *glob) entries(dir, pattern string) ([]string, error) {
	var found []string
	size := 0
	name, err := g.name(dir)
	if err != nil {
		return nil, nil
	}
	before := g.looked
	for fi, err := range g.files.ReadDir(name) {
		switch {
		case err == nil:
		case before == g.looked:
			return nil, unread(err)
		default:
			return nil, errUnread
		}
		select {
		case <-g.done:
			return nil, errClosing
		default:
		}
		if g.looked += 1 + len(pattern)*len(fi.Name())/perEntry; g.looked > maxLooked || len(found) > maxMatches || size > maxBytes {
			return nil, errTooMany
		}
		if match(pattern, fi.Name()) {
			found = append(found, fi.Name())
			size += len(fi.Name())
		}
	}
	slices.Sort(found)
	return found, nil
}

func (g *glob) exists(p string) (bool, error) {
	name, err := g.name(p)
	if err != nil {
		return false, nil
	}
	_, err = g.files.Lstat(name)
	return err == nil, unread(err)
}

func (g *glob) isDir(p string) (bool, error) {
	name, err := g.name(p)
	if err != nil {
		return false, nil
	}
	fi, err := g.files.Stat(name)
	return err == nil && fi.IsDir(), unread(err)
}
