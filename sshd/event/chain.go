package event

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
)

const (
	signEvery = 1000            // lines, and
	signAfter = 5 * time.Minute // from the first line that no signature covers: the next checkpoint is due
)

// A link is the place of a line in the chain. Its text is the member "chain" of
// the line.
type link struct {
	number uint64            // of the line, from 1
	hash   [sha256.Size]byte // of the line and, by the link before, of all lines before
}

func (l link) append(b []byte) []byte {
	b = append(strconv.AppendUint(b, l.number, 10), ':')
	return base64.RawURLEncoding.AppendEncode(b, l.hash[:])
}

func (l link) String() string { return string(l.append(nil)) }

func parseLink(text []byte) (l link, ok bool) {
	number, hash, _ := bytes.Cut(text, []byte{':'})
	n, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil || len(hash) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return link{}, false
	}
	l.number = n
	_, err = base64.RawURLEncoding.Strict().Decode(l.hash[:], hash)
	return l, err == nil && bytes.Equal(l.append(nil), text)
}

// next returns the link of a line after the one of l. body is the line up to its
// member "chain".
func (l link) next(body []byte) link {
	text := append(append(l.append(make([]byte, 0, 1<<10)), '\n'), body...)
	return link{l.number + 1, sha256.Sum256(text)}
}

const linkMember = `,"chain":"`

// cutLink splits a line, without its end, into what next hashes and its link.
func cutLink(line []byte) (body []byte, l link, ok bool) {
	rest, closed := bytes.CutSuffix(line, []byte(`"}`))
	i := bytes.LastIndex(rest, []byte(linkMember))
	if !closed || i < 0 {
		return line, link{}, false
	}
	l, ok = parseLink(rest[i+len(linkMember):])
	return line[:i], l, ok
}

// A chain gives each line of a file its link. The lines of all files since the
// first are one chain, whichever process writes them. It is used with the lock of
// its output, and between processes with the one of lockFolder.
type chain struct {
	node string
	sign ssh.Signer  // nil: a checkpoint has no signature
	due  *time.Timer // wakes the writer for a checkpoint
	log  hclog.Logger

	last   link
	known  bool      // last is not zero by ignorance
	read   bool      // the end of the file in use was looked at
	begin  bool      // a checkpoint is due before anything else: this process or a file begins
	lines  int       // since the last checkpoint
	first  time.Time // when the first of them was written
	broken []byte    // text that a crash has left in the file, of no line, since the last checkpoint
}

// wants reports whether a checkpoint has to come now, or before further lines.
func (c *chain) wants(now time.Time, lines bool) bool {
	if c == nil {
		return false
	}
	signs := c.sign != nil && (c.lines >= signEvery || c.lines > 0 && now.Sub(c.first) >= signAfter)
	return signs || (c.begin || len(c.broken) > 0) && (lines || c.sign != nil)
}

// checkpoint returns a line that signs the chain up to here. The signature is one
// of "ssh-keygen -Y sign" over the link of the line before.
func (c *chain) checkpoint(now time.Time) []byte {
	e := Event{Type: EventsCheckpoint, Time: now, Fields: map[string]string{"previous": c.last.String()}}
	if len(c.broken) > 0 {
		e.Fields["broken"] = brokenHash(c.broken)
	}
	if c.sign != nil {
		sig, err := seal(c.sign, c.last.append(nil))
		if err != nil {
			e.Err = err
			c.log.Error("sign the events file", "error", err)
		} else {
			e.Fields["key"] = ssh.FingerprintSHA256(c.sign.PublicKey())
			e.Fields["signature"] = base64.StdEncoding.EncodeToString(sig)
		}
	}
	line, _ := c.append(nil, append(e.AppendJSON(nil, c.node), '\n'), c.last)
	return line
}

// brokenHash is what a checkpoint says about text that is no line.
func brokenHash(text []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(bytes.TrimRight(text, "\n")))
}

// append appends line with its link, which it returns; before is the link of the
// line before. No chain: the line as it is.
func (c *chain) append(b, line []byte, before link) ([]byte, link) {
	if c == nil {
		return append(b, line...), link{}
	}
	body := bytes.TrimSuffix(line, []byte("}\n"))
	l := before.next(body)
	b = append(append(b, body...), linkMember...)
	return append(l.append(b), "\"}\n"...), l
}

// written takes note of whole lines that are in the file now.
func (c *chain) written(lines []byte, checkpoint bool, now time.Time) {
	if len(lines) == 0 {
		return
	}
	_, c.last, c.known = cutLink(lines[bytes.LastIndexByte(lines[:len(lines)-1], '\n')+1 : len(lines)-1])
	if checkpoint {
		c.begin, c.lines, c.broken = false, 0, nil
		return
	}
	if c.lines == 0 {
		c.first = now
		c.due.Reset(signAfter)
	}
	c.lines += bytes.Count(lines, []byte{'\n'})
}

// lockFolder keeps other processes from writing to the files in dir until unlock is
// called: a line follows on the last one in the file, whoever wrote that. A file
// system without locks has one server.
func lockFolder(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	return func() { f.Close() }
}

// follow finds out where the chain is, because another process may have written
// lines, or begun a new file. It needs o.mu and the lock of the folder.
func (o *output) follow() error {
	c := o.chain
	named, err := os.Stat(o.path)
	if err != nil {
		return nil // moved away or removed: this process goes on by itself
	}
	used, err := o.f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(named, used) {
		old := o.f
		if err := o.begin(); err != nil {
			return err
		}
		old.Close()
		used = named
	} else if c.read && used.Size() == o.size {
		return nil
	}
	end, err := endOf(o.path)
	if err != nil {
		return err
	}
	o.size, c.read = used.Size(), true
	c.begin = c.begin || o.size == 0
	if end.ok || bytes.IndexByte(end.rest, '\n') < 0 { // else all of the file is from before there was a chain
		c.broken = end.rest
	}
	if o.torn <= 0 { // what was seen without the lock may have been a line being written
		o.torn = 0
		if end.open {
			o.torn = -1
		}
	}
	if !end.ok && !c.known && o.old != nil { // a crash came between a full file and the first line of the next
		files, err := o.old.files()
		if err == nil && len(files) > 0 {
			end, err = endOf(files[len(files)-1])
		}
		if err != nil {
			return err
		}
	}
	switch {
	case end.ok && (!c.known || end.link.number > c.last.number):
		c.last = end.link
	case !c.known: // what the first line follows on is chance, so that no two chains are alike
		rand.Read(c.last.hash[:])
		c.begin = true
	} // else somebody has shortened the file: the gap must be seen
	c.known = true
	return nil
}

// mostTail is more than a line takes.
const mostTail = 128 << 10

// An ending is that of an events file.
type ending struct {
	link link   // the last one
	ok   bool   // there is one
	rest []byte // what comes after its line
	open bool   // the last line has no end
}

func endOf(path string) (end ending, err error) {
	f, err := openRead(path)
	if err != nil {
		return end, err
	}
	defer f.file.Close()
	if f.Reader == f.file {
		if info, err := f.file.Stat(); err != nil {
			return end, err
		} else if _, err := f.file.Seek(max(0, info.Size()-mostTail), io.SeekStart); err != nil {
			return end, err
		}
	}
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return end, fmt.Errorf("%s: %w", path, err)
		}
		if _, l, ok := cutLink(bytes.TrimSuffix(line, []byte{'\n'})); ok { // perhaps only its end is missing
			end.link, end.ok, end.rest = l, true, nil
		} else if end.rest = append(end.rest, line...); len(end.rest) > mostTail {
			end.rest = end.rest[len(end.rest)-mostTail:]
		}
		if err == io.EOF {
			end.open = len(line) > 0
			return end, nil
		}
	}
}

// sshsig is what "ssh-keygen -Y sign" makes, without its armour: section 1 of
// OpenSSH's PROTOCOL.sshsig.
type sshsig struct {
	Version                   uint32
	PublicKey                 []byte
	Namespace, Reserved, Hash string
	Signature                 []byte
}

const (
	sealMagic = "SSHSIG"
	sealSpace = "berth-events" // the namespace: signatures of other things prove nothing here
)

// sealed is what is signed for a text: section 2 of PROTOCOL.sshsig.
func sealed(text []byte) []byte {
	hash := sha256.Sum256(text)
	return append([]byte(sealMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Digest                    []byte
	}{sealSpace, "", "sha256", hash[:]})...)
}

func seal(key ssh.Signer, text []byte) ([]byte, error) {
	var sig *ssh.Signature
	var err error
	if m, ok := key.(ssh.MultiAlgorithmSigner); ok { // Sign would use SHA-1 with RSA
		sig, err = m.SignWithAlgorithm(rand.Reader, sealed(text), m.Algorithms()[0])
	} else {
		sig, err = key.Sign(rand.Reader, sealed(text))
	}
	if err != nil {
		return nil, err
	}
	s := sshsig{1, key.PublicKey().Marshal(), sealSpace, "", "sha256", ssh.Marshal(sig)}
	return append([]byte(sealMagic), ssh.Marshal(s)...), nil
}

// unseal returns whose signature of text blob is.
func unseal(blob, text []byte) (ssh.PublicKey, error) {
	var s sshsig
	var sig ssh.Signature
	rest, ok := bytes.CutPrefix(blob, []byte(sealMagic))
	if !ok {
		return nil, errors.New("the signature is none of ssh-keygen's format")
	}
	err := ssh.Unmarshal(rest, &s)
	if err == nil {
		err = ssh.Unmarshal(s.Signature, &sig)
	}
	if err != nil {
		return nil, fmt.Errorf("the signature cannot be read: %w", err)
	}
	key, err := ssh.ParsePublicKey(s.PublicKey)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the key of the signature cannot be read: %w", err)
	case s.Version != 1 || s.Namespace != sealSpace || s.Hash != "sha256" || sig.Format == ssh.KeyAlgoRSA:
		return nil, fmt.Errorf("the signature is of another kind: version %d, namespace %q, %s, %s", s.Version, s.Namespace, s.Hash, sig.Format)
	}
	return key, key.Verify(sealed(text), &sig)
}
