// Package format translates lines of the events file into the formats that receivers of
// events know: ECS, OCSF and CEF. Start at New.
package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/event"
)

// The formats in which a receiver can have events. The events file is always JSON.
const (
	JSON = "json" // the lines as they are
	ECS  = "ecs"  // Elastic Common Schema
	OCSF = "ocsf" // Open Cybersecurity Schema Framework
	CEF  = "cef"  // Common Event Format of ArcSight
)

// A Formatter translates one line, without its end. It is safe for concurrent use.
type Formatter func(line []byte) []byte

// New returns the translation into a format; an empty one is JSON. version is the
// program's.
func New(format, version string) (Formatter, error) {
	translate := map[string]func(r parsed, version string) []byte{ECS: toECS, OCSF: toOCSF, CEF: toCEF}[format]
	switch {
	case format == JSON, format == "":
		return func(line []byte) []byte { return line }, nil
	case translate == nil:
		return nil, fmt.Errorf("format: %q: must be %s, %s, %s or %s", format, JSON, ECS, OCSF, CEF)
	}
	return func(line []byte) []byte { return translate(parse(line), version) }, nil
}

// A parsed is a line taken apart. The texts keep the escapes of AppendJSON, so that
// nothing invisible gets into another format.
type parsed struct {
	id      event.Type
	members map[string]json.RawMessage
}

// parse takes a line of AppendJSON apart, which is a JSON object.
func parse(line []byte) parsed {
	r := parsed{}
	_ = json.Unmarshal(line, &r.members)
	_ = json.Unmarshal(r.members["id"], &r.id)
	if r.members["host_path"] == nil && r.members["path"] != nil { // the path in the view is used if the path on the machine is not known
		r.members["host_path"] = r.members["path"]
	}
	return r
}

// title is the name of the type in words.
func (r parsed) title() string {
	return strings.ReplaceAll(strings.Trim(string(r.members["type"]), `"`), "_", " ")
}

// severity is the severity of r in OCSF: 1 is informational, 2 low, 3 medium,
// 4 high.
func (r parsed) severity() int {
	switch {
	case string(r.members["outcome"]) == `"`+string(event.Success)+`"`:
		return 1
	case r.id.Level() == hclog.Error:
		return 4
	case r.id.Level() == hclog.Warn:
		return 3
	}
	return 2
}

// A mapping says where a member of a line is in the other formats: paths, or keys of
// CEF, separated by spaces.
type mapping struct{ ecs, ocsf, cef string }

// mappings has the members with a place of their own. The others are below "berth" in
// ECS and "unmapped" in OCSF, under their own name, and have the keys of cefKey in CEF.
var mappings = map[string]mapping{
	"time":           {"@timestamp", "time", "rt"},
	"id":             {"event.code", "metadata.event_code", ""}, // CEF: in the header
	"type":           {"event.action", "unmapped.type", "act"},
	"session":        {"berth.session", "metadata.correlation_uid", "BerthSession"},
	"user":           {"user.name related.user", "actor.user.name", "suser"},
	"user_id":        {"user.id", "actor.user.uid", "suid"},
	"user_directory": {"user.domain", "actor.user.domain", "BerthUserDirectory"},
	"remote":         {"source.ip source.port related.ip", "src_endpoint.ip src_endpoint.port", "src spt"},
	"client":         {"user_agent.original", "unmapped.client", "requestClientApplication"},
	"method":         {"berth.method", "unmapped.method", "BerthMethod"},
	"service":        {"network.application", "unmapped.service", "app"},
	"path":           {"berth.path file.name", "unmapped.path file.name", "BerthPath fname"},
	"host_path":      {"file.path", "file.path", "filePath"},
	"size":           {"file.size", "file.size", "fsize"},
	"bytes_read":     {"destination.bytes", "unmapped.bytes_read", "out"},
	"bytes_written":  {"source.bytes", "unmapped.bytes_written", "in"},
	"duration_ms":    {"event.duration", "duration", "BerthDurationMs"},
	"sha256":         {"file.hash.sha256 related.hash", "file.hashes", "fileHash"},
	"outcome":        {"event.outcome berth.outcome", "status status_id unmapped.outcome", "outcome"},
	"reason":         {"event.reason", "status_code", "reason"},
	"error":          {"error.message", "status_detail", "msg"},
	"node":           {"host.name", "device.hostname", "dvchost"},
	"chain":          {"event.id", "metadata.uid", "externalId"},
}

// tree returns the members of r at the paths that of says. Those without a path are
// below rest.
func (r parsed) tree(rest string, of func(mapping) string) map[string]any {
	tree := map[string]any{}
	for member, raw := range r.members {
		paths := rest + "." + member
		if m, ok := mappings[member]; ok {
			paths = of(m)
		}
		for path := range strings.FieldsSeq(paths) {
			put(tree, path, converted(path, raw))
		}
	}
	return tree
}

// put sets the value at a path such as "source.ip".
func put(tree map[string]any, path string, value any) {
	for {
		name, rest, below := strings.Cut(path, ".")
		if !below {
			tree[name] = value
			return
		}
		inner, ok := tree[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			tree[name] = inner
		}
		tree, path = inner, rest
	}
}

// converted returns a member in the form that a path or key needs.
func converted(path string, raw json.RawMessage) any {
	switch strings.TrimPrefix(path, "unmapped.") {
	case "event.code", "metadata.event_code":
		return string(raw)
	case "time", "rt":
		at, _ := time.Parse(strconv.Quote(event.TimeLayout), string(raw))
		return at.UnixMilli()
	case "source.ip", "src_endpoint.ip", "src":
		return remoteOf(raw).Addr().WithZone("").String()
	case "related.ip":
		return []string{remoteOf(raw).Addr().WithZone("").String()}
	case "source.port", "src_endpoint.port", "spt":
		return remoteOf(raw).Port()
	case "related.user", "related.hash":
		return []any{raw}
	case "file.name", "fname":
		return baseName(raw)
	case "event.duration": // nanoseconds
		return int64(milliseconds(raw) * 1e6)
	case "duration":
		return int64(math.Round(milliseconds(raw)))
	case "file.hashes":
		return []any{map[string]any{"algorithm": "SHA-256", "algorithm_id": 3, "value": raw}}
	case "event.outcome", "status", "status_id":
		return outcomes[path][string(raw) == `"`+string(event.Success)+`"`]
	}
	return raw
}

// outcomes of a success, and of anything else. A refusal is a failure there.
var outcomes = map[string]map[bool]any{
	"event.outcome": {true: "success", false: "failure"},
	"status":        {true: "Success", false: "Failure"},
	"status_id":     {true: 1, false: 2},
}

func remoteOf(raw json.RawMessage) netip.AddrPort {
	at, _ := netip.ParseAddrPort(strings.Trim(string(raw), `"`))
	return at
}

func milliseconds(raw json.RawMessage) float64 {
	ms, _ := strconv.ParseFloat(string(raw), 64)
	return ms
}

// baseName is what comes after the last slash of a text with quotes; all of it if
// that is nothing.
func baseName(raw json.RawMessage) json.RawMessage {
	if i := bytes.LastIndexByte(raw, '/'); i > 0 && i < len(raw)-2 {
		return append(json.RawMessage{'"'}, raw[i+1:]...)
	}
	return raw
}

// encode returns tree as JSON, with the texts of the line as they are.
func encode(tree map[string]any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(tree) // only maps, texts, numbers, and parts of a line that was read
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
