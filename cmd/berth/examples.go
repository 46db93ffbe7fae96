package main

import (
	_ "embed"
	"strings"

	"github.com/spf13/cobra"
)

// examples has a section for each command: the command, and below it lines that
// begin with two spaces.
//
//go:embed examples.txt
var examples string

// addExamples gives the commands below root their examples, for --help and the
// man pages.
func addExamples(root *cobra.Command) {
	for section := range strings.SplitSeq(strings.TrimSpace(examples), "\n\n") {
		path, lines, _ := strings.Cut(section, "\n")
		if cmd, _, err := root.Find(strings.Fields(path)[1:]); err == nil {
			cmd.Example = lines
		}
	}
}
