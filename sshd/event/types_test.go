package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/events.md")

const page = "../../docs/events.md"

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

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
		if failed := strings.HasSuffix(id.String(), "_failed"); failed && id.Outcome() == Success {
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

// TestNumbersNeverChange has the published numbers: a row may be added here,
// but never changed.
func TestNumbersNeverChange(t *testing.T) {
	published := map[string]Type{
		"server_started": 1000, "server_stopped": 1001, "server_reloaded": 1002, "server_draining": 1003, "reload_failed": 1004,
		"events_dropped": 1005, "events_left_out": 1006, "events_file_lost": 1007, "upgrade_failed": 1008, "log_level_set": 1009, "events_refused": 1014, "directory_up": 1010, "directory_down": 1011, "state_up": 1012, "state_down": 1013,
		"session_kicked": 1020, "penalty_lifted": 1021, "events_checkpoint": 1030,
		"connection_opened": 1100, "connection_refused": 1101, "connection_closed": 1102, "probe_seen": 1103,
		"login_accepted": 1200, "login_partial": 1201, "login_rejected": 1202, "login_denied": 1203, "login_shielded": 1204,
		"login_revoked": 1205, "key_skipped": 1206, "rights_changed": 1207,
		"key_added": 1310, "key_removed": 1311, "key_change_failed": 1312, "certificate_issued": 1313, "certificate_refused": 1314, "revocation_added": 1315, "code_secret_added": 1320, "code_secret_removed": 1321, "mail_sent": 1330, "mail_failed": 1331,
		"password_changed": 1300, "password_change_failed": 1301, "password_expiring": 1302,
		"service_started": 1400, "service_ended": 1401, "service_refused": 1402, "folder_missing": 1403,
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
	for id := range Types() {
		if published[id.String()] != id {
			t.Errorf("%d, %v, is not held here", int(id), id)
		}
	}
}

func TestPage(t *testing.T) {
	want := render(examples(t))
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, page) != string(want) {
		t.Errorf("docs/events.md is stale: run go test ./sshd/event -run TestPage -update")
	}
}

const head = `# Events

<!-- Made by "go test ./sshd/event -run TestPage -update" from the tables in sshd/event. -->

Berth writes one JSON object a line for everything that happens. Ids and types never change their meaning, and an id that is no
longer used is not used again. Fields that are empty or zero are left out. A JSON Schema of a line is in
[schema/event.schema.json](schema/event.schema.json).

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
	{"user_directory", "the name of that directory in the configuration: another one may have the same id for somebody else"},
	{"remote", "address and port of the client"},
	{"client", "identification string of the client's software"},
	{"method", "way of logging in: password, publickey, keyboard-interactive, gssapi-with-mic, oidc"},
	{"service", "sftp, scp, passwd, …"},
	{"path", "file or folder, as the user sees it"},
	{"host_path", "the same file or folder on the server, after all links: one file can have several paths"},
	{"target", "the other name of a rename or copy; what a link leads to; the new name of a hard link"},
	{"host_target", "the other name on the server"},
	{"mode", "how a file was opened: reading, reading with append, writing, writing with append, reading and writing, reading and writing with append"},
	{"size", "bytes of the file when it was closed"},
	{"bytes_read", "bytes the client got"},
	{"bytes_written", "bytes the client sent"},
	{"duration_ms", "milliseconds it took, or that the file, service or connection was open"},
	{"work_ms", "of these, what the server needed: the directory, signatures, rules; without waiting for the person, and without delays on purpose"},
	{"sha256", "of the content, if the whole file was moved from its first byte to its last"},
	{"outcome", "success, failure (it was tried and did not work) or refused (it was decided that it may not be)"},
	{"reason", "code of a refusal or failure: bad_password, no_rule, …; all are in [reasons.md](reasons.md)"},
	{"error", "the error in words"},
	{"detail", "more, for the administrator"},
	{"fields", "an object with what only this type has"},
	{"node", "name of the machine, if one is configured"},
	{"chain", "number of the line and a hash of it and all lines before: [below](#proof-that-nothing-was-changed); only in a file, with `events.chain`"},
}

// memberDocs are the members of "fields": name, types, meaning. Names never
// change their meaning.
var memberDocs = [][3]string{
	{"attribute", "`key_skipped`", "the attribute of the directory that holds the key"},
	{"atime", "`attributes_set`, `attributes_set_failed`", "time of the last access that was set, RFC 3339"},
	{"broken", "`events_checkpoint`", "SHA-256 of the text before it that a crash has left of a line"},
	{"certificate", "`login_accepted`, `login_partial`, `login_rejected`, `certificate_issued`, `revocation_added`", "key id of the certificate"},
	{"certificate_authority", "`login_accepted`, `login_partial`, `login_rejected`, `certificate_issued`", "fingerprint of the authority that signed the certificate"},
	{"certificate_serial", "`login_accepted`, `login_partial`, `login_rejected`, `certificate_issued`, `revocation_added`", "serial number of the certificate"},
	{"change", "`key_added`, `key_removed`, `key_change_failed`", "what was asked for: add or remove"},
	{"cipher", "`connection_opened`", "the cipher agreed on"},
	{"count", "`events_dropped`, `events_left_out`, `events_refused`", "number of events that were not written, or not taken"},
	{"directory", "`login_accepted`, `code_secret_added`, `code_secret_removed`", "of secrets, the person's directory; of logins, `cached`: no server of the directory answered, and what was known of the person was used"},
	{"factors", "`login_accepted`", "what was proved, if there was more than one factor"},
	{"fingerprint", "`login_accepted`, `login_partial`, `key_added`, `key_removed`, `key_change_failed`, `key_skipped`, `certificate_issued`, `revocation_added`", "SHA-256 fingerprint of the key, as ssh-keygen -l prints it; of a certificate, its key's"},
	{"for", "`log_level_set`", "how long the level holds, such as 10m0s; missing: until the next restart"},
	{"gid", "`attributes_set`, `attributes_set_failed`", "group that was set"},
	{"host_key", "`connection_opened`", "the algorithm of the host key"},
	{"index", "`key_skipped`", "which value of the attribute, from 0"},
	{"key", "`events_checkpoint`", "fingerprint of the host key that signed"},
	{"kex", "`connection_opened`", "the key exchange agreed on"},
	{"last_stop", "`server_started`", "`clean`; `upgrade` if the server before this one has handed over to it; or `crash` if the server before this one did not end by itself: killed, or the machine stopped"},
	{"kind", "`mail_sent`, `mail_failed`", "what the mail is about, as in `mail.about`"},
	{"level", "`log_level_set`", "of the log: trace, debug, info, warn or error"},
	{"mac", "`connection_opened`", "the message authentication code agreed on, where the cipher needs one"},
	{"message_id", "`mail_sent`, `mail_failed`", "header Message-ID of the mail, without the domain: the same whenever this mail is tried"},
	{"mtime", "`attributes_set`, `attributes_set_failed`", "time of the last change that was set, RFC 3339"},
	{"operator", "`server_reloaded`, `reload_failed`, `server_draining`, `session_kicked`, `penalty_lifted`, `code_secret_added`, `code_secret_removed`", "who asked for it: the user of the operating system, as the kernel reports it, or `signal`"},
	{"operator_login", "the same", "who this user logged in to the machine as, before `su` or `sudo`, where the kernel knows"},
	{"operator_session", "the same", "session of the console that was used; `operator` is then a person of the directory"},
	{"operator_uid", "the same", "number of the user"},
	{"permissions", "`attributes_set`, `attributes_set_failed`", "permission bits that were set, octal"},
	{"previous", "`events_checkpoint`", "`chain` of the line before, which is what is signed"},
	{"valid_until", "`certificate_issued`", "end of the certificate"},
	{"subject", "`login_accepted`, `login_partial`", "the identity provider's id of the person who signed in with the browser (claim `sub`)"},
	{"principal", "`login_accepted`, `login_partial`", "principal of the Kerberos ticket"},
	{"rules", "`login_accepted`, `rights_changed`", "names of the rules that apply to the person, in the order of the file"},
	{"rules_hash", "`server_started`, `server_reloaded`, `login_accepted`, `rights_changed`", "hash of all rules in force: it is the same as long as the rules are"},
	{"signature", "`events_checkpoint`", "the signature, as `ssh-keygen -Y sign -n berth-events` makes it, in one line of base64; missing: there was no key"},
	{"sink", "`events_refused`", "`webhook`"},
	{"size", "`attributes_set`, `attributes_set_failed`", "size that was set; `events_file_lost`: bytes that the lost file had"},
	{"source", "`penalty_lifted`", "the address or network"},
	{"status", "`service_ended`", "exit status that the client got"},
	{"successor", "`server_draining`", "process number of the server that has taken over, after `berth upgrade`"},
	{"types", "`events_left_out`", "how many of which type were not written: `rename_failed 1200, removed 3`"},
	{"uid", "`attributes_set`, `attributes_set_failed`", "owner that was set"},
}

const record = `
## What is kept, and what happens when there is no room

- A full file, and one older than ` + "`events.max_age`" + `, gets the time in its name and, with ` + "`events.compress`" + `, is compressed. The oldest ones beyond ` + "`events.keep`" + ` are removed,
  but none that became full less than ` + "`events.keep_for`" + ` ago. Berth never frees a full disk by removing younger ones:
  plan room for what ` + "`keep_for`" + ` may need.
- One person, or one address before the login, may cause ` + "`events.rate`" + ` of events, and 60 times as much at once. What is more
  is not written; an ` + "`events_left_out`" + ` event every ten seconds says of whom, how many, of which types, and how many bytes were moved.
  Failures may use only half of the rate, so that nobody hides a download behind them. Logins, password and key changes
  and what operators do are never left out.
- While the disk is full or does not answer, events wait in memory (` + "`events.queue`" + `). One person fills at most half of what is
  free there, and the last quarter is for logins, refused connections and operators. What finds no room is lost;
  ` + "`events_dropped`" + ` says how many. Nothing is left of a line that the disk cut off.
- When writing has failed for five seconds, when the queue is half full, or when events were lost, events cannot be kept: the log
  says so every minute, ` + "`berth_events_writable`" + ` is 0, and ` + "`/readyz`" + ` says "ready, but events cannot be written".
  With ` + "`events.when_lost: refuse`" + ` it says "not ready" with status 503, and the server refuses new work until events are written again.
- When the file is removed, alone or with its folder, a new one is begun, with an ` + "`events_file_lost`" + ` event, which a
  syslog server gets as well, and an error in the log.
  After the file was moved away, events go into it until ` + "`berth reload`" + ` or SIGHUP, as logrotate expects; with ` + "`events.chain`" + ` also until
  there is a new file with its name. On NFS a removed file cannot be
  noticed.
- While a server runs, there is an empty file with the name of the events file and ` + "`.running`" + ` at its end. If it is there at a start,
  the server before did not end by itself: ` + "`last_stop`" + ` is ` + "`crash`" + `.
`

const proof = `
## Proof that nothing was changed

With ` + "`events.chain`" + `, the default, each line of the file has a member ` + "`chain`" + `, such as ` + "`57:9bkifuEf…`" + `: its number, and a SHA-256 hash of
the line before's ` + "`chain`" + `, a line feed, and the line itself up to ` + "`,\"chain\"`" + `. So a line proves all lines before it. The chain goes on
over full files, restarts and ` + "`berth upgrade`" + `.

An ` + "`events_checkpoint`" + ` event signs the ` + "`chain`" + ` of the line before it with the first host key (Ed25519 if there is one). It comes at
the start, at the beginning of each file, after 1,000 lines or five minutes, and at the end.

    berth events verify /var/log/berth/events.jsonl --key /var/lib/berth/ssh_host_ed25519_key.pub

reads this file and the full ones beside it, and prints the place of each line that was changed, cut, removed, inserted or moved. It
exits with 0 if all is intact, with 1 if something was changed or nothing is signed, and with 2 if that could not be found out.
Files that ` + "`events.keep`" + ` has removed are not missed. Copy the public key to another machine before you need it. What the chain
cannot prove is in [security.md](security.md#the-record).

` + "`ssh-keygen`" + ` checks a signature as well: put ` + "`fields.signature`" + ` between the two lines of its format, and ` + "`fields.previous`" + ` on
standard input of ` + "`ssh-keygen -Y verify -n berth-events`" + `.
`

const forwarding = `
## Events leave the machine

[event-formats.md](event-formats.md) has the formats that a SIEM can get instead of this JSON.

A webhook, and a syslog server by ` + "`tcp://`" + ` or ` + "`tls://`" + `, get what is in the events file. So the file is their spool: what was written to it
is sent, however long the receiver is away, after a restart and after a crash too. Transfers never wait for a receiver. Beside the events file
is one with ` + "`.webhook`" + ` or ` + "`.syslog`" + ` at its end, which holds the ` + "`chain`" + ` of the last event that the receiver took. A receiver that is new gets
what is written from then on; remove the small file, while the server is stopped, to begin anew at the end.

- An event may come twice, after a crash or a broken connection. Both times it has the same ` + "`chain`" + `; that is the id of the CloudEvent.
- The room on disk is that of the events file. An event that was removed by ` + "`events.keep`" + `, which is after ` + "`events.keep_for`" + ` (7 days) at the
  earliest, and that no receiver took, is counted in ` + "`berth_events_dropped_total`" + `.
- Tries are repeated after 1 second at first, and after 1 minute at last. The log has the reason, as has ` + "`berth status`" + `, with the number of events that wait
  and the time of the oldest. The metrics are ` + "`berth_events_waiting`" + `, ` + "`berth_events_oldest_seconds`" + ` and ` + "`berth_events_sink_up`" + `, each with the label ` + "`sink`" + `.
- Syslog has no answer. An event counts as taken when the other machine has confirmed all bytes (TCP). A syslog server that is killed may lose what it
  has not read. By ` + "`udp://`" + ` and ` + "`unix://`" + `, or without ` + "`events.chain`" + ` or a file, events are sent from memory as they come.
- With ` + "`types`" + ` a receiver gets only events of some types: ` + "`[login_*, password_*, key_*, session_kicked]`" + `.

` + "```yaml" + `
events:
  file: /var/log/berth/events.jsonl
  webhook:
    url: https://siem.corp.example/berth
    ca_file: /etc/berth/siem-ca.pem
    token_file: /run/credentials/berth.service/siem-token
    hmac_secret_file: /run/credentials/berth.service/siem-hmac
    types: [login_*, password_*, key_*, session_kicked]
` + "```" + `

The webhook gets CloudEvents 1.0 in batches, as ` + "`POST`" + ` with the type ` + "`application/cloudevents-batch+json`" + `. ` + "`id`" + ` is the ` + "`chain`" + ` of the event, ` + "`type`" + ` its type
after ` + "`berth.`" + `, ` + "`source`" + ` is ` + "`/berth/`" + ` and the node, and ` + "`data`" + ` is the line of the file. A status from 200 to 299 means that all of a batch was taken; at 413
the next one is smaller; anything else is tried again. Redirects are not followed.

At 400 and 422 the events of a batch are sent one by one, with later ones if there are fewer than 100. If the server takes at least one of them, those that it refuses are set aside: they are appended to the file with
` + "`.webhook.refused`" + ` at its end, counted in ` + "`berth_events_refused_total`" + `, and an ` + "`events_refused`" + ` event has the reason. If it refuses all, its address or settings are
wrong rather than an event, so nothing is set aside and all are tried again. The file has the lines as they are in the events file; at 16 MiB it is renamed to ` + "`.webhook.refused.1`" + `.

With a secret there is a header ` + "`Berth-Signature: t=1767225600,v1=5257a8…`" + `: the time in seconds, and the HMAC-SHA256, in hexadecimal, of this time, a full stop and the
body. A receiver computes it with its copy of the secret, compares both in constant time, and refuses times that are more than five minutes away.
`

const members = `
## Members of fields

Every value is a text. Names never change their meaning.

| member | of | meaning |
|---|---|---|
`

const names = `
A text takes at most 2 KiB of a line (a signature 8 KiB); of a longer one the rest is left off, and its length and a hash of the whole text are
written instead. Invisible characters are escaped as JSON does it. A byte of a name that is not UTF-8 is written as the four
characters ` + "`\\xNN`" + `, and so is a backslash that stands before an ` + "`x`" + `, so that no two names look the same.

The examples below are from servers in the tests, without ` + "`chain`" + `. The outcome in the tables is the usual one: an error makes a failure of a success, and a lack of permission makes ` + "`refused`" + ` of a failure.
`

var ranges = []struct {
	from  Type
	about string
}{
	{1000, "Server"},
	{1100, "Connections"},
	{1200, "Logins"},
	{1300, "Passwords, keys and one-time codes"},
	{1400, "Services"},
	{1500, "Files"},
}

func render(exampleOf map[Type][]byte) []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for _, f := range fieldDocs {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f[0], f[1])
	}
	b.WriteString(names)
	b.WriteString(members)
	for _, m := range memberDocs {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m[0], m[1], m[2])
	}
	b.WriteString(record)
	b.WriteString(proof)
	b.WriteString(forwarding)
	for _, r := range ranges {
		var examples []byte
		fmt.Fprintf(&b, "\n## %s\n\n| id | type | outcome | meaning |\n|---|---|---|---|\n", r.about)
		for id := range Types() {
			if id >= r.from && id < r.from+100 {
				fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", int(id), id, id.Outcome(), id.Description())
				examples = append(examples, exampleOf[id]...)
			}
		}
		fmt.Fprintf(&b, "\n```json\n%s```\n", examples)
	}
	return b.Bytes()
}

// examples are lines of servers in the end-to-end tests, with other times, addresses
// and names of files; the tests write them with -examples.
func examples(t *testing.T) map[Type][]byte {
	t.Helper()
	of := map[Type][]byte{}
	for line := range strings.Lines(read(t, "testdata/examples.jsonl")) {
		var e struct{ ID Type }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		of[e.ID] = []byte(line)
	}
	return of
}

// TestExamples: there is an example of each type that is written, and it is what
// the schema allows.
func TestExamples(t *testing.T) {
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	of := examples(t)
	for id := range Types() {
		line, ok := of[id]
		if !ok && id != ProbeSeen {
			t.Errorf("%s has no example: run the test that causes it with go test ./test -run NAME -examples", id)
			continue
		}
		delete(of, id)
		if !ok {
			continue
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		var back struct{ Type string }
		if err := json.Unmarshal(line, &back); err != nil || back.Type != id.String() {
			t.Errorf("%s: want type %s", line, id)
		}
	}
	for id := range of {
		t.Errorf("an example of the unknown type %d", int(id))
	}
}

// TestMembersAreDocumented searches the whole program for members of
// Event.Fields.
func TestMembersAreDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, m := range memberDocs {
		documented[m[0]] = true
	}
	found := 0
	for file, fset := range sources(t) {
		check := func(n ast.Expr) {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				found++
				if name, _ := strconv.Unquote(lit.Value); !documented[name] {
					t.Errorf("%v: %s is not in memberDocs", fset.Position(n.Pos()), lit.Value)
				}
			}
		}
		checkMap := func(n ast.Expr) {
			if m, ok := n.(*ast.CompositeLit); ok {
				for _, elt := range m.Elts {
					if kv, ok := elt.(*ast.KeyValueExpr); ok {
						check(kv.Key)
					}
				}
			}
		}
		called := func(n ast.Expr) bool { // Fields, e.Fields or fields
			id, ok := n.(*ast.Ident)
			if sel, isSelector := n.(*ast.SelectorExpr); isSelector {
				id, ok = sel.Sel, true
			}
			return ok && strings.EqualFold(id.Name, "fields")
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if called(n.Key) {
					checkMap(n.Value)
				}
			case *ast.AssignStmt:
				if called(n.Lhs[0]) {
					checkMap(n.Rhs[0])
				}
			case *ast.IndexExpr:
				if called(n.X) {
					check(n.Index)
				}
			case *ast.FuncDecl: // certificateFields
				if strings.HasSuffix(n.Name.Name, "Fields") {
					ast.Inspect(n, func(n ast.Node) bool {
						if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) > 0 {
							checkMap(r.Results[0])
						}
						return true
					})
				}
			}
			return true
		})
	}
	if found < 10 {
		t.Errorf("found %d members, want some", found)
	}
}

// sources yields the files outside tests that belong to or import this package.
func sources(t *testing.T) iter.Seq2[*ast.File, *token.FileSet] {
	return func(yield func(*ast.File, *token.FileSet) bool) {
		err := filepath.WalkDir("../..", func(path string, d iofs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			ours := file.Name.Name == "event"
			for _, i := range file.Imports {
				ours = ours || i.Path.Value == `"berth/sshd/event"`
			}
			if ours && !yield(file, fset) {
				return filepath.SkipAll
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// linked is a line of AppendJSON with the last member that a file of events has.
func linked(line []byte) []byte {
	return append(bytes.TrimSuffix(line, []byte{'}'}), `,"chain":"1:`+strings.Repeat("A", 43)+`"}`...)
}

func TestFieldDocsNameEveryField(t *testing.T) {
	line := string(linked(full.AppendJSON(nil, "berth1")))
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
