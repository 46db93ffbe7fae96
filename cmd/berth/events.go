package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"berth/sshd/event/audit"
	"berth/sshd/hostkey"
)

func eventsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Work with the record of what happened"}
	cmd.AddCommand(searchCommand(), verifyCommand())
	return cmd
}

// mostBreaks is how many places are printed; a damaged file can have any number.
const mostBreaks = 50

func verifyCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Find what was changed in events files",
		Long: `Verify checks that no line of events files was changed, cut, removed, inserted or
moved, and that the checkpoints are signed by the server. Of the file in use it
finds by itself the full files beside it, compressed or not. It prints each place
where the chain is broken.

It exits with 0 if all is intact, with 1 if something was changed or nothing is
signed, and with 2 if that could not be found out.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			fingerprints, err := fingerprintsOf(keys)
			if err != nil {
				return exitCode{2, err}
			}
			if heads := audit.Heads(files); len(heads) == 1 {
				files = heads // with all full files beside it
			}
			v := &audit.Verifier{Keys: fingerprints}
			out, progress := cmd.OutOrStdout(), progressLine{out: cmd.ErrOrStderr()}
			v.Progress = progress.ofFile
			v.Broken = func(file string, line int, what string) {
				if v.Breaks <= mostBreaks {
					progress.clear()
					fmt.Fprintf(out, "%s:%d: %s\n", file, line, what)
				}
			}
			err = v.Verify(files...)
			progress.clear()
			switch {
			case err != nil:
				return exitCode{2, err}
			case v.Lines == 0 && v.Breaks == 0:
				return exitCode{2, fmt.Errorf("%s: no line has a chain: nothing can be verified that was written without events.chain", strings.Join(files, ", "))}
			}
			return printVerdict(out, v)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "public host `key` that must have signed: a file, or a fingerprint such as SHA256:…; may be repeated")
	return cmd
}

// fingerprintsOf returns the fingerprints of keys, each a fingerprint or a file.
func fingerprintsOf(keys []string) (all []string, err error) {
	for _, k := range keys {
		if !strings.HasPrefix(k, "SHA256:") {
			text, err := os.ReadFile(k)
			if err != nil {
				return nil, err
			}
			key, err := hostkey.ParsePublic(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			k = ssh.FingerprintSHA256(key.Public)
		}
		all = append(all, k)
	}
	return all, nil
}

func printVerdict(out io.Writer, v *audit.Verifier) error {
	of := fmt.Sprintf("%s in %s, from %s", plural(int(v.Lines), "line", "lines"), plural(v.Files, "file", "files"), v.First)
	signers := slices.Sorted(maps.Keys(v.Signatures))
	switch {
	case v.Breaks > 0:
		fmt.Fprintf(out, "BROKEN in %s; %s\n", plural(v.Breaks, "place", "places"), of)
	case len(signers) == 0:
		fmt.Fprintf(out, "NOT PROVED, because no checkpoint has a signature; %s\n", of)
	default:
		fmt.Fprintf(out, "intact: %s, signed until %s by %s\n", of, v.Since, strings.Join(signers, ", "))
	}
	if len(v.Keys) == 0 && len(signers) > 0 {
		fmt.Fprintln(out, "note: compare the key with the server's: --key does it")
	}
	for _, note := range []struct {
		n    int
		what string
	}{
		{int(v.Unsigned), "after the last signature: somebody with write access could have changed or removed the end"},
		{v.Cut, "cut off by a crash, as the server has recorded"},
		{int(v.Unchained), "from before the chain began: nothing is proved of them"},
	} {
		if note.n > 0 {
			fmt.Fprintf(out, "note: %s %s\n", plural(note.n, "line", "lines"), note.what)
		}
	}
	if v.Incomplete {
		fmt.Fprintln(out, "note: the last line has no end: it is being written, or was cut off")
	}
	if v.Breaks > 0 || len(signers) == 0 {
		return errReported
	}
	return nil
}
