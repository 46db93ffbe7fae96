package format

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"berth/sshd/event"
)

var update = flag.Bool("update", false, "write docs/event-formats.md")

const page = "../../../docs/event-formats.md"

func TestPage(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, page); !bytes.Equal(got, want) {
		t.Errorf("docs/event-formats.md is stale: run go test ./sshd/event/format -run TestPage -update")
	}
}

const head = `# Formats of events for a SIEM

<!-- Made by "go test ./sshd/event/format -run TestPage -update" from the tables in sshd/event/format. -->

The events file is always JSON as [events.md](events.md) describes it: only so can its lines be verified and sent again. A receiver can have another format. Berth translates
each line when it sends it.

| key | what is translated |
|---|---|
| ` + "`events.syslog.format`" + ` | the message after the header of RFC 5424 |
| ` + "`events.webhook.format`" + ` | ` + "`data`" + ` of the CloudEvent; CEF is a text there, with ` + "`datacontenttype`" + ` ` + "`text/plain`" + ` |
| ` + "`events.format`" + ` | what goes to ` + "`stdout`" + ` or ` + "`stderr`" + `, for collectors of containers |

| format | standard |
|---|---|
| ` + "`json`" + ` | [events.md](events.md); the default |
| ` + "`ecs`" + ` | Elastic Common Schema 8.17 |
| ` + "`ocsf`" + ` | Open Cybersecurity Schema Framework 1.5, with the profile ` + "`host`" + ` |
| ` + "`cef`" + ` | Common Event Format of ArcSight |

` + "```yaml" + `
events:
  file: /var/log/berth/events.jsonl
  syslog:
    address: tls://siem.corp.example:6514
    format: cef
` + "```" + `

No format loses anything. ` + "`refused`" + ` is a failure in ECS and OCSF; the exact outcome is beside it. ECS and OCSF have their own constants as well: ` + "`event.kind`" + `, ` + "`event.dataset`" + `,
` + "`category_uid`" + `, ` + "`type_uid`" + `, ` + "`metadata.product`" + ` and others. Where a line has no ` + "`host_path`" + `, its ` + "`path`" + ` is in the place of it.

- **OCSF**: what a class has no place for is below ` + "`unmapped`" + `, such as ` + "`unmapped.src_endpoint`" + ` of class 6002. In the classes 3001 and 3002 the person is ` + "`user`" + ` instead of ` + "`actor.user`" + `; in 3002 ` + "`method`" + ` is ` + "`auth_protocol`" + `. What a
  class requires and Berth does not know is ` + "`unknown`" + `. ` + "`severity_id`" + ` is 1 for a success; else 4 or 3 if the operators' log has the event as an error or a warning, and 2 for the rest.
- **CEF**: the header is ` + "`CEF:0|Berth|Berth|VERSION|id|type in words|severity|`" + `, with the severities 1, 3, 5 and 8 for OCSF's 1 to 4. ` + "`\\`" + `, ` + "`=`" + ` and ` + "`|`" + ` are escaped as the standard says; what is invisible is written as
  ` + "`\\u`" + ` and four digits. A key that the standard does not have begins with ` + "`Berth`" + `. Each member of ` + "`fields`" + ` has a key, such as ` + "`BerthFieldKex`" + `.

| field | ECS | OCSF | CEF |
|---|---|---|---|
`

const ofTypes = `
| type | ECS ` + "`event.category`" + ` | ECS ` + "`event.type`" + ` | OCSF ` + "`class_uid`" + ` | OCSF ` + "`activity_id`" + ` |
|---|---|---|---|---|
`

// member matches the name of each member of a line, but not those below it.
var member = regexp.MustCompile(`[{,]"(\w+)":(?:\{[^}]*\})?`)

func render() []byte {
	b := bytes.NewBufferString(head)
	for _, found := range member.FindAllSubmatch(lineOf(full()), -1) {
		name := string(found[1])
		m, ok := mappings[name]
		if !ok {
			m = mapping{"berth." + name, "unmapped." + name, cefKey(name)}
		}
		if name == "fields" {
			m.cef = "BerthFieldKex" // of the member kex
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, codes(m.ecs), codes(m.ocsf), codes(m.cef))
	}
	b.WriteString(ofTypes)
	for id := range event.Types() {
		if k, ok := kinds[id]; ok {
			fmt.Fprintf(b, "| `%s` | %s | %s | %d | %d |\n", id, codes(k.category), codes(k.kind), k.class, k.activity)
		}
	}
	return b.Bytes()
}

// codes marks each word as code.
func codes(words string) string {
	if words == "" {
		return "in the header"
	}
	return "`" + strings.Join(strings.Fields(words), "`, `") + "`"
}
