package event

import (
	"bytes"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../../docs/schema/event.schema.json"

type jsonObject = map[string]any

// special is what the schema says of members that are not any text.
var special = map[string]jsonObject{
	"time":          {"type": "string", "format": "date-time", "pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`},
	"id":            {"type": "integer"},
	"type":          {"type": "string"},
	"size":          {"type": "integer"},
	"bytes_read":    {"type": "integer", "minimum": 0},
	"bytes_written": {"type": "integer", "minimum": 0},
	"duration_ms":   {"type": "number"},
	"work_ms":       {"type": "number"},
	"sha256":        {"type": "string", "pattern": `^[0-9a-f]{64}$`},
	"outcome":       {"enum": []Outcome{Success, Failure, Refused}},
	"reason":        {"type": "string", "pattern": `^[a-z_]+$`},
	"mode":          {"enum": []string{modes[os.O_RDONLY][0], modes[os.O_RDONLY][1], modes[os.O_WRONLY][0], modes[os.O_WRONLY][1], modes[os.O_RDWR][0], modes[os.O_RDWR][1]}},
	"chain":         {"type": "string", "pattern": `^[1-9][0-9]*:[A-Za-z0-9_-]{43}$`},
}

// schema is the JSON Schema of a line.
func schema(t *testing.T) []byte {
	members := jsonObject{}
	for _, m := range memberDocs {
		members[m[0]] = jsonObject{"type": "string", "description": m[2]}
	}
	properties := jsonObject{}
	for _, f := range fieldDocs {
		of := jsonObject{"type": "string", "minLength": 1}
		if s, ok := special[f[0]]; ok {
			of = s
		} else if f[0] == "fields" {
			of = jsonObject{"type": "object", "minProperties": 1, "additionalProperties": false, "properties": members}
		}
		of["description"] = f[1]
		properties[f[0]] = of
	}
	var kinds []jsonObject
	for id := range Types() {
		if id != ProbeSeen { // is never written
			kinds = append(kinds, jsonObject{"description": id.Description(), "properties": jsonObject{"id": jsonObject{"const": id}, "type": jsonObject{"const": id.String()}}})
		}
	}
	text, err := json.MarshalIndent(jsonObject{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A line of Berth's events file",
		"type": "object", "required": []string{"time", "id", "type", "outcome"}, "additionalProperties": false,
		"properties": properties, "oneOf": kinds,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestSchema compares docs/schema with the tables, and the lines of all types with
// the schema. The end-to-end tests compare every event of their servers with it.
func TestSchema(t *testing.T) {
	want := schema(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, schemaFile); got != string(want) {
		t.Errorf("%s is stale: run go test ./sshd/event -run TestSchema -update", schemaFile)
	}
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(line []byte) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return compiled.Validate(value)
	}
	whole := full
	whole.SHA256 = strings.Repeat("0f", 32)
	for id := range Types() {
		if id == ProbeSeen {
			continue
		}
		whole.Type = id
		for _, e := range []Event{whole, {Type: id, Time: time.Unix(0, 0)}, {Type: id, Time: time.Now(), Err: iofs.ErrPermission, Path: "\xff\x00\n", Remote: netip.MustParseAddrPort("192.0.2.1:1")}} {
			line := linked(e.AppendJSON(nil, "n"))
			if err := valid(line); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	line := string(whole.AppendJSON(nil, "n"))
	for old, changed := range map[string]string{
		`"outcome":"failure"`: `"outcome":"odd"`,
		`"user":"alice"`:      `"usr":"alice"`,
		`"size":9`:            `"size":"9"`,
		`{"cipher"`:           `{"unknown"`,
		`,"id":1543`:          `,"id":1542`, // is of another type
		`"time":"`:            `"time":"x`,
	} {
		bad := strings.Replace(line, old, changed, 1)
		var invalid *jsonschema.ValidationError
		if err := valid([]byte(bad)); bad == line || !errors.As(err, &invalid) {
			t.Errorf("%s in the place of %s: %v, want it refused", changed, old, err)
		}
	}
}
