package event

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/events.md")

const page = "../../docs/events.md"

// declared reads the constants of type.go: name -> number.
func declared(t *testing.T) map[string]Type {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "type.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	consts := map[string]Type{}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		id, err := strconv.Atoi(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		consts[v.Names[0].Name] = Type(id)
		return false
	})
	return consts
}

func TestEveryTypeIsInTheTable(t *testing.T) {
	consts := declared(t)
	if len(consts) < 40 || len(consts) != len(types) {
		t.Errorf("got %d constants and %d rows", len(consts), len(types))
	}
	for name, id := range consts {
		if _, ok := types[id]; !ok {
			t.Errorf("%s (%d) has no row", name, id)
		}
	}
}

func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)+$|^(renamed|removed|linked|symlinked|copied)$`)
	seen := map[string]Type{}
	for id := range Types() {
		if !name.MatchString(id.String()) {
			t.Errorf("%d: name %q", id, id)
		}
		if other, ok := seen[id.String()]; ok {
			t.Errorf("%d and %d are both %q", id, other, id)
		}
		seen[id.String()] = id
		if d := id.Description(); !strings.HasSuffix(d, ".") || strings.Contains(d, "|") {
			t.Errorf("%v: description %q", id, d)
		}
		if failed := strings.HasSuffix(id.String(), "_failed"); failed && !id.Failed() {
			t.Errorf("%v is no failure", id)
		}
	}
}

func TestTypeString(t *testing.T) {
	for id, want := range map[Type]string{LoginAccepted: "login_accepted", FileWriteClosed: "file_write_closed", 1: "type_1"} {
		if got := id.String(); got != want {
			t.Errorf("%d: got %s, want %s", int(id), got, want)
		}
	}
	if got := Type(1).Description(); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

// TestNumbersNeverChange holds what has been published: a row may be added
// here, never altered.
func TestNumbersNeverChange(t *testing.T) {
	published := map[string]Type{
		"server_started": 1000, "server_stopped": 1001, "server_reloaded": 1002, "server_draining": 1003, "reload_failed": 1004,
		"events_dropped": 1005, "directory_up": 1010, "directory_down": 1011,
		"connection_opened": 1100, "connection_refused": 1101, "connection_closed": 1102, "probe_seen": 1103,
		"login_accepted": 1200, "login_partial": 1201, "login_rejected": 1202, "login_denied": 1203, "login_shielded": 1204,
		"login_revoked": 1205, "key_skipped": 1206,
		"password_changed": 1300, "password_change_failed": 1301, "password_expiring": 1302,
		"service_started": 1400, "service_ended": 1401, "service_refused": 1402,
		"file_opened": 1500, "file_open_failed": 1501, "file_read_closed": 1502, "file_read_failed": 1503, "file_write_closed": 1504,
		"file_write_failed": 1505, "file_update_closed": 1506, "file_update_failed": 1507, "directory_listed": 1510,
		"directory_list_failed": 1511, "attributes_set": 1520, "attributes_set_failed": 1521, "renamed": 1530, "rename_failed": 1531,
		"removed": 1532, "remove_failed": 1533, "directory_made": 1534, "directory_make_failed": 1535, "directory_removed": 1536,
		"directory_remove_failed": 1537, "linked": 1538, "link_failed": 1539, "symlinked": 1540, "symlink_failed": 1541,
		"copied": 1542, "copy_failed": 1543,
	}
	for name, id := range published {
		if got := id.String(); got != name {
			t.Errorf("%d: got %s, want %s", int(id), got, name)
		}
	}
}

func TestPage(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/events.md is stale: run go test ./sshd/event -run TestPage -update")
	}
}

const head = `# Events

<!-- Made by "go test ./sshd/event -run TestPage -update" from the tables in sshd/event. -->

Berth writes one JSON object a line for everything that happens. Ids and types never change their meaning, and an id that is no
longer used is not used again. Fields that are empty or zero are left out.

## Fields

| field | meaning |
|---|---|
`

// fieldDocs must name every field that AppendJSON writes, in its order.
var fieldDocs = [][2]string{
	{"time", "RFC 3339 with milliseconds, UTC"},
	{"id", "number of the type"},
	{"type", "name of the type"},
	{"session", "id of the connection, the same in all its events"},
	{"user", "the directory's own spelling of the name once the user is known, before that as it was typed"},
	{"user_id", "the directory's stable id of the user; survives a renaming"},
	{"remote", "address and port of the client"},
	{"client", "identification string of the client's software"},
	{"method", "way of logging in: password, publickey, keyboard-interactive, gssapi-with-mic"},
	{"service", "sftp, scp, passwd, …"},
	{"path", "file or folder, as the user sees it"},
	{"target", "the other name of a rename or copy; what a link leads to; the new name of a hard link"},
	{"mode", "how a file was opened: reading, reading with append, writing, writing with append, reading and writing, reading and writing with append"},
	{"bytes_read", "bytes the client got"},
	{"bytes_written", "bytes the client sent"},
	{"duration_ms", "milliseconds it took, or that the file, service or connection was open"},
	{"sha256", "of the content, if the whole file was moved from its first byte to its last"},
	{"outcome", "success, failure (it was tried and did not work) or refused (it was decided that it may not be)"},
	{"reason", "code of a refusal or failure: bad_password, no_rule, …; all are in [reasons.md](reasons.md)"},
	{"error", "the error in words"},
	{"detail", "more, for the administrator"},
	{"fields", "an object with what only this type has"},
	{"node", "name of the machine, if one is configured"},
}

const names = `
A text is at most 8 KiB long; what is beyond is left off and counted. Invisible characters are escaped as JSON does it. A byte of a name that
is not UTF-8 is written as the four characters ` + "`\\xNN`" + `, and so is a backslash that stands before an ` + "`x`" + `, so that no two names look the same.

The outcome in the table is the usual one: an error makes a failure of a success, and a lack of permission makes ` + "`refused`" + ` of a failure.
`

var ranges = []struct {
	from  Type
	about string
}{
	{1000, "Server"},
	{1100, "Connections"},
	{1200, "Logins"},
	{1300, "Passwords"},
	{1400, "Services"},
	{1500, "Files"},
}

func render() []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for _, f := range fieldDocs {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f[0], f[1])
	}
	b.WriteString(names)
	for _, r := range ranges {
		fmt.Fprintf(&b, "\n## %s\n\n| id | type | outcome | meaning |\n|---|---|---|---|\n", r.about)
		for id := range Types() {
			if id >= r.from && id < r.from+100 {
				fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", int(id), id, id.Outcome(), id.Description())
			}
		}
	}
	return b.Bytes()
}

func TestFieldDocsNameEveryField(t *testing.T) {
	line := string(full.AppendJSON(nil, "berth1"))
	_, rest, _ := strings.Cut(line, `"fields":{`)
	_, rest, _ = strings.Cut(rest, "}")
	line = strings.Split(line, `"fields":{`)[0] + `"fields":0` + rest
	var got []string
	for _, m := range regexp.MustCompile(`[{,]"(\w+)":`).FindAllStringSubmatch(line, -1) {
		got = append(got, m[1])
	}
	var want []string
	for _, f := range fieldDocs {
		want = append(want, f[0])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
