// Patches applies Berth's changes to golang.org/x/crypto/ssh and makes a module
// file that builds with the result. The module itself stays in go.mod unmodified,
// and no copy of it is in the repository.
//
//	go run ./patches apply        copies the module to .patched/crypto, changes it,
//	                              and writes .patched/go.mod
//	go build -modfile=.patched/go.mod ./cmd/berth
//
// Each other file of this folder is one patch. It says why the patch exists and when
// it can be removed. An edit names the text that it replaces. If the text does not occur
// exactly once, for example after an update of the module, nothing is written and the
// error names the patch. docs/adr/0009-patches-for-the-ssh-library.md has the reasons.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "golang.org/x/crypto"

func main() {
	if len(os.Args) != 2 || os.Args[1] != "apply" {
		fmt.Fprintln(os.Stderr, "usage: go run ./patches apply")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "patches:", err)
		os.Exit(1)
	}
}

// run works in the folder of go.mod.
func run() error {
	download := exec.Command("go", "mod", "download", "-json", module)
	download.Stderr = os.Stderr
	out, failed := download.Output()
	var cached struct{ Dir, Error string }
	if err := json.Unmarshal(out, &cached); err != nil {
		return fmt.Errorf("download %s: %w", module, cmp.Or(failed, err))
	}
	if failed != nil { // with -json the reason is in the output
		return fmt.Errorf("download %s: %s", module, cached.Error)
	}
	changed, err := apply(os.DirFS(filepath.Join(cached.Dir, "ssh")), all)
	if err != nil {
		return err
	}
	return write(cached.Dir, ".patched", changed)
}

// write copies the module at src to dir/crypto, with the changed files of ssh and our
// tests of them. It writes the module files beside it, and go.mod last: if go.mod
// exists, everything else does too.
func write(src, dir string, changed map[string]string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, "crypto"), os.DirFS(src)); err != nil {
		return err
	}
	for name, text := range changed {
		file := filepath.Join(dir, "crypto", "ssh", name)
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // a copy of the cache is read-only
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{"patches/testdata/berth_test.go": "crypto/ssh/berth_test.go", "go.sum": "go.sum"} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o644); err != nil {
			return err
		}
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	mod = fmt.Appendf(mod, "\nreplace %s => ./%s/crypto\n", module, dir)
	return os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o644)
}

// A patch is one change of the library: edits of its files, and code that becomes
// a separate file, berth_NAME.go. Both together have about 40 lines at most.
type patch struct {
	name  string
	edits []edit
	code  string
}

// An edit replaces old with new in a function of a file. in is how the declaration of
// the function begins; empty means the whole file.
type edit struct{ file, in, old, new string }

// all are the patches in the order in which they are applied. Some change what others
// have added.
var all = []patch{
	unexpectedMessages, beforeLogin, endedReader, abandonedMethods, freeOffers, passwordChange, clientSignature, disconnectReason,
	oneWrite, keptBuffers, channelWindow, unreadData, smallPackets,
}

// apply returns the files that the patches change.
func apply(ssh fs.FS, patches []patch) (map[string]string, error) {
	changed := map[string]string{}
	for _, p := range patches {
		for _, e := range p.edits {
			text, known := changed[e.file]
			if !known {
				b, err := fs.ReadFile(ssh, e.file)
				if err != nil {
					return nil, fmt.Errorf("patch %q: %w", p.name, err)
				}
				text = string(b)
			}
			text, err := e.apply(text)
			if err != nil {
				return nil, fmt.Errorf("patch %q, %s: %w", p.name, e.file, err)
			}
			changed[e.file] = text
		}
		if p.code != "" {
			changed["berth_"+p.name+".go"] = "package ssh\n" + p.code
		}
	}
	for name, text := range changed {
		formatted, err := format.Source([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s after all patches: %w", name, err)
		}
		changed[name] = string(formatted)
	}
	return changed, nil
}

func (e edit) apply(text string) (string, error) {
	from, to := 0, len(text)
	if e.in != "" {
		if n := strings.Count(text, "\n"+e.in); n != 1 {
			return "", fmt.Errorf("%q occurs %d times, want once", e.in, n)
		}
		from = strings.Index(text, "\n"+e.in)
		length := strings.Index(text[from:], "\n}\n")
		if length < 0 {
			return "", fmt.Errorf("%q has no end", e.in)
		}
		to = from + length + len("\n}\n")
	}
	if n := strings.Count(text[from:to], e.old); n != 1 {
		return "", fmt.Errorf("in %q, %q occurs %d times, want once", e.in, e.old, n)
	}
	return text[:from] + strings.Replace(text[from:to], e.old, e.new, 1) + text[to:], nil
}
