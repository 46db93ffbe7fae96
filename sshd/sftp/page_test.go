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
	b.WriteString("\n## Extensions\n\nThe server announces them in this order.\n\n| extension | version | permission | event |\n|---|---|---|---|\n")
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

Berth speaks version 3 of the protocol (draft-ietf-secsh-filexfer-02) as OpenSSH's server does, with OpenSSH's extensions. If a
client asks for another version, Berth answers with version 3.

The column "permission" is what a rule must grant for the request ([configuration.md](configuration.md)). A request without a
permission is about a file that is already open, or shows nothing that is secret. ` + "`open`" + ` needs ` + "`read`" + ` to read, ` + "`create`" + ` for a
new file and ` + "`overwrite`" + ` for a file that exists. ` + "`stat`" + ` reports "no such file" for names that the user may not list.

The column "event" is the event of a success. A failure has a separate type of event ([events.md](events.md)). A file has one
event when it is opened and one when it is closed. The second event has the number of bytes that the client read and wrote. Bytes
that ` + "`copy-data`" + ` copied are only in the event ` + "`copied`" + `. Bytes that were read for a hash are in no event.
`

const pageTail = `
` + "`home-directory`, `check-file-handle`, `check-file-name` and `copy-data`" + ` follow draft-ietf-secsh-filexfer-extensions-00.
` + "`check-file`" + ` is the form that paramiko uses: the answer begins with the name of the extension. The hash algorithms are sha256,
sha512, sha384, sha224, sha1 and md5. ` + "`copy-data`" + ` copies no more bytes than the source had when the copy began.

## Limits and answers

| what | limit | what happens above the limit |
|---|---|---|
| packet | 256 KiB | the session ends, because the start of the next packet is not known |
| data of a READ or WRITE | 255 KiB, as ` + "`limits@openssh.com`" + ` announces | the answer to a READ has only this much |
| name | 4,096 bytes without NUL | FAILURE |
| open files and folders | 1,024 in a session, of which 64 may be folders; also the limits for a user and for the server | FAILURE, "Too many open files"; "The server has too many open files" if the process has no descriptors left |
| entries in an answer to READDIR | at least 100 if there are so many, up to 192 KiB | the next READDIR gets the others |
| answers that the client does not read | two buffers of 288 KiB | the server reads no more requests |

Berth answers BAD_MESSAGE to a request that it cannot parse, and OP_UNSUPPORTED to an unknown request. The session then continues. The
sentences in answers come from one table and never contain a path of the server.

Names are bytes, and Berth stores them unchanged. A name that ends in a slash is the name of a directory. ` + "`x/../y`" + ` has the same meaning
as for the operating system. ` + "`x`" + ` must exist. If ` + "`x`" + ` is a link, ` + "`..`" + ` is the parent of the directory that the link leads to. ` + "`realpath`" + `
follows links. As with OpenSSH's server, only the last element may be missing. Berth is stricter in one point: ` + "`..`" + ` after a file is an error.

A mode may set the set-group-id and sticky bits of directories, and no other special bits. A mode without the sticky bit clears it. A mode
without the set-group-id bit does not clear that bit, as with chmod of GNU and unlike OpenSSH's server. Clients set modes without this bit,
and files in a shared directory would then no longer get the group of the directory. An administrator can clear the bit on the server.

` + "`symlink`" + ` takes the target first, as OpenSSH's server does. The draft has the other order. Some clients use the order of the draft
for every server that does not call itself OpenSSH. Berth recognises them by their identification: AsyncSSH, libssh, phpseclib, ssh2 of Node, WinSCP.

With ` + "`log.level: trace`" + ` the log has a line for every request. The line has the name of the request, the files, the outcome and the duration.
`
