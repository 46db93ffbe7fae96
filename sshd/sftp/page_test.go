package sftp_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"berth/sshd/sftp"
)

const page = "../../docs/sftp.md"

// TestPage holds docs/sftp.md to the tables of requests and extensions.
func TestPage(t *testing.T) {
	want := renderPage()
	if *update {
		must(t, os.WriteFile(page, want, 0o644))
	}
	got, err := os.ReadFile(page)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("docs/sftp.md is stale: run go test ./sshd/sftp -run TestPage -update")
	}
}

func renderPage() []byte {
	b := bytes.NewBufferString(pageHead)
	b.WriteString("\n## Requests\n\n| request | permission | event |\n|---|---|---|\n")
	for _, r := range sftp.Requests() {
		if r.Name != "extended" {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", r.Name, r.Permission, quoted(r.Event))
		}
	}
	b.WriteString("\n## Extensions\n\nIn the order in which they are announced.\n\n| extension | version | permission | event |\n|---|---|---|---|\n")
	for _, r := range sftp.Extensions() {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.Name, r.Version, r.Permission, quoted(r.Event))
	}
	b.WriteString(pageTail)
	return b.Bytes()
}

func quoted(name string) string {
	if name == "" {
		return ""
	}
	return "`" + name + "`"
}

const pageHead = `# SFTP

<!-- Made by "go test ./sshd/sftp -run TestPage -update" from the tables in sshd/sftp. -->

Berth speaks version 3 of the protocol (draft-ietf-secsh-filexfer-02) as OpenSSH's server does, with its extensions. A client
that asks for another version is answered with 3.

The permission is what a rule must grant for the request ([configuration.md](configuration.md)); where there is none, the
request is about something that was opened before, or gives nothing away. ` + "`open`" + ` asks for what it is to do: ` + "`read`" + `, ` + "`create`" + ` if
the file is not there, ` + "`overwrite`" + ` if it is. What may not be listed is not there for ` + "`stat`" + `. The event is what a success
is told as; a failure has a type of its own ([events.md](events.md)). Of a file the opening and the closing is told, with
all bytes read and written in between.
`

const pageTail = `
` + "`home-directory`, `check-file` and `copy-data`" + ` are those of draft-ietf-secsh-filexfer-extensions-00; ` + "`check-file`" + ` knows sha256, sha512,
sha384, sha224, sha1 and md5. ` + "`copy-data`" + ` copies no more than the source had when it began.

## Limits and answers

| what | bound | beyond it |
|---|---|---|
| packet | 256 KiB | the session ends: there is no telling where the next packet begins |
| data of a READ or WRITE | 255 KiB, as ` + "`limits@openssh.com`" + ` announces | a READ is answered with as much |
| name | 4,096 bytes without NUL | FAILURE |
| open files and folders | 1,024 a session, of which 64 may be folders | FAILURE |
| entries in an answer to READDIR | at least 100 if there are as many, up to 192 KiB | the next READDIR |
| answers not taken | two buffers of 288 KiB | nothing more is read from the client |

A request that cannot be parsed is answered with BAD_MESSAGE, one that is not known with OP_UNSUPPORTED, and the session goes on. Sentences
in answers are out of one table, and never name the inside of the server. Names are bytes and are kept as they are. One that ends in a slash is
never that of a file. ` + "`realpath`" + ` does not ask whether a name is there, and does not follow links.

` + "`symlink`" + ` takes the target first, as OpenSSH's server does against the draft. Clients that give it in the order of the draft to
every server that is not called OpenSSH are known by how they identify themselves: AsyncSSH, libssh, phpseclib, ssh2 of Node, WinSCP.
`
