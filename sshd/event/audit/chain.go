package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
)

const (
	signEvery = 1000            // at most so many lines, and
	signAfter = 5 * time.Minute // at most so long after the first line that no signature covers, a checkpoint is due
)

// A chain gives each line of a file its link. The lines of all files since the
// first are one chain, whichever process writes them. It is used with the lock of
// its output, and between processes with that of its folder.
type chain struct {
	node string
	sign ssh.Signer  // nil: a checkpoint has no signature
	due  *time.Timer // wakes the writer for a checkpoint
	log  hclog.Logger

	last   link
	known  bool      // last is the link of the last line, even if it is zero
	read   bool      // the end of the file in use has been read
	begin  bool      // a checkpoint is due before anything else: this process or a file begins
	lines  int       // since the last checkpoint
	first  time.Time // when the first of them was written
	broken []byte    // text that a crash has left in the file and that is no line, since the last checkpoint
}

// wants reports whether a checkpoint must be written now, or before further
// lines.
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
	e := event.Event{Type: event.EventsCheckpoint, Time: now, Fields: map[string]string{"previous": c.last.String()}}
	if len(c.broken) > 0 {
		e.Fields["broken"] = brokenHash(c.broken)
	}
	if c.sign != nil {
		sig, err := Seal(c.sign, sealSpace, c.last.append(nil))
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

// brokenHash is the hash in a checkpoint of text that is no line.
func brokenHash(text []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(bytes.TrimRight(text, "\n")))
}

// append appends line with its link, which it returns; before is the link of the
// line before. Without a chain it appends the line as it is.
func (c *chain) append(b, line []byte, before link) ([]byte, link) {
	if c == nil {
		return append(b, line...), link{}
	}
	body := bytes.TrimSuffix(line, []byte("}\n"))
	l := before.next(body)
	b = append(append(b, body...), linkMember...)
	return append(l.append(b), "\"}\n"...), l
}

// written records whole lines that are in the file now.
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
