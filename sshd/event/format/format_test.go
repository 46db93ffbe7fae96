package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/sshd/event"
)

// formatsOf returns a line in all formats.
func formatsOf(t testing.TB, line []byte) map[string][]byte {
	all := map[string][]byte{}
	for _, name := range []string{JSON, ECS, OCSF, CEF} {
		f, err := New(name, "1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		all[name] = f(line)
	}
	return all
}

// full is an event in which each field has a value.
func full() event.Event {
	e := event.Event{
		Time: time.UnixMilli(1_767_225_600_123), Type: event.FileUpdateFailed, Remote: netip.MustParseAddrPort("[2001:db8::1]:50022"),
		SHA256: strings.Repeat("0f", 32), Err: errors.New("no space left on device"), Reason: event.DiskFull,
		Fields: map[string]string{"kex": "mlkem768x25519-sha256", "certificate_serial": "7"},
	}
	for field, v := range reflect.ValueOf(&e).Elem().Fields() {
		switch {
		case !v.IsZero():
		case v.Kind() == reflect.String:
			v.SetString("value of " + field.Name)
		default:
			v.SetInt(7000) // bytes, or nanoseconds
		}
	}
	return e
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// lineOf is e as a line of an events file, with its link.
func lineOf(e event.Event) []byte {
	return append(bytes.TrimSuffix(e.AppendJSON(nil, "node1"), []byte{'}'}), `,"chain":"1:`+strings.Repeat("A", 43)+`"}`...)
}

// TestFormats holds each type of event, with all members and with few, to what the
// standards say.
func TestFormats(t *testing.T) {
	var ecs ecsSchema
	if err := json.Unmarshal(read(t, "testdata/ecs-8.17.0.json"), &ecs); err != nil {
		t.Fatal(err)
	}
	classes := ocsfClasses(t)
	whole := full()
	for id := range event.Types() {
		if id == event.ProbeSeen { // is never written
			continue
		}
		if _, ok := kinds[id]; !ok {
			t.Errorf("%s has no kind", id)
		}
		whole.Type = id
		for _, e := range []event.Event{
			whole,
			{Type: id, Time: time.UnixMilli(1_767_225_600_123)},
			{Type: id, Time: time.Now(), Err: os.ErrPermission, Path: "/", Remote: netip.MustParseAddrPort("[fe80::1%eth0]:22")},
		} {
			line := lineOf(e)
			for format, text := range formatsOf(t, line) {
				var err error
				switch format {
				case ECS:
					err = ecs.check(text)
				case OCSF:
					err = checkOCSF(text, classes)
				case CEF:
					_, err = parseCEF(text)
				case JSON:
					if !bytes.Equal(text, line) {
						err = errors.New("was changed")
					}
				}
				if err != nil {
					t.Errorf("%s: %v\n%s", format, err, text)
				}
			}
		}
	}
}

// TestFormatsLoseNothing: each value of a line is in every format.
func TestFormatsLoseNothing(t *testing.T) {
	e := full()
	e.User, e.Detail = `o"neil\`, "a=b | c\nd\u202e"
	e.Duration = 2 * time.Second
	line := lineOf(e)
	var members map[string]any
	if err := json.Unmarshal(line, &members); err != nil {
		t.Fatal(err)
	}
	for format, text := range formatsOf(t, line) {
		got := map[string]bool{}
		if format == CEF {
			values, err := parseCEF(text)
			if err != nil {
				t.Fatal(err)
			}
			for v := range maps.Values(values) {
				got[v] = true
			}
		} else {
			var tree any
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			if err := d.Decode(&tree); err != nil {
				t.Fatal(err)
			}
			leaves("", tree, func(_ string, v any) { got[fmt.Sprint(v)] = true })
		}
		leaves("", members, func(path string, v any) {
			want := []string{fmt.Sprint(v)}
			switch path {
			case "time":
				want = append(want, "1767225600123")
			case "remote":
				want = append(want, "2001:db8::1")
			case "duration_ms":
				want = append(want, "2000", "2000000000")
			case "bytes_written":
				want = append(want, fmt.Sprint(e.BytesWritten))
			case "detail":
				want = append(want, "a=b | c\nd\\u202e")
			}
			if path == "id" && format == CEF && bytes.HasPrefix(text, fmt.Appendf(nil, "CEF:0|Berth|Berth|1.2.3|%v|", v)) {
				return
			}
			if !slices.ContainsFunc(want, func(w string) bool { return got[w] }) {
				t.Errorf("%s: %s is lost: %v\n%s", format, path, v, text)
			}
		})
		if format != CEF && strings.ContainsRune(string(text), '\u202e') {
			t.Errorf("%s: what is invisible is not escaped: %q", format, text)
		}
	}
}

// leaves calls f for each value in v that is no object and no list.
func leaves(path string, v any, f func(path string, v any)) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			leaves(strings.TrimPrefix(path+"."+name, "."), inner, f)
		}
	case []any:
		for _, inner := range v {
			leaves(path, inner, f)
		}
	default:
		f(path, v)
	}
}

// ecsSchema is what testdata has of the Elastic Common Schema.
type ecsSchema struct {
	Categories      map[string][]string // with their event.type
	Outcomes, Kinds []string
	Fields          map[string]string // "keyword", or "keyword[]" where more than one value is normal
}

func (s *ecsSchema) check(text []byte) error {
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return err
	}
	delete(tree, "berth") // a name space of our own, as ECS advises for what it has no field for
	event, _ := tree["event"].(map[string]any)
	var errs []error
	if !slices.Contains(s.Kinds, fmt.Sprint(event["kind"])) || !slices.Contains(s.Outcomes, fmt.Sprint(event["outcome"])) {
		errs = append(errs, fmt.Errorf("kind %v, outcome %v", event["kind"], event["outcome"]))
	}
	var allowed []string
	categories, _ := event["category"].([]any)
	for _, c := range categories {
		of, ok := s.Categories[fmt.Sprint(c)]
		if allowed = append(allowed, of...); !ok {
			errs = append(errs, fmt.Errorf("unknown category %v", c))
		}
	}
	types, _ := event["type"].([]any)
	if len(types) == 0 || len(categories) == 0 {
		errs = append(errs, errors.New("no category or type"))
	}
	for _, typ := range types {
		if !slices.Contains(allowed, fmt.Sprint(typ)) {
			errs = append(errs, fmt.Errorf("type %v of %v", typ, categories))
		}
	}
	for _, required := range []string{"@timestamp", "ecs", "message"} {
		if tree[required] == nil {
			errs = append(errs, fmt.Errorf("no %s", required))
		}
	}
	return errors.Join(append(errs, s.walk("", tree)...)...)
}

// walk holds the names and types of fields to the schema.
func (s *ecsSchema) walk(prefix string, tree map[string]any) (errs []error) {
	for name, v := range tree {
		path := prefix + name
		if inner, ok := v.(map[string]any); ok {
			errs = append(errs, s.walk(path+".", inner)...)
			continue
		}
		typ, known := s.Fields[path]
		values, isList := v.([]any)
		if !isList {
			values = []any{v}
		}
		base, list := strings.CutSuffix(typ, "[]")
		if !known || isList != list {
			errs = append(errs, fmt.Errorf("%s: %v is no field of ECS (%q)", path, v, typ))
		}
		for _, v := range values {
			text, isText := v.(string)
			_, isNumber := v.(json.Number)
			_, ipErr := netip.ParseAddr(text)
			_, timeErr := time.Parse(time.RFC3339, text)
			if ok := map[string]bool{"ip": ipErr == nil, "date": timeErr == nil, "long": isNumber, "keyword": isText, "wildcard": isText, "match_only_text": isText, "constant_keyword": isText}[base]; !ok {
				errs = append(errs, fmt.Errorf("%s: %v is no %s", path, v, typ))
			}
		}
	}
	return errs
}

// ocsfClasses are the schemas of the classes that Berth uses.
func ocsfClasses(t testing.TB) map[string]*jsonschema.Schema {
	classes := map[string]*jsonschema.Schema{}
	compiler := jsonschema.NewCompiler()
	for _, k := range kinds {
		class := fmt.Sprint(k.class)
		compiled, err := compiler.Compile("testdata/ocsf-1.5.0.json#/$defs/class_" + class)
		if err != nil {
			t.Fatal(err)
		}
		classes[class] = compiled
	}
	return classes
}

func checkOCSF(text []byte, classes map[string]*jsonschema.Schema) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	schema := classes[fmt.Sprint(v.(map[string]any)["class_uid"])]
	if schema == nil {
		return errors.New("unknown class")
	}
	var sums struct {
		Class    int `json:"class_uid"`
		Activity int `json:"activity_id"`
		Type     int `json:"type_uid"`
	}
	if err := json.Unmarshal(text, &sums); err != nil || sums.Type != sums.Class*100+sums.Activity {
		return fmt.Errorf("type_uid %d of class %d, activity %d: %v", sums.Type, sums.Class, sums.Activity, err)
	}
	return schema.Validate(v)
}

// The header of CEF has seven fields. A key ends at a "=" without a backslash, and
// a value before the last space before the next key.
var (
	cefHead  = regexp.MustCompile(`^CEF:0((?:\|(?:[^|\\]|\\[|\\])*){6})\|(.*)$`)
	cefStart = regexp.MustCompile(`(?:^| )([A-Za-z0-9]+)=`)
)

// parseCEF takes a message apart by the rules of the standard, which allow a
// backslash only before a backslash, "=", "n" or "r" there.
func parseCEF(text []byte) (map[string]string, error) {
	head := cefHead.FindSubmatch(text)
	if head == nil || bytes.ContainsAny(text, "\r\n") || !utf8.Valid(text) {
		return nil, errors.New("no CEF")
	}
	fields := strings.Split(string(head[1]), "|")
	if len(fields) != 7 || !regexp.MustCompile(`^([0-9]|10)$`).MatchString(fields[6]) {
		return nil, fmt.Errorf("header %q", fields)
	}
	values := map[string]string{}
	rest := string(head[2])
	starts := cefStart.FindAllStringSubmatchIndex(rest, -1)
	if len(starts) == 0 || starts[0][0] != 0 {
		return nil, errors.New("no first key")
	}
	for i, at := range starts {
		key, value := rest[at[2]:at[3]], rest[at[1]:]
		if i+1 < len(starts) {
			value = rest[at[1]:starts[i+1][0]]
		}
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("%s is there twice", key)
		}
		var plain strings.Builder
		for j := 0; j < len(value); j++ {
			if c := value[j]; c == '=' {
				return nil, fmt.Errorf("%s has a bare =: %q", key, value)
			} else if c != '\\' {
				plain.WriteByte(c)
				continue
			}
			if j++; j == len(value) {
				return nil, fmt.Errorf("%s ends with a backslash", key)
			}
			c, ok := map[byte]byte{'\\': '\\', '=': '=', 'n': '\n', 'r': '\r'}[value[j]]
			if !ok {
				return nil, fmt.Errorf("%s has the escape %q", key, value[j-1:j+1])
			}
			plain.WriteByte(c)
		}
		values[key] = plain.String()
	}
	return values, nil
}

// FuzzFormats: whatever a client calls itself and its files, no format is broken,
// and nobody can forge a key of CEF.
func FuzzFormats(f *testing.F) {
	f.Add("alice", "/in/a.txt", "no such file")
	f.Add(`a\`, "/x suser=root", "a|b\r\n=\\=")
	f.Add("\xff\u2028\u202e", "/\\x2f", "CEF:0|")
	classes := ocsfClasses(f)
	f.Fuzz(func(t *testing.T, user, path, detail string) {
		line := lineOf(event.Event{Type: event.LoginRejected, Time: time.Now(), User: user, Path: path, Detail: detail, Session: "s1"})
		all := formatsOf(t, line)
		var want map[string]any
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		got, err := parseCEF(all[CEF])
		if err != nil {
			t.Fatalf("%v: %q", err, all[CEF])
		}
		for key, member := range map[string]string{"suser": "user", "BerthPath": "path", "BerthDetail": "detail", "BerthSession": "session"} {
			if want[member] != nil && unescapeInvisible(got[key]) != unescapeInvisible(fmt.Sprint(want[member])) {
				t.Errorf("%s is %q, want %q", key, got[key], want[member])
			}
		}
		keys := slices.Sorted(maps.Keys(got))
		for _, key := range keys {
			if !slices.Contains([]string{"cat", "act", "rt", "suser", "BerthPath", "fname", "filePath", "BerthDetail", "BerthSession", "outcome", "dvchost", "externalId"}, key) {
				t.Errorf("a key %s in %q", key, all[CEF])
			}
		}
		if err := checkOCSF(all[OCSF], classes); err != nil {
			t.Errorf("%v: %s", err, all[OCSF])
		}
		if !json.Valid(all[ECS]) {
			t.Errorf("%s", all[ECS])
		}
	})
}

// unescapeInvisible removes what differs in CEF: \u escapes of invisible characters.
func unescapeInvisible(s string) string {
	return regexp.MustCompile(`(\\u[0-9a-f]{4}|[^\x20-\x7e\\])`).ReplaceAllString(s, "")
}

func BenchmarkFormats(b *testing.B) {
	line := lineOf(full())
	for _, name := range []string{ECS, OCSF, CEF} {
		f, err := New(name, "1.2.3")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f(line)
			}
		})
	}
}
