package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/sshd/admin"
)

func supportBundleCommand() *cobra.Command {
	return configCommand("support-bundle FILE.tar.gz", "Collect information for a person who helps you",
		`Support-bundle writes one archive: the version, the configuration without
passwords, what "berth check --offline" finds, the last events and lines of the
journal. From the running server, through admin.socket, it adds the status, sessions,
penalties, metrics and stacks. If a part cannot be collected, the archive has the
reason. The archive has no passwords and no keys. It has names of people, addresses
and names of files, so look at it before you send it.`, cobra.ExactArgs(1), func(cmd *cobra.Command, cfg *config.Config, args []string) error {
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, iofs.ErrExist) {
				return existsAlready(args[0])
			}
			if err != nil {
				return err
			}
			missing, err := writeBundle(cmd.Context(), f, cfg)
			if err = errors.Join(err, f.Close()); err != nil {
				return errors.Join(err, os.Remove(args[0]))
			}
			for _, m := range missing {
				fmt.Fprintln(cmd.ErrOrStderr(), "missing:", m)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: look at it before you send it, it has names of people and files\n", args[0])
			return err
		})
}

// A part is a file of a support bundle.
type part struct {
	name string
	read func(context.Context) ([]byte, error)
}

const (
	partWait  = 20 * time.Second // for one part
	childWait = time.Second      // for the programs that a program leaves behind when it is ended
)

// within returns what p reads in d. A file or a program on a server that has gone away may
// never answer: what it reads later is lost.
func (p part) within(ctx context.Context, d time.Duration) ([]byte, error) {
	type result struct {
		content []byte
		err     error
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	done := make(chan result, 1)
	go func() {
		defer cancel()
		content, err := p.read(ctx)
		done <- result{content, err}
	}()
	select {
	case r := <-done:
		return r.content, r.err
	case <-time.After(d + 2*childWait):
		return nil, fmt.Errorf("no answer within %v", d)
	}
}

// writeBundle writes an archive and returns what is missing in it, with the reason.
func writeBundle(ctx context.Context, out io.Writer, cfg *config.Config) (missing []string, err error) {
	z := gzip.NewWriter(out)
	t := tar.NewWriter(z)
	for _, p := range bundleParts(cfg) {
		content, err := p.within(ctx, partWait)
		if err != nil {
			missing = append(missing, p.name+": "+err.Error())
			content = fmt.Appendf(content, "\nberth support-bundle: %v\n", err)
		}
		h := &tar.Header{Name: "berth-support/" + p.name, Mode: 0o600, Size: int64(len(content)), ModTime: time.Now()}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(content); err != nil {
			return nil, err
		}
	}
	return missing, errors.Join(t.Close(), z.Close())
}

func bundleParts(cfg *config.Config) []part {
	server := admin.Dial(cfg.Admin.Socket)
	return []part{
		{"version.txt", runs("/proc/self/exe", "version")},
		{"machine.txt", runs("sh", "-c", "uname -a; cat /etc/os-release; nproc; free; df -h; ulimit -a")},
		{"configuration.yaml", func(context.Context) ([]byte, error) {
			var b bytes.Buffer
			err := cfg.Write(&b)
			return b.Bytes(), err
		}},
		{"check.txt", runs("/proc/self/exe", "check", "--offline", "--config", cfg.Path)},
		{"events.jsonl", func(context.Context) ([]byte, error) {
			if cfg.Events.OnDisk() == "" {
				return nil, fmt.Errorf("events.file: %q: events are not kept in a file", cfg.Events.File)
			}
			return lastLines(cfg.Events.File)
		}},
		{"journal.txt", runs("journalctl", "--unit", "berth", "--lines", "5000", "--no-pager", "--output", "short-iso")},
		{"status.json", asJSON(server.Status)},
		{"sessions.json", asJSON(server.Sessions)},
		{"penalties.json", asJSON(server.Penalties)},
		{"metrics.txt", server.Metrics},
		{"stacks.txt", server.Stacks},
	}
}

// asJSON returns what ask returns, for people.
func asJSON[T any](ask func(context.Context) (T, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		v, err := ask(ctx)
		if err != nil {
			return nil, err
		}
		return json.MarshalIndent(v, "", "  ")
	}
}

// runs returns what a program prints, until the context ends.
func runs(program string, args ...string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.WaitDelay = childWait // otherwise a "df" that a shell has started could delay the end
		return cmd.CombinedOutput()
	}
}

// lastLines returns the end of a file, from the beginning of a line on.
func lastLines(path string) ([]byte, error) {
	const most = 4 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(info.Size()-most, 0), most))
	if info.Size() > most {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text, err
}
