package event

import (
	"crypto/sha256"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// TimeLayout is that of the times in AppendJSON: RFC 3339 with milliseconds, in UTC.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// mostBytes is how much of one text goes into a line, escapes included, so that
// a client cannot fill the disk with long names. A hash distinguishes texts
// whose beginnings are the same.
const mostBytes = 2 << 10

// mostSignature is the same for fields of a checkpoint, which only the server writes. The
// signature of an RSA key of 16384 bits has 5,552 bytes.
const mostSignature = 8 << 10

// orderly are the reasons for which a connection ends as it should. None: the
// client left after a login.
var orderly = []Reason{{}, EndedByOperator, Idle, PasswordDialogue, SessionTimeOver, ShuttingDown}

// Outcome is how e ended. The type has the usual outcome. An error makes a
// failure of a success, and so does the reason for which a connection broke off
// or ended before a login. A lack of permission makes a refusal of a failure.
func (e *Event) Outcome() Outcome {
	o := e.Type.Outcome()
	if o == Success && (e.Err != nil || e.Type == ConnectionClosed && !slices.Contains(orderly, e.Reason)) {
		o = Failure
	}
	if e.Type == ConnectionClosed && e.Reason == Revoked {
		o = Refused
	}
	if o == Failure && errors.Is(e.Err, iofs.ErrPermission) {
		o = Refused
	}
	return o
}

// AppendJSON appends e to b as one JSON object in one line, without the line
// feed. Fields that are empty are left out, and so is an empty node. Everything
// invisible is escaped. A byte that is not UTF-8 is written as the four
// characters \xNN, and so is a backslash before an x, so that the bytes of
// every name can be restored.
func (e *Event) AppendJSON(b []byte, node string) []byte {
	o := object{append(b, '{')}
	if !e.Time.IsZero() {
		o.key("time")
		o.b = append(o.b, '"')
		o.b = e.Time.UTC().AppendFormat(o.b, TimeLayout)
		o.b = append(o.b, '"')
	}
	o.number("id", int64(e.Type))
	o.text("type", e.Type.String())
	o.text("session", e.Session)
	o.text("user", e.User)
	o.text("user_id", e.UserID)
	o.text("user_directory", e.Directory)
	if e.Remote.IsValid() {
		o.text("remote", e.Remote.String())
	}
	o.text("client", e.Client)
	o.text("method", e.Method)
	o.text("service", e.Service)
	o.text("path", e.Path)
	o.text("host_path", e.HostPath)
	o.text("target", e.Target)
	o.text("host_target", e.HostTarget)
	o.text("mode", e.Mode)
	o.number("size", e.Size)
	o.number("bytes_read", e.BytesRead)
	o.number("bytes_written", e.BytesWritten)
	o.milliseconds("duration_ms", e.Duration)
	o.milliseconds("work_ms", e.Work)
	o.text("sha256", e.SHA256)
	o.text("outcome", string(e.Outcome()))
	o.text("reason", e.reason().code)
	if e.Err != nil {
		o.text("error", e.Err.Error())
	}
	o.text("detail", e.Detail)
	o.fields("fields", e)
	o.text("node", node)
	return append(o.b, '}')
}

// object is a JSON object in the making.
type object struct{ b []byte }

func (o *object) key(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) text(name, value string) {
	if value != "" {
		o.key(name)
		o.b = appendString(o.b, value)
	}
}

func (o *object) number(name string, n int64) {
	if n != 0 {
		o.key(name)
		o.b = strconv.AppendInt(o.b, n, 10)
	}
}

// milliseconds has a fraction down to the microsecond: most operations on files
// take less than one millisecond.
func (o *object) milliseconds(name string, d time.Duration) {
	if us := d.Microseconds(); us != 0 {
		o.key(name)
		o.b = strconv.AppendFloat(o.b, float64(us)/1000, 'f', -1, 64)
	}
}

func (o *object) fields(name string, e *Event) {
	sep, most := byte('{'), mostBytes
	if e.Type == EventsCheckpoint {
		most = mostSignature
	}
	for k, v := range e.sortedFields() {
		if sep == '{' {
			o.key(name)
		}
		o.b = appendString(append(o.b, sep), k)
		o.b = appendText(append(o.b, ':'), v, most)
		sep = ','
	}
	if sep == ',' {
		o.b = append(o.b, '}')
	}
}

// sortedFields yields those e.Fields that are not empty, in the order of the keys.
func (e *Event) sortedFields() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if len(e.Fields) == 0 {
			return
		}
		for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
			if v := e.Fields[k]; v != "" && !yield(k, v) {
				return
			}
		}
	}
}

func appendString(b []byte, s string) []byte { return appendText(b, s, mostBytes) }

// appendText appends s in quotes, most bytes of it at most.
func appendText(b []byte, s string, most int) []byte {
	b = append(b, '"')
	end := len(b) + most
	i := 0
	for i < len(s) && len(b) < end {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' { // nearly always
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, c == '\\' && i+1 < len(s) && s[i+1] == 'x':
			b = append(b, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case strconv.IsPrint(r):
			b = append(b, s[i:i+size]...)
		default:
			b = appendEscaped(b, r)
		}
		i += size
	}
	if i < len(s) {
		sum := sha256.Sum256([]byte(s))
		b = fmt.Appendf(b, "… (%d bytes more, sha256 %x)", len(s)-i, sum[:8])
	}
	return append(b, '"')
}
