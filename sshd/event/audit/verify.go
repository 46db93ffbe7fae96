package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A Verifier checks the chain of events files.
type Verifier struct {
	Keys     []string                                 // fingerprints of the keys that may have signed; none: any
	Broken   func(file string, line int, what string) // is called for each place where the chain is broken
	Progress func(file string, read, size int64)      // may be nil
	Failed   func(file string, err error)             // is called for a file that cannot be read to its end; nil: Verify ends there

	Files        int
	Lines        uint64            // that are in the chain
	Breaks       int               // places where the chain is broken
	Unchained    uint64            // lines before the beginning of the chain, about which nothing is proved
	Cut          int               // lines that a crash cut off, as checkpoints say
	Unsigned     uint64            // lines after the last signature
	Incomplete   bool              // the last line has no end: it is being written, or was cut off
	Signatures   map[string]uint64 // by fingerprint of the key
	First, Since string            // times of the first line and of the last signature

	each    func(place, []byte)    // is called for each line after its check; may be nil
	skip    func(file string) bool // reports which files are not read; may be nil
	last    link
	started bool
	loose   []byte // text without a link since the last line with one
	pending []place
}

type place struct {
	file string
	line int
}

// Verify checks the lines of files. Of one file it finds by itself those that became
// full before; several are put into order by their first lines. The
// error says what could not be read.
func (v *Verifier) Verify(files ...string) error {
	defer v.vouch(false)
	v.Signatures = map[string]uint64{}
	if len(files) != 1 {
		first := map[string]uint64{} // numbers of first lines; 0 before there was a chain
		times := map[string]string{}
		for _, path := range files {
			f, err := openRead(path)
			if err != nil {
				return err
			}
			line, _ := bufio.NewReaderSize(f, mostLine).ReadSlice('\n')
			_, l, _ := cutLink(bytes.TrimSuffix(line, []byte{'\n'}))
			first[path], times[path] = l.number, member(line, "time")
			f.file.Close()
		}
		files = slices.Clone(files)
		slices.SortStableFunc(files, func(a, b string) int {
			return cmp.Or(cmp.Compare(first[a], first[b]), strings.Compare(times[a], times[b]))
		})
		return v.all(files)
	}
	live, err := openRead(files[0]) // first: it may become full at any moment
	if err != nil {
		return err
	}
	defer live.file.Close()
	older, err := series(files[0], live.file)
	if err != nil {
		return err
	}
	if err := v.all(older); err != nil {
		return err
	}
	return v.failed(files[0], v.read(files[0], live))
}

// failed reports err, and returns it if nothing more is to be read.
func (v *Verifier) failed(file string, err error) error {
	if err == nil || v.Failed == nil {
		return err
	}
	v.Failed(file, err)
	return nil
}

func (v *Verifier) all(files []string) error {
	for _, path := range files {
		if v.skip != nil && v.skip(path) {
			continue
		}
		f, err := openRead(path)
		if err == nil {
			err = v.read(path, f)
			f.file.Close()
		}
		if err := v.failed(path, err); err != nil {
			return err
		}
	}
	return nil
}

// mostLine is more than any line takes.
const mostLine = 1 << 20

func (v *Verifier) read(path string, f *reading) error {
	v.Files++
	r := bufio.NewReaderSize(f, mostLine)
	for n := 1; ; n++ {
		if v.Progress != nil && n%1000 == 1 {
			if info, err := f.file.Stat(); err == nil {
				at, _ := f.file.Seek(0, io.SeekCurrent)
				v.Progress(path, at, info.Size())
			}
		}
		line, err := r.ReadSlice('\n')
		if v.Incomplete { // the file before this one ends inside a line
			v.broken(path, n, "the line before it has no end: it was cut")
			v.Incomplete = false
		}
		switch {
		case err == nil:
			v.line(place{path, n}, line[:len(line)-1])
			if v.each != nil {
				v.each(place{path, n}, line[:len(line)-1])
			}
		case err == io.EOF:
			v.Incomplete = len(line) > 0
			return nil
		case err == bufio.ErrBufferFull:
			v.broken(path, n, "is longer than any line of an events file")
			for err == bufio.ErrBufferFull {
				_, err = r.ReadSlice('\n')
			}
		default: // a damaged archive holds no more lines
			return fmt.Errorf("%s: after line %d: %w", path, n-1, err)
		}
	}
}

func (v *Verifier) broken(file string, line int, what string) {
	v.Breaks++
	v.Broken(file, line, what)
}

// checkpoint is what matters of the line of an EventsCheckpoint.
type checkpoint struct {
	Fields struct{ Previous, Broken, Signature string }
}

func (v *Verifier) line(at place, line []byte) {
	body, l, ok := cutLink(line)
	if !ok {
		v.unchained(at, line)
		return
	}
	var c checkpoint
	isCheckpoint := bytes.Contains(body, []byte(`"type":"events_checkpoint"`)) && json.Unmarshal(line, &c) == nil
	previous, _ := parseLink([]byte(c.Fields.Previous))
	v.vouch(isCheckpoint && c.Fields.Broken == brokenHash(v.loose))

	broken := func(format string, a ...any) { v.broken(at.file, at.line, fmt.Sprintf(format, a...)) }
	if !v.started {
		v.First, v.last = member(line, "time"), previous
	}
	switch expected := v.last.next(body); {
	case l == expected && isCheckpoint && previous != v.last:
		broken("the checkpoint is of %s and not of the line before it: lines before it were changed", previous)
	case l == expected:
	case !v.started && !isCheckpoint:
		broken("the lines before it are missing: it is number %d, and no checkpoint", l.number)
	case isCheckpoint && previous.number == 0 && v.started:
		broken("a new chain begins here: the lines before it were replaced, or come from elsewhere")
	case l.number > expected.number:
		broken("%d lines are missing before it", l.number-expected.number)
	case l.number < expected.number:
		broken("it has number %d after %d: lines were inserted, repeated or moved", l.number, v.last.number)
	default:
		broken("it does not follow on the line before: one of the two was changed")
	}
	if isCheckpoint {
		v.signature(c, broken, member(line, "time"))
	} else {
		v.Unsigned++
	}
	v.started, v.last = true, l
	v.Lines++
}

// signature checks the signature of a checkpoint. A valid one proves the
// lines before it.
func (v *Verifier) signature(c checkpoint, broken func(string, ...any), at string) {
	if c.Fields.Signature == "" {
		v.Unsigned++
		return
	}
	blob, err := base64.StdEncoding.DecodeString(c.Fields.Signature)
	var key ssh.PublicKey
	if err == nil {
		key, err = unseal(blob, []byte(c.Fields.Previous))
	}
	if err != nil {
		broken("the checkpoint proves nothing: %v", err)
		return
	}
	name := ssh.FingerprintSHA256(key)
	if len(v.Keys) > 0 && !slices.Contains(v.Keys, name) {
		broken("the checkpoint is signed with %s, which is no key of this server", name)
		return
	}
	v.Signatures[name]++
	v.Unsigned, v.Since = 0, at
}

// unchained takes a line without a link. Text that a crash has left is no JSON,
// and the next checkpoint has its hash.
func (v *Verifier) unchained(at place, line []byte) {
	switch {
	case json.Valid(line) && !v.started:
		v.Unchained++
		v.First = cmp.Or(v.First, member(line, "time"))
	case json.Valid(line):
		v.broken(at.file, at.line, "has no chain: it was inserted, or events.chain was off")
	default:
		v.pending = append(v.pending, at)
		if len(v.loose) < mostLine {
			v.loose = append(append(v.loose, line...), '\n')
		}
	}
}

// vouch is called at the end of text without links. known is true if a
// checkpoint has the hash of the text.
func (v *Verifier) vouch(known bool) {
	for _, at := range v.pending {
		if known {
			v.Cut++
		} else {
			v.broken(at.file, at.line, "is no event: it was changed or inserted")
		}
	}
	v.pending, v.loose = nil, nil
}
