package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

var full = Event{
	Time:         time.Date(2026, 1, 31, 23, 59, 59, 7_654_321, time.FixedZone("CET", 3600)),
	Type:         FileUpdateFailed,
	Session:      "5f1c",
	User:         "alice",
	UserID:       "0b6e-77",
	Directory:    "corp",
	Remote:       netip.MustParseAddrPort("[2001:db8::1]:50022"),
	Client:       "SSH-2.0-OpenSSH_9.2p1",
	Method:       "publickey",
	Service:      "sftp",
	Path:         "/in/a.txt",
	HostPath:     "/srv/a.txt",
	Target:       "/in/b.txt",
	HostTarget:   "/srv/b.txt",
	Mode:         Mode(os.O_RDWR),
	Size:         9,
	BytesRead:    1,
	BytesWritten: 1 << 40,
	Duration:     1500 * time.Microsecond,
	Work:         500 * time.Microsecond,
	SHA256:       "e3b0",
	Err:          errors.New("no space left on device"),
	Reason:       Reason{"no_space"},
	Detail:       "volume 7",
	Fields:       map[string]string{"kex": "mlkem768x25519-sha256", "cipher": "aes128-gcm@openssh.com"},
}

func TestAppendJSON(t *testing.T) {
	tests := []struct {
		name string
		e    Event
		node string
		want string
	}{
		{"everything, in order", full, "berth1", `{"time":"2026-01-31T22:59:59.007Z","id":1507,"type":"file_update_failed",` +
			`"session":"5f1c","user":"alice","user_id":"0b6e-77","user_directory":"corp","remote":"[2001:db8::1]:50022","client":"SSH-2.0-OpenSSH_9.2p1",` +
			`"method":"publickey","service":"sftp","path":"/in/a.txt","host_path":"/srv/a.txt","target":"/in/b.txt","host_target":"/srv/b.txt",` +
			`"mode":"reading and writing","size":9,"bytes_read":1,"bytes_written":1099511627776,"duration_ms":1.5,"work_ms":0.5,"sha256":"e3b0","outcome":"failure","reason":"no_space",` +
			`"error":"no space left on device","detail":"volume 7","fields":{"cipher":"aes128-gcm@openssh.com","kex":"mlkem768x25519-sha256"},` +
			`"node":"berth1"}`},
		{"almost nothing", Event{Type: ServerStarted}, "", `{"id":1000,"type":"server_started","outcome":"success"}`},
		{"empty fields", Event{Type: ServerStarted, Fields: map[string]string{"a": "", "b": "1", "c": ""}}, "", `{"id":1000,"type":"server_started","outcome":"success","fields":{"b":"1"}}`},
		{"only empty fields", Event{Type: ServerStarted, Fields: map[string]string{"a": ""}}, "", `{"id":1000,"type":"server_started","outcome":"success"}`},
		{"a reason from the error", Event{Type: FileWriteFailed, Err: fmt.Errorf("write: %w", syscall.ENOSPC)}, "", `{"id":1505,"type":"file_write_failed","outcome":"failure","reason":"disk_full","error":"write: no space left on device"}`},
		{"an error beside a reason", Event{Type: LoginRejected, Err: syscall.ENOSPC, Reason: BadPassword}, "", `{"id":1202,"type":"login_rejected","outcome":"failure","reason":"bad_password","error":"no space left on device"}`},
		{"an unknown type", Event{Type: 77}, "", `{"id":77,"type":"type_77","outcome":"success"}`},
		{"a refusal", Event{Type: LoginDenied}, "", `{"id":1203,"type":"login_denied","outcome":"refused"}`},
		{"an error in a success", Event{Type: ServiceEnded, Err: errors.New("x")}, "", `{"id":1401,"type":"service_ended","outcome":"failure","error":"x"}`},
		{"permission denied", Event{Type: RemoveFailed, Err: fmt.Errorf("a: %w", iofs.ErrPermission)}, "", `{"id":1533,"type":"remove_failed","outcome":"refused","reason":"permission_denied","error":"a: permission denied"}`},
		{"less than a microsecond", Event{Type: Removed, Duration: 999}, "", `{"id":1532,"type":"removed","outcome":"success"}`},
		{"a microsecond", Event{Type: Removed, Duration: 1000}, "", `{"id":1532,"type":"removed","duration_ms":0.001,"outcome":"success"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.e.AppendJSON(nil, tt.node)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOutcomeOfConnections(t *testing.T) {
	for reason, want := range map[Reason]Outcome{
		{}: Success, Idle: Success, ShuttingDown: Success, EndedByOperator: Success, SessionTimeOver: Success, PasswordDialogue: Success,
		HandshakeFailed: Failure, NotAuthenticated: Failure, NotSSH: Failure, LoginGraceOver: Failure, ClientSilent: Failure, InternalError: Failure, TooMuchUnread: Failure,
		Revoked: Refused,
	} {
		e := Event{Type: ConnectionClosed, Reason: reason}
		if got := e.Outcome(); got != want {
			t.Errorf("%v: got %s, want %s", reason, got, want)
		}
	}
	e := Event{Type: LoginRevoked, Reason: HandshakeFailed}
	if got := e.Outcome(); got != Refused {
		t.Errorf("another type with such a reason: got %s", got)
	}
}

func TestAppendJSONKeepsWhatIsBefore(t *testing.T) {
	e := Event{Type: ServerStarted}
	if got := string(e.AppendJSON([]byte("before"), "")); !strings.HasPrefix(got, `before{"id"`) {
		t.Errorf("got %s", got)
	}
}

func TestEscapes(t *testing.T) {
	tests := []struct{ in, want string }{
		{`a"b`, `"a\"b"`},
		{`a\b`, `"a\\b"`},
		{`a\`, `"a\\"`},
		{`a\x41`, `"a\\x5cx41"`},
		{"a\nb\r\t\x00\x1f\x7f", `"a\u000ab\u000d\u0009\u0000\u001f\u007f"`},
		{"grün 日本 🙂", `"grün 日本 🙂"`},
		{"\xff\xfe", `"\\xff\\xfe"`},
		{"a\xe2\x82", `"a\\xe2\\x82"`},
		{"\xed\xa0\x80", `"\\xed\\xa0\\x80"`}, // a surrogate half is not UTF-8
		{"\u202egpj.exe", `"\u202egpj.exe"`},
		{"\u2028\u2029\ufeff\u0085\u00a0", `"\u2028\u2029\ufeff\u0085\u00a0"`},
		{"\U000e0001", `"\udb40\udc01"`},
		{"\ufffd", `"` + "\ufffd" + `"`},
		{"<a href='x'>&", `"<a href='x'>&"`},
	}
	for _, tt := range tests {
		if got := string(appendString(nil, tt.in)); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// A client cannot fill the disk with long names, even if all must be escaped; and
// two names whose beginnings are the same stay two.
func TestLongTextIsCut(t *testing.T) {
	for _, c := range []string{"a", "\x01", "\\x", "\xff", "日", "\U000e0001"} {
		e := Event{Type: RenameFailed, Path: strings.Repeat(c, 200<<10), Target: strings.Repeat(c, 200<<10) + "b"}
		line := string(e.AppendJSON(nil, ""))
		if len(line) > 2*mostBytes+400 {
			t.Errorf("%q: got a line of %d bytes", c, len(line))
		}
		var got struct{ Path, Target string }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%q: %v", c, err)
		}
		head, rest, ok := strings.Cut(got.Path, "… (")
		var more int
		var sum string
		fmt.Sscanf(rest, "%d bytes more, sha256 %s", &more, &sum)
		if n := len(unescape(head)); !ok || n+more != len(e.Path) || n < mostBytes/12 {
			t.Errorf("%q: %d bytes are there and %d are said to be missing, of %d", c, n, more, len(e.Path))
		}
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(e.Path)))[:16] + ")"; sum != want {
			t.Errorf("%q: sum %s, want %s", c, sum, want)
		}
		if got.Target == got.Path {
			t.Errorf("%q: two names look the same", c)
		}
	}
}

// unescape takes back the \xNN of a text that was decoded from JSON.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) {
			c, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				panic(err)
			}
			b.WriteByte(byte(c))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// FuzzAppendJSON proves that a line is valid JSON in valid UTF-8 without any
// line break, and that every byte can be had back from it.
func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"", "/a b", "\xff\n", `\x41`, `\\x`, "\u2028\U0001f642", "\"{},:"} {
		f.Add(s, s, int64(len(s)))
	}
	f.Fuzz(func(t *testing.T, path, value string, n int64) {
		e := Event{Type: Removed, Path: path, BytesRead: n, Fields: map[string]string{value: value}}
		line := e.AppendJSON(nil, "")
		if !utf8.Valid(line) || bytes.ContainsAny(line, "\n\r\u2028\u2029\u0085") {
			t.Fatalf("not one line of UTF-8: %q", line)
		}
		var got struct {
			Path   string
			Bytes  int64 `json:"bytes_read"`
			Fields map[string]string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got.Bytes != n {
			t.Errorf("bytes: got %d, want %d", got.Bytes, n)
		}
		if len(path) <= mostBytes/12 && unescape(got.Path) != path {
			t.Errorf("path: got %q, want %q", unescape(got.Path), path)
		}
		for k, v := range got.Fields {
			if len(value) <= mostBytes/12 && (unescape(k) != value || unescape(v) != value) {
				t.Errorf("field: got %q: %q, want %q", k, v, value)
			}
		}
	})
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	e := full
	e.Fields, e.Remote = nil, netip.AddrPort{}
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = e.AppendJSON(b[:0], "berth1") }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	line := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		line = full.AppendJSON(line[:0], "berth1")
	}
	b.SetBytes(int64(len(line)))
}

func TestMode(t *testing.T) {
	tests := []struct {
		flag int
		want string
	}{
		{os.O_RDONLY, "reading"},
		{os.O_RDONLY | os.O_APPEND, "reading with append"},
		{os.O_WRONLY | os.O_CREATE | os.O_TRUNC, "writing"},
		{os.O_WRONLY | os.O_APPEND, "writing with append"},
		{os.O_RDWR | os.O_EXCL, "reading and writing"},
		{os.O_RDWR | os.O_APPEND | os.O_CREATE, "reading and writing with append"},
	}
	for _, tt := range tests {
		if got := Mode(tt.flag); got != tt.want {
			t.Errorf("%#x: got %q, want %q", tt.flag, got, tt.want)
		}
	}
}

// TestLongSignature: nothing is left off the signature of a checkpoint, or it proves nothing.
// One by an RSA key of 16384 bits is the longest.
func TestLongSignature(t *testing.T) {
	const longest = (2*16384/8 + 68) * 4 / 3 // the key, the signature, and their names, in base64
	signature := strings.Repeat("A", longest)
	for kind, whole := range map[Type]bool{EventsCheckpoint: true, LoginAccepted: false} {
		e := Event{Type: kind, Fields: map[string]string{"signature": signature}}
		if got := strings.Contains(string(e.AppendJSON(nil, "")), signature); got != whole {
			t.Errorf("%v: all of %d bytes: %t, want %t", kind, longest, got, whole)
		}
	}
}
