package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
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

// member returns a member of a line: the time, the type or another text without escapes.
func member(line []byte, name string) string {
	_, rest, _ := bytes.Cut(line, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(value)
}

// An entry is a line of an events file, without its end.
type entry struct {
	link link
	line []byte
}
