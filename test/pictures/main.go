package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	dir := "docs/pictures"
	var err error
	if len(os.Args) > 1 && os.Args[1] == "record" {
		for _, name := range slices.Sorted(maps.Keys(scenes)) {
			if len(os.Args) == 2 || slices.Contains(os.Args[2:], name) {
				err = errors.Join(err, record(dir, name))
			}
		}
	} else {
		err = drawAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// drawAll makes NAME.svg of every NAME.txt. The first line of a text is its title.
func drawAll(dir string) error {
	texts, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, file := range texts {
		picture, err := draw(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(strings.TrimSuffix(file, ".txt")+".svg", []byte(picture), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func draw(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	title, rest, _ := strings.Cut(string(text), "\n")
	return parse(strings.TrimPrefix(rest, "\n")).svg(title), nil
}
