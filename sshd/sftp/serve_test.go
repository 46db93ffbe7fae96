package sftp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/fs"
	"berth/policy"
	"berth/sshd/event"
	"berth/sshd/sftp"
)

// aTree is a directory with a file of eight bytes, a directory with a file, and
// links to both and to nothing.
func aTree(t testing.TB) *hostFS {
	t.Helper()
	h := newHostFS(t)
	for _, err := range []error{
		os.WriteFile(h.host("/f"), []byte("contents"), 0o640),
		os.Chmod(h.host("/f"), 0o640),
		os.Mkdir(h.host("/d"), 0o755),
		os.WriteFile(h.host("/d/g"), nil, 0o644),
		os.Symlink("f", h.host("/l")),
		os.Symlink("nowhere", h.host("/broken")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// TestAnswers has each request, and its answer.
func TestAnswers(t *testing.T) {
	longName := strings.Repeat("n", 4097)
	tests := map[string]struct {
		ask  [][]byte
		want []string
	}{
		"open, fstat, read, close": {
			[][]byte{
				packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxFstat, 2, first),
				packet(fxRead, 3, first, uint64(3), 100), packet(fxRead, 4, first, uint64(8), 1), packet(fxClose, 5, first),
			},
			[]string{"1 handle 0.0", "2 attrs size 8 mode 100640", `3 data "tents"`, "4 status 1 End of file", "5 status 0 Success"},
		},
		"open what is not there": {
			[][]byte{packet(fxOpen, 1, "/no", rd, noAttrs), packet(fxOpen, 2, "/no/no", wr|creat, noAttrs), packet(fxOpen, 3, "/f/x", rd, noAttrs)},
			[]string{"1 status 2 No such file", "2 status 2 No such file", "3 status 2 Not a directory"},
		},
		"open a directory": {
			[][]byte{packet(fxOpen, 1, "/d", rd, noAttrs), packet(fxOpen, 2, "/d", wr|creat, noAttrs)},
			[]string{"1 status 4 Is a directory", "2 status 4 Is a directory"},
		},
		"open exclusively": {
			[][]byte{packet(fxOpen, 1, "/f", wr|creat|excl, noAttrs), packet(fxOpen, 2, "/new", wr|creat|excl, noAttrs), packet(fxOpen, 3, "/f", wr|excl, noAttrs)},
			[]string{"1 status 4 File exists", "2 handle 0.0", "3 handle 1.0"},
		},
		"open with a mode": {
			[][]byte{packet(fxOpen, 1, "/new", wr|creat, 4, 0o100600), packet(fxFstat, 2, first)},
			[]string{"1 handle 0.0", "2 attrs size 0 mode 100600"},
		},
		"write, truncate, append": {
			[][]byte{
				packet(fxOpen, 1, "/f", rd|wr, noAttrs), packet(fxWrite, 2, first, uint64(7), "s of"), packet(fxRead, 3, first, uint64(0), 20),
				packet(fxFsetstat, 4, first, 1, uint64(3)), packet(fxClose, 5, first),
				packet(fxOpen, 6, "/f", wr|app, noAttrs), packet(fxWrite, 7, handleAt(0, 1), uint64(0), "!"), packet(fxClose, 8, handleAt(0, 1)),
				packet(fxOpen, 9, "/f", rd, noAttrs), packet(fxRead, 10, handleAt(0, 2), uint64(0), 20),
			},
			[]string{
				"1 handle 0.0", "2 status 0 Success", `3 data "contents of"`, "4 status 0 Success", "5 status 0 Success",
				"6 handle 0.1", "7 status 0 Success", "8 status 0 Success", "9 handle 0.2", `10 data "con!"`,
			},
		},
		"open with truncation": {
			[][]byte{packet(fxOpen, 1, "/f", wr|creat|trunc, noAttrs), packet(fxFstat, 2, first)},
			[]string{"1 handle 0.0", "2 attrs size 0 mode 100640"},
		},
		"handles open the wrong way": {
			[][]byte{
				packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxWrite, 2, first, uint64(0), "x"), packet(fxFsetstat, 3, first, 1, uint64(0)),
				packet(fxOpen, 4, "/f", wr, noAttrs), packet(fxRead, 5, handleAt(1, 0), uint64(0), 1),
			},
			[]string{
				"1 handle 0.0", "2 status 3 Handle is not open for writing", "3 status 3 Handle is not open for writing",
				"4 handle 1.0", "5 status 3 Handle is not open for reading",
			},
		},
		"handles of the wrong kind, closed, never opened": {
			[][]byte{
				packet(fxOpen, 1, "/f", rd|wr, noAttrs), packet(fxOpendir, 2, "/d"),
				packet(fxReaddir, 3, first), packet(fxRead, 4, handleAt(1, 0), uint64(0), 1), packet(fxWrite, 5, handleAt(1, 0), uint64(0), "x"),
				packet(fxFstat, 6, handleAt(1, 0)), packet(fxFsetstat, 7, handleAt(1, 0), noAttrs),
				packet(fxClose, 8, first), packet(fxClose, 9, first), packet(fxRead, 10, first, uint64(0), 1),
				packet(fxOpen, 11, "/f", rd, noAttrs), packet(fxFstat, 12, first),
				packet(fxClose, 13, ""), packet(fxClose, 14, "h"), packet(fxClose, 15, handleAt(2, 0)), packet(fxClose, 16, handleAt(-1, -1)), packet(fxClose, 17, strings.Repeat("h", 100000)),
			},
			[]string{
				"1 handle 0.0", "2 handle 1.0", "3 status 4 Invalid handle", "4 status 4 Invalid handle", "5 status 4 Invalid handle",
				"6 status 4 Invalid handle", "7 status 4 Invalid handle", "8 status 0 Success", "9 status 4 Invalid handle", "10 status 4 Invalid handle",
				"11 handle 0.1", "12 status 4 Invalid handle",
				"13 status 4 Invalid handle", "14 status 4 Invalid handle", "15 status 4 Invalid handle", "16 status 4 Invalid handle", "17 status 4 Invalid handle",
			},
		},
		"odd lengths and offsets": {
			[][]byte{
				packet(fxOpen, 1, "/f", rd|wr, noAttrs), packet(fxRead, 2, first, uint64(0), 0), packet(fxRead, 3, first, uint64(0), -1),
				packet(fxRead, 4, first, uint64(1<<63), 1), packet(fxRead, 5, first, uint64(1<<63-1), 1), packet(fxRead, 6, first, uint64(1<<64-1), 1),
				packet(fxWrite, 7, first, uint64(1<<63), "x"), packet(fxWrite, 8, first, uint64(1<<63-1), "x"), packet(fxWrite, 9, first, uint64(0), ""),
				packet(fxFsetstat, 10, first, 1, uint64(1<<63)),
			},
			[]string{
				"1 handle 0.0", `2 data ""`, `3 data "contents"`,
				"4 status 4 Invalid argument", "5 status 1 End of file", "6 status 4 Invalid argument",
				"7 status 4 Invalid argument", "8 status 4 File too large", "9 status 0 Success", "10 status 4 Invalid argument",
			},
		},
		"stat and lstat": {
			[][]byte{
				packet(fxStat, 1, "/l"), packet(fxLstat, 2, "/l"), packet(fxStat, 3, "/broken"), packet(fxLstat, 4, "/no"),
				packet(fxStat, 5, "d/../f"), packet(fxStat, 6, ""), packet(fxStat, 7, "../../../f"),
			},
			[]string{
				"1 attrs size 8 mode 100640", "2 attrs size 1 mode 120777", "3 status 2 No such file", "4 status 2 No such file",
				"5 attrs size 8 mode 100640", "6 attrs size 4096 mode 40755", "7 attrs size 8 mode 100640",
			},
		},
		"setstat": {
			[][]byte{
				packet(fxSetstat, 1, "/f", 1|4, uint64(4), 0o600), packet(fxStat, 2, "/f"), packet(fxSetstat, 3, "/no", 4, 0o600), packet(fxSetstat, 4, "/f", noAttrs),
				packet(fxSetstat, 5, "/f", uint32(0x80000000), 1, "name", "value"), packet(fxSetstat, 6, "/f", 1, uint64(1<<63)),
			},
			[]string{
				"1 status 0 Success", "2 attrs size 4 mode 100600", "3 status 2 No such file", "4 status 0 Success",
				"5 status 0 Success", "6 status 4 Invalid argument",
			},
		},
		"owners and special bits": {
			[][]byte{
				packet(fxSetstat, 1, "/f", 2, -1, -1), packet(fxSetstat, 2, "/f", 2, -1, os.Getgid()), packet(fxSetstat, 3, "/f", 2, os.Getuid(), -1), packet(fxSetstat, 4, "/f", 2, -1, 12345),
				packet(fxSetstat, 5, "/f", 4, 0o104755), packet(fxSetstat, 6, "/f", 4, 0o102755), packet(fxSetstat, 7, "/f", 4, 0o101755), packet(fxStat, 8, "/f"),
				packet(fxSetstat, 9, "/d", 4, 0o43775), packet(fxStat, 10, "/d"), packet(fxSetstat, 11, "/d", 4, 0o4755), packet(fxOpen, 12, "/f", wr, noAttrs), packet(fxFsetstat, 13, first, 4, 0o4755), packet(fxFsetstat, 14, first, 2, -1, -1),
				packet(fxExtended, 15, "lsetstat@openssh.com", "/d", 4, 0o2700), packet(fxStat, 16, "/d"),
			},
			[]string{
				"1 status 0 Success", "2 status 0 Success", "3 status 0 Success", "4 status 3 Permission denied",
				"5 status 3 Permission denied", "6 status 3 Permission denied", "7 status 3 Permission denied", "8 attrs size 8 mode 100640",
				"9 status 0 Success", "10 attrs size 4096 mode 43775", "11 status 3 Permission denied", "12 handle 0.0", "13 status 3 Permission denied", "14 status 0 Success",
				"15 status 0 Success", "16 attrs size 4096 mode 42700",
			},
		},
		"mkdir, rmdir, remove": {
			[][]byte{
				packet(fxMkdir, 1, "/e", 4, 0o700), packet(fxStat, 2, "/e"), packet(fxMkdir, 3, "/e", noAttrs), packet(fxMkdir, 4, "/no/e", noAttrs),
				packet(fxRemove, 5, "/e"), packet(fxRmdir, 6, "/e"), packet(fxRmdir, 7, "/d"), packet(fxRmdir, 8, "/f"), packet(fxRemove, 9, "/f"), packet(fxRemove, 10, "/f"),
			},
			[]string{
				"1 status 0 Success", "2 attrs size 4096 mode 40700", "3 status 4 File exists", "4 status 2 No such file",
				"5 status 4 Is a directory", "6 status 0 Success", "7 status 4 Directory not empty", "8 status 2 Not a directory", "9 status 0 Success", "10 status 2 No such file",
			},
		},
		"realpath": {
			[][]byte{
				packet(fxRealpath, 1, "."), packet(fxRealpath, 2, ""), packet(fxRealpath, 3, "/no/../x//./y/"), packet(fxRealpath, 8, "/d//./y"), packet(fxRealpath, 4, "../.."),
				packet(fxRealpath, 5, "a\x00b"), packet(fxRealpath, 6, longName), packet(fxRealpath, 7, "\xff\n\\"),
			},
			[]string{
				`1 name ["/"]`, `2 name ["/"]`, "3 status 2 No such file", `8 name ["/d/y"]`, `4 name ["/"]`,
				"5 status 4 Invalid file name", "6 status 4 File name too long", `7 name ["/\xff\n\\"]`,
			},
		},
		"rename": {
			[][]byte{packet(fxRename, 1, "/f", "/d/g"), packet(fxRename, 2, "/f", "/d/h"), packet(fxRename, 3, "/f", "/x"), packet(fxStat, 4, "/d/h")},
			[]string{"1 status 4 File exists", "2 status 0 Success", "3 status 2 No such file", "4 attrs size 8 mode 100640"},
		},
		"links": {
			[][]byte{
				packet(fxReadlink, 1, "/l"), packet(fxReadlink, 2, "/f"), packet(fxReadlink, 3, "/no"),
				packet(fxSymlink, 4, "../to/../it", "/s"), packet(fxReadlink, 5, "/s"), packet(fxSymlink, 6, "x", "/f"), packet(fxSymlink, 7, "", "/empty"),
			},
			[]string{
				`1 name ["f"]`, "2 status 4 Invalid argument", "3 status 2 No such file",
				"4 status 0 Success", `5 name ["../to/../it"]`, "6 status 4 File exists", "7 status 2 No such file",
			},
		},
		"opendir and readdir": {
			[][]byte{packet(fxOpendir, 1, "/d"), packet(fxReaddir, 2, first), packet(fxReaddir, 3, first), packet(fxReaddir, 4, first), packet(fxClose, 5, first), packet(fxOpendir, 6, "/no"), packet(fxOpendir, 7, "/f")},
			[]string{"1 handle 0.0", `2 name ["." ".." "g"]`, "3 status 1 End of file", "4 status 1 End of file", "5 status 0 Success", "6 status 2 No such file", "7 status 2 Not a directory"},
		},
		"no such request": {
			[][]byte{packet(0, 1), packet(21, 2, "x"), packet(101, 3), packet(199, 4), packet(255, 5), packet(fxExtended, 6, "no-such@example.org", "x"), packet(fxVersion, 7)},
			[]string{
				"1 status 8 Operation unsupported", "2 status 8 Operation unsupported", "3 status 8 Operation unsupported",
				"4 status 8 Operation unsupported", "5 status 8 Operation unsupported", "6 status 8 Operation unsupported", "7 status 8 Operation unsupported",
			},
		},
		"posix-rename": {
			[][]byte{packet(fxExtended, 1, "posix-rename@openssh.com", "/f", "/d/g"), packet(fxStat, 2, "/d/g")},
			[]string{"1 status 0 Success", "2 attrs size 8 mode 100640"},
		},
		"hardlink": {
			[][]byte{packet(fxExtended, 1, "hardlink@openssh.com", "/f", "/d/h"), packet(fxStat, 2, "/d/h"), packet(fxExtended, 3, "hardlink@openssh.com", "/f", "/d/h")},
			[]string{"1 status 0 Success", "2 attrs size 8 mode 100640", "3 status 4 File exists"},
		},
		"fsync": {
			[][]byte{packet(fxOpen, 1, "/f", wr, noAttrs), packet(fxExtended, 2, "fsync@openssh.com", first), packet(fxExtended, 3, "fsync@openssh.com", "h")},
			[]string{"1 handle 0.0", "2 status 0 Success", "3 status 4 Invalid handle"},
		},
		"lsetstat": {
			[][]byte{packet(fxExtended, 1, "lsetstat@openssh.com", "/f", 4, 0o600), packet(fxStat, 2, "/f"), packet(fxExtended, 3, "lsetstat@openssh.com", "/l", 8, 1, 2), packet(fxExtended, 4, "lsetstat@openssh.com", "/l", 1, uint64(0))},
			[]string{"1 status 0 Success", "2 attrs size 8 mode 100600", "3 status 0 Success", "4 status 4 Invalid argument"},
		},
		"limits": {
			[][]byte{packet(fxExtended, 1, "limits@openssh.com")},
			[]string{"1 reply " + "0000000000040000" + "000000000003fc00" + "000000000003fc00" + "0000000000000400"},
		},
		"statvfs and fstatvfs": {
			[][]byte{packet(fxExtended, 1, "statvfs@openssh.com", "/no"), packet(fxExtended, 2, "fstatvfs@openssh.com", "?")},
			[]string{"1 status 2 No such file", "2 status 4 Invalid handle"},
		},
		"expand-path": {
			[][]byte{
				packet(fxExtended, 1, "expand-path@openssh.com", "~"), packet(fxExtended, 2, "expand-path@openssh.com", "~/d/.."), packet(fxExtended, 3, "expand-path@openssh.com", "~alice/y"),
				packet(fxExtended, 4, "expand-path@openssh.com", "~bob/y"), packet(fxExtended, 5, "expand-path@openssh.com", "x"), packet(fxExtended, 6, "expand-path@openssh.com", "/d/~"), packet(fxExtended, 7, "expand-path@openssh.com", "~/x/.."),
			},
			[]string{`1 name ["/"]`, `2 name ["/"]`, `3 name ["/y"]`, "4 status 2 No such user", `5 name ["/x"]`, `6 name ["/d/~"]`, "7 status 2 No such file"},
		},
		"home-directory": {
			[][]byte{packet(fxExtended, 1, "home-directory", ""), packet(fxExtended, 2, "home-directory", "alice"), packet(fxExtended, 3, "home-directory", "bob")},
			[]string{`1 name ["/"]`, `2 name ["/"]`, "3 status 2 No such user"},
		},
		"users-groups-by-id": {
			[][]byte{
				packet(fxExtended, 1, "users-groups-by-id@openssh.com", "\x00\x00\x00\x07\x00\x00\x00\x08", "\x00\x00\x00\x09"),
				packet(fxExtended, 2, "users-groups-by-id@openssh.com", "\x00", ""), packet(fxExtended, 3, "users-groups-by-id@openssh.com", strings.Repeat("\x00", 4*513), ""),
				packet(fxExtended, 4, "users-groups-by-id@openssh.com", strings.Repeat("\x00", 4*500), strings.Repeat("\x00", 4*12)),
			},
			[]string{"1 reply " + "00000008" + "00000000" + "00000000" + "00000004" + "00000000", "2 status 5 Bad message", "3 status 4 Answer would be too long", "4 reply 000007d0" + strings.Repeat("00", 4*500) + "00000030" + strings.Repeat("00", 4*12)},
		},
		"copy-data": {
			[][]byte{
				packet(fxOpen, 1, "/f", rd, noAttrs), packet(fxOpen, 2, "/c", rd|wr|creat, noAttrs),
				packet(fxExtended, 3, "copy-data", first, uint64(1), uint64(3), handleAt(1, 0), uint64(2)), packet(fxRead, 4, handleAt(1, 0), uint64(0), 99),
				packet(fxExtended, 5, "copy-data", first, uint64(4), uint64(0), handleAt(1, 0), uint64(0)), packet(fxRead, 6, handleAt(1, 0), uint64(0), 99),
				packet(fxExtended, 7, "copy-data", handleAt(1, 0), uint64(0), uint64(0), first, uint64(0)),
				packet(fxExtended, 8, "copy-data", handleAt(1, 0), uint64(0), uint64(0), handleAt(1, 0), uint64(9)),
				packet(fxExtended, 9, "copy-data", first, uint64(1<<63-1), uint64(1<<63-1), handleAt(1, 0), uint64(0)),
				packet(fxExtended, 10, "copy-data", first, uint64(0), uint64(8), handleAt(1, 0), uint64(1<<63-1)),
				packet(fxExtended, 11, "copy-data", first, uint64(0), uint64(0), handleAt(2, 0), uint64(0)),
				packet(fxOpen, 12, "/c", wr, noAttrs), packet(fxExtended, 13, "copy-data", handleAt(2, 0), uint64(0), uint64(0), handleAt(1, 0), uint64(0)),
			},
			[]string{
				"1 handle 0.0", "2 handle 1.0", "3 status 0 Success", `4 data "\x00\x00ont"`, "5 status 0 Success", `6 data "entst"`,
				"7 status 3 Handle is not open for writing", "8 status 4 Source and target are the same file",
				"9 status 0 Success", "10 status 4 File too large", "11 status 4 Invalid handle",
				"12 handle 2.0", "13 status 3 Handle is not open for reading",
			},
		},
		"check-file": {
			[][]byte{
				packet(fxExtended, 1, "check-file-name", "/f", "md5", uint64(0), uint64(0), 0),
				packet(fxExtended, 2, "check-file-name", "/f", "crc32,sha256,md5", uint64(3), uint64(2), 0),
				packet(fxOpen, 3, "/f", rd, noAttrs), packet(fxExtended, 4, "check-file-handle", first, "sha1", uint64(0), uint64(1000), 256),
				packet(fxExtended, 5, "check-file-name", "/f", "crc32", uint64(0), uint64(0), 0), packet(fxExtended, 6, "check-file-name", "/f", "md5", uint64(0), uint64(0), 255),
				packet(fxExtended, 7, "check-file-name", "/no", "md5", uint64(0), uint64(0), 0), packet(fxExtended, 8, "check-file-name", "/f", "md5", uint64(9), uint64(0), 0),
				packet(fxExtended, 11, "check-file", first, "md5,sha1", uint64(0), uint64(8), 0), packet(fxOpen, 9, "/f", wr, noAttrs), packet(fxExtended, 10, "check-file-handle", handleAt(1, 0), "md5", uint64(0), uint64(0), 0),
			},
			[]string{
				"1 reply " + hex.EncodeToString([]byte("\x00\x00\x00\x03md5")) + "98bf7d8c15784f0a3d63204441e1e2aa",
				"2 reply " + hex.EncodeToString([]byte("\x00\x00\x00\x06sha256")) + "2d6c9a90dd38f6852515274cde41a8cd8e7e1a7a053835334ec7e29f61b918dd",
				"3 handle 0.0", "4 reply " + hex.EncodeToString([]byte("\x00\x00\x00\x04sha1")) + "4a756ca07e9487f482465a99e8286abc86ba4dc7",
				"5 status 8 No such hash algorithm", "6 status 4 Invalid argument", "7 status 2 No such file",
				"8 reply " + hex.EncodeToString([]byte("\x00\x00\x00\x03md5")) + "d41d8cd98f00b204e9800998ecf8427e",
				"11 reply " + hex.EncodeToString([]byte("\x00\x00\x00\x0acheck-file\x00\x00\x00\x03md5")) + "98bf7d8c15784f0a3d63204441e1e2aa",
				"9 handle 1.0", "10 status 3 Handle is not open for reading",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files := aTree(t)
			got, err := converse(t, files, sftp.Options{User: "alice"}, tt.ask...)
			if err != nil {
				t.Errorf("Serve = %v, want nil at the end of the stream", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if n := files.open.Load(); n != 0 {
				t.Errorf("%d files left open", n)
			}
		})
	}
}

// TestBytes holds a few answers to the very bytes of the draft and of OpenSSH.
func TestBytes(t *testing.T) {
	files := aTree(t)
	when := time.Unix(0x60000000, 0)
	if err := errors.Join(os.Chtimes(files.host("/f"), when, when), os.Chown(files.host("/f"), os.Getuid(), os.Getgid())); err != nil {
		t.Fatal(err)
	}
	ids := fmt.Sprintf("%08x%08x", os.Getuid(), os.Getgid())
	tests := []struct {
		ask  []byte
		want string
	}{
		{packet(fxStat, 4, "/f"), "00000025" + "69" + "00000004" + "0000000f" + "0000000000000008" + ids + "000081a0" + "60000000" + "60000000"},
		{packet(fxOpen, 1, "/f", rd, noAttrs), "00000011" + "66" + "00000001" + "00000008" + "0000000000000000"},
		{packet(fxRead, 2, first, uint64(0), 3), "0000000c" + "67" + "00000002" + "00000003" + "636f6e"},
		{packet(fxClose, 3, "?"), "00000021" + "65" + "00000003" + "00000004" + "0000000e" + hex.EncodeToString([]byte("Invalid handle")) + "00000002" + "656e"},
		{packet(fxRealpath, 5, "x"), "00000019" + "68" + "00000005" + "00000001" + "00000002" + "2f78" + "00000002" + "2f78" + "00000000"},
	}
	s := &script{}
	in := bytes.Clone(hello)
	for _, tt := range tests {
		in = append(in, tt.ask...)
	}
	s.Reader = bytes.NewReader(in)
	if err := sftp.Serve(s, files, sftp.Options{}); err != nil {
		t.Fatal(err)
	}
	answers := split(t, s.Bytes())
	version := string(answers[0])
	for _, want := range []string{
		"\x02\x00\x00\x00\x03\x00\x00\x00\x18posix-rename@openssh.com\x00\x00\x00\x011",
		"\x00\x00\x00\x13statvfs@openssh.com\x00\x00\x00\x012", "\x00\x00\x00\x12limits@openssh.com\x00\x00\x00\x011", "\x00\x00\x00\x09copy-data\x00\x00\x00\x011",
	} {
		if !strings.Contains(version, want) {
			t.Errorf("VERSION is %q, want it to hold %q", version, want)
		}
	}
	for i, tt := range tests {
		got := hex.EncodeToString(answers[i+1])
		if got = fmt.Sprintf("%08x", len(answers[i+1])) + got; got != tt.want {
			t.Errorf("answer %d is\n%s, want\n%s", i+1, got, tt.want)
		}
	}
	if s.writes != 1 {
		t.Errorf("the answers to requests that came together left in %d writes, want 1", s.writes)
	}
}

// everyRequest is one good request of each kind.
func everyRequest() map[string][]byte {
	all := map[string][]byte{
		"open": packet(fxOpen, 1, "/f", wr, 1|2|4|8, uint64(1), 2, 3, 0o644, 4, 5), "close": packet(fxClose, 1, first), "read": packet(fxRead, 1, first, uint64(0), 1),
		"write": packet(fxWrite, 1, first, uint64(0), "x"), "lstat": packet(fxLstat, 1, "/f"), "fstat": packet(fxFstat, 1, first), "setstat": packet(fxSetstat, 1, "/f", uint32(0x80000000), 1, "a", "b"),
		"fsetstat": packet(fxFsetstat, 1, first, 8, 1, 2), "opendir": packet(fxOpendir, 1, "/d"), "readdir": packet(fxReaddir, 1, first), "remove": packet(fxRemove, 1, "/f"),
		"mkdir": packet(fxMkdir, 1, "/e", noAttrs), "rmdir": packet(fxRmdir, 1, "/d"), "realpath": packet(fxRealpath, 1, "."), "stat": packet(fxStat, 1, "/f"), "rename": packet(fxRename, 1, "/f", "/g"),
		"readlink": packet(fxReadlink, 1, "/l"), "symlink": packet(fxSymlink, 1, "t", "/s"), "extended": packet(fxExtended, 1, "home-directory", "alice"),
	}
	for name, fields := range map[string][]any{
		"posix-rename@openssh.com": {"/f", "/g"}, "statvfs@openssh.com": {"/"}, "fstatvfs@openssh.com": {first}, "hardlink@openssh.com": {"/f", "/g"}, "fsync@openssh.com": {first},
		"lsetstat@openssh.com": {"/f", 4, 0o644}, "limits@openssh.com": {}, "expand-path@openssh.com": {"~"}, "copy-data": {first, uint64(0), uint64(0), first, uint64(0)}, "home-directory": {""},
		"users-groups-by-id@openssh.com": {"\x00\x00\x00\x01", "\x00\x00\x00\x01"}, "check-file": {first, "md5", uint64(0), uint64(0), 0},
		"check-file-handle": {first, "md5", uint64(0), uint64(0), 0}, "check-file-name": {"/f", "md5", uint64(0), uint64(0), 0},
	} {
		all[name] = packet(fxExtended, append([]any{1, name}, fields...)...)
	}
	return all
}

// TestTables sees to it that there is a test for every request, and a permission
// and an event by the names that the tables give.
func TestTables(t *testing.T) {
	events := map[string]bool{"": true}
	for e := range event.Types() {
		events[e.String()] = true
	}
	all := everyRequest()
	for _, r := range slices.Concat(sftp.Requests(), sftp.Extensions()) {
		if _, err := policy.ParseOps(strings.Fields(r.Permission)); err != nil || !events[r.Event] {
			t.Errorf("%s asks for %q, %v, and tells of %q, want names that exist", r.Name, r.Permission, err, r.Event)
		}
		if all[r.Name] == nil {
			t.Errorf("no test has a %s", r.Name)
		}
		delete(all, r.Name)
	}
	for name := range all {
		t.Errorf("%s is in the tests and not in the server", name)
	}
}

func TestLinkFirst(t *testing.T) {
	got, err := converse(t, aTree(t), sftp.Options{LinkFirst: true}, packet(fxSymlink, 1, "/s", "to"), packet(fxReadlink, 2, "/s"), packet(fxSymlink, 3, "/x", ""))
	want := []string{"1 status 0 Success", `2 name ["to"]`, "3 status 2 No such file"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("answers (-want +got), %v:\n%s", err, diff)
	}
}

// roomy is an FS of a known size.
type roomy struct{ *hostFS }

func (roomy) StatFS(string) (fs.Usage, error) {
	return fs.Usage{BlockSize: 1, Blocks: 2, BlocksFree: 3, BlocksAvail: 4, Files: 5, FilesFree: 6, FSID: 7, Flags: 0x1023, NameMax: 8}, nil
}

func TestStatVFS(t *testing.T) {
	got, err := converse(t, roomy{aTree(t)}, sftp.Options{},
		packet(fxExtended, 1, "statvfs@openssh.com", "/"), packet(fxOpen, 2, "/f", rd, noAttrs), packet(fxExtended, 3, "fstatvfs@openssh.com", first))
	room := ""
	for _, v := range []int{1, 1, 2, 3, 4, 5, 6, 6, 7, 3, 8} {
		room += fmt.Sprintf("%016x", v)
	}
	want := []string{"1 reply " + room, "2 handle 0.0", "3 reply " + room}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("answers (-want +got), %v:\n%s", err, diff)
	}
}

// TestLargeDirectory lists a directory whose names are as long as they get.
func TestLargeDirectory(t *testing.T) {
	files := newHostFS(t)
	const n = 1200
	for i := range n {
		if err := os.WriteFile(files.host(fmt.Sprintf("/%s%04d", strings.Repeat("n", 251), i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := [][]byte{packet(fxOpendir, 0, "/")}
	for range 20 {
		ask = append(ask, packet(fxReaddir, 0, first))
	}
	s := &script{Reader: bytes.NewReader(append(bytes.Clone(hello), bytes.Join(ask, nil)...))}
	if err := sftp.Serve(s, files, sftp.Options{}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	answers := split(t, s.Bytes())[2:]
	for i, a := range answers {
		if a[0] != fxName {
			continue
		}
		f := &fields{t, a[5:]}
		count := f.u32()
		if count < 100 && answers[i+1][0] == fxName || len(a) > 120<<10 {
			t.Errorf("answer %d has %d entries in %d bytes, want at least 100 and at most 120 KiB", i, count, len(a))
		}
		for range count {
			name := f.string()
			if long := f.string(); !strings.HasSuffix(long, " "+name) {
				t.Errorf("the long name of %q is %q", name, long)
			}
			f.attrs()
			if seen[name] {
				t.Errorf("%q is listed twice", name)
			}
			seen[name] = true
		}
	}
	if len(seen) != n+2 {
		t.Errorf("%d names listed, want %d and two dots", len(seen), n)
	}
}

// TestLsetstat sets the times of a link, and not those of the file it leads to.
func TestLsetstat(t *testing.T) {
	files := aTree(t)
	if got, err := converse(t, files, sftp.Options{}, packet(fxExtended, 1, "lsetstat@openssh.com", "/l", 8, 1, 2)); err != nil || !slices.Equal(got, []string{"1 status 0 Success"}) {
		t.Fatalf("%q, %v", got, err)
	}
	link, err := os.Lstat(files.host("/l"))
	if err != nil || link.ModTime().Unix() != 2 {
		t.Errorf("the link is from %v, %v; want second 2", link.ModTime(), err)
	}
	file, err := os.Stat(files.host("/f"))
	if err != nil || file.ModTime().Unix() == 2 {
		t.Errorf("the file is from %v, %v", file.ModTime(), err)
	}
}
