package format

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"berth/sshd/event"
)

// toECS returns r as an object of the Elastic Common Schema, version 8.17.
func toECS(r parsed, version string) []byte {
	tree := r.tree("berth", func(m mapping) string { return m.ecs })
	put(tree, "ecs.version", "8.17.0")
	put(tree, "event.kind", "event")
	put(tree, "event.module", "berth")
	put(tree, "event.dataset", "berth.events")
	put(tree, "event.category", strings.Fields(kinds[r.id].category))
	put(tree, "event.type", strings.Fields(kinds[r.id].kind))
	put(tree, "network.protocol", "ssh")
	put(tree, "service.type", "berth")
	put(tree, "service.version", version)
	put(tree, "message", r.title())
	return encode(tree)
}

// classes says what is particular in a class of OCSF: where members are that the class has no
// place for, and what it requires.
var classes = map[int]struct {
	elsewhere *strings.Replacer
	required  []string
}{
	accountChange:  {strings.NewReplacer("actor.user.", "user.", "file.", "unmapped.file."), []string{"user.name"}},
	authentication: {strings.NewReplacer("actor.user.", "user.", "file.", "unmapped.file.", "unmapped.method", "auth_protocol"), []string{"user.name"}},
	sshActivity:    {strings.NewReplacer("file.", "unmapped.file."), []string{"src_endpoint.name"}},
	applicationLifecycle: {
		strings.NewReplacer("file.", "unmapped.file.", "src_endpoint.", "unmapped.src_endpoint."), nil,
	},
	fileHosting: {strings.NewReplacer(), []string{"actor.user.name", "src_endpoint.name", "file.name"}},
}

// toOCSF returns r as an event of the Open Cybersecurity Schema Framework, version
// 1.5, with its profile "host". What a class requires and r does not know is "unknown".
func toOCSF(r parsed, version string) []byte {
	k, known := kinds[r.id]
	if !known { // of a later version
		k.class, k.activity = applicationLifecycle, other
	}
	class := classes[k.class]
	tree := r.tree("unmapped", func(m mapping) string { return class.elsewhere.Replace(m.ocsf) })
	put(tree, "class_uid", k.class)
	put(tree, "category_uid", k.class/1000)
	put(tree, "activity_id", k.activity)
	put(tree, "type_uid", k.class*100+k.activity)
	if k.activity == other {
		put(tree, "activity_name", r.title())
	}
	put(tree, "severity_id", r.severity())
	put(tree, "message", r.title())
	put(tree, "metadata.version", "1.5.0")
	put(tree, "metadata.profiles", []string{"host"})
	product := map[string]string{"name": "Berth", "vendor_name": "Berth", "version": version}
	put(tree, "metadata.product", product)
	if tree["device"] != nil {
		put(tree, "device.type_id", 1) // a server
	}
	for _, required := range class.required {
		if object, _, _ := strings.Cut(required, "."); tree[object] == nil {
			put(tree, required, "unknown")
		}
	}
	switch k.class {
	case authentication:
		put(tree, "service.name", "berth")
		if tree["auth_protocol"] != nil {
			put(tree, "auth_protocol_id", other)
		}
	case applicationLifecycle:
		put(tree, "app", product)
	case fileHosting:
		put(tree, "file.type_id", fileType(r.id.String()))
	}
	return encode(tree)
}

// fileType is OCSF's number of what a type of event is about: a regular file, a
// folder, or unknown.
func fileType(name string) int {
	switch {
	case strings.HasPrefix(name, "file_"):
		return 1
	case strings.HasPrefix(name, "directory_"), name == event.FolderMissing.String():
		return 2
	}
	return 0
}

// toCEF returns r as text of the Common Event Format, version 0: "Implementing
// ArcSight Common Event Format", version 25.
func toCEF(r parsed, version string) []byte {
	b := fmt.Appendf(nil, "CEF:0|Berth|Berth|%s|%d|%s|%d|cat=%s",
		cefHeader(version), r.id, cefHeader(r.title()), []int{0, 1, 3, 5, 8}[r.severity()], cefValue(kinds[r.id].category))
	fields := map[string]json.RawMessage{}
	_ = json.Unmarshal(r.members["fields"], &fields)
	delete(r.members, "fields")
	for member, raw := range fields {
		r.members["field_"+member] = raw
	}
	for _, member := range slices.Sorted(maps.Keys(r.members)) {
		keys := cefKey(member)
		if m, ok := mappings[member]; ok {
			keys = m.cef
		}
		for key := range strings.FieldsSeq(keys) {
			value := fmt.Sprint(converted(key, r.members[member]))
			if raw, ok := converted(key, r.members[member]).(json.RawMessage); ok {
				value = string(raw)
				_ = json.Unmarshal(raw, &value) // if it is a text
			}
			b = append(append(append(append(b, ' '), key...), '='), cefValue(value)...)
		}
	}
	return b
}

// cefKey is the key of a member that has none in CEF: BerthHostTarget.
func cefKey(member string) string {
	key := "Berth"
	for word := range strings.SplitSeq(member, "_") {
		key += strings.ToUpper(word[:min(1, len(word))]) + word[min(1, len(word)):]
	}
	return key
}

// cefHeader and cefValue escape a text for the two parts of CEF.
func cefHeader(s string) string { return cefEscape(s, '|') }
func cefValue(s string) string  { return cefEscape(s, '=') }

// cefEscape puts a backslash before a backslash and special. What is invisible is
// written as JSON does it, except for the ends of lines, which CEF has escapes for.
func cefEscape(s string, special rune) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\' || r == special:
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case !strconv.IsPrint(r):
			for _, u := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\\u%04x`, u)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
