package event

import (
	"strings"

	"github.com/hashicorp/go-hclog"
)

// Log is a Sink that writes what matters to operators to log.
func Log(log hclog.Logger) Sink { return logSink{log} }

type logSink struct{ log hclog.Logger }

func (s logSink) Emit(e Event) {
	level := e.Type.Level()
	if level == hclog.NoLevel || level < s.log.GetLevel() {
		return
	}
	s.log.Log(level, strings.ReplaceAll(e.Type.String(), "_", " "), e.pairs()...)
}

// pairs is what is known of e, as the logger wants it.
func (e *Event) pairs() []any {
	var pairs []any
	add := func(key, value string) {
		if value != "" {
			pairs = append(pairs, key, visible(value))
		}
	}
	add("session", e.Session)
	add("user", e.User)
	if e.Remote.IsValid() {
		add("remote", e.Remote.String())
	}
	add("method", e.Method)
	add("service", e.Service)
	add("path", e.Path)
	add("reason", e.reason().code)
	if e.Err != nil {
		add("error", e.Err.Error())
	}
	add("detail", e.Detail)
	for k, v := range e.sortedFields() {
		add(k, v)
	}
	return pairs
}

// visible escapes as AppendJSON does, without the quotes.
func visible(s string) string {
	quoted := appendString(nil, s)
	return string(quoted[1 : len(quoted)-1])
}
