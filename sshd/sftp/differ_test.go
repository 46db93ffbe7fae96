package sftp_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/fs"
	"berth/policy"
	"berth/sshd/sftp"
)

// openSSHServer is OpenSSH's sftp-server, where its packages put it.
func openSSHServer(t *testing.T) string {
	t.Helper()
	for _, file := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server"} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Fatal("this test needs OpenSSH's sftp-server (package openssh-sftp-server)")
	return ""
}

// askOpenSSH has the answers of OpenSSH's server, as converse has ours.
func askOpenSSH(t *testing.T, dir string, packets ...[]byte) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), openSSHServer(t), "-d", dir)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Wait()
	defer in.Close() // it ends then, whatever it has still to say
	_, err = in.Write(slices.Concat(hello, bytes.Join(packets, nil)))
	must(t, err)
	var told []string
	for i := range len(packets) + 1 {
		var size [4]byte
		_, err := io.ReadFull(out, size[:])
		must(t, err)
		answer := make([]byte, binary.BigEndian.Uint32(size[:]))
		_, err = io.ReadFull(out, answer)
		must(t, err)
		if i > 0 { // VERSION comes first
			told = append(told, show(t, answer))
		}
	}
	return told
}

// sorted puts the names of a listing in order: a disk has an order of its own.
func sorted(answer string) string {
	before, names, listing := strings.Cut(answer, " name [")
	if !listing {
		return answer
	}
	list := strings.Fields(strings.TrimSuffix(names, "]"))
	slices.Sort(list)
	return before + " name [" + strings.Join(list, " ") + "]"
}

// differences are answers of OpenSSH's server that we give in another way. It says
// BAD_MESSAGE where the system says EINVAL or ENAMETOOLONG; here that is only for
// what cannot be parsed, and these are failures with a sentence. It says NO_SUCH_FILE
// for some handles that are not there, and OK when nothing is to be set on nothing.
// Its realpath lets ".." follow a file, which the system does not.
var differences = map[string]map[string]string{
	"links":            {"2 status 5": "2 status 4"},
	"renames":          {"4 status 5": "4 status 4"},
	"stat":             {"9 status 5": "9 status 4"},
	"write":            {"17 status 2": "17 status 4"},
	"handles":          {"1 status 2": "1 status 4", "10 status 2": "10 status 4"},
	"attributes":       {"7 status 0": "7 status 2"},
	"a dot at the end": {"6 status 5": "6 status 4", "10 status 5": "10 status 4"},
	"realpath":         {`40 name ["/"]`: "40 status 2", `130 name ["/"]`: "130 status 2"},
}

// codeOnly takes out of an answer what each server words in its own way.
var codeOnly = regexp.MustCompile(`^(\d+ (status \d+|handle)).*`)

// TestAnswersLikeOpenSSH has both servers do the same, and compares the kind and
// code of each answer, and what is in it. The names are relative: OpenSSH's
// server, started by hand, shows the whole machine.
func TestAnswersLikeOpenSSH(t *testing.T) {
	ours := func(place int) string { return handleAt(place, 0) }
	theirs := func(place int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(place))) }
	for name, ask := range map[string]func(h func(place int) string) [][]byte{
		"open": func(func(int) string) [][]byte {
			var asks [][]byte
			for flags := range 64 { // every combination, on a file, on a new name, on a directory
				fresh := "new" + string(rune('A'+flags))
				asks = append(asks, packet(fxOpen, flags, "f", flags, noAttrs), packet(fxOpen, 100+flags, fresh, flags, noAttrs))
				if flags&(wr|creat|trunc) != 0 { // a directory is opened and cannot be read there, and not opened here
					asks = append(asks, packet(fxOpen, 200+flags, "d", flags, noAttrs))
				}
			}
			return append(asks, packet(fxStat, 300, "f"))
		},
		"write": func(h func(int) string) [][]byte {
			return [][]byte{
				packet(fxOpen, 1, "f", rd|wr, noAttrs), packet(fxWrite, 2, h(0), uint64(100), "x"), packet(fxFstat, 3, h(0)), packet(fxRead, 4, h(0), uint64(90), 100),
				packet(fxWrite, 5, h(0), uint64(0), ""), packet(fxFsetstat, 6, h(0), 1|4, uint64(2), 0o600), packet(fxFstat, 7, h(0)), packet(fxRead, 8, h(0), uint64(0), 100), packet(fxRead, 9, h(0), uint64(5), 0), packet(fxRead, 10, h(0), uint64(2), 5),
				packet(fxOpen, 11, "f", wr|app, noAttrs), packet(fxWrite, 12, h(1), uint64(0), "tail"), packet(fxRead, 13, h(0), uint64(0), 100),
				packet(fxOpen, 14, "f", wr|creat|trunc, noAttrs), packet(fxFstat, 15, h(0)), packet(fxClose, 16, h(2)), packet(fxClose, 17, h(2)),
			}
		},
		"links": func(func(int) string) [][]byte {
			return [][]byte{
				packet(fxReadlink, 1, "l"), packet(fxReadlink, 2, "f"), packet(fxReadlink, 3, "no"), packet(fxSymlink, 4, "target", "s"), packet(fxReadlink, 5, "s"), packet(fxSymlink, 6, "x", "f"),
				packet(fxLstat, 7, "s"), packet(fxStat, 8, "s"), packet(fxStat, 9, "l"), packet(fxExtended, 10, "hardlink@openssh.com", "f", "h"), packet(fxExtended, 11, "hardlink@openssh.com", "f", "l"),
				packet(fxRemove, 12, "l"), packet(fxStat, 13, "f"), packet(fxRemove, 14, "broken"), packet(fxExtended, 15, "hardlink@openssh.com", "no", "x"),
			}
		},
		"directories": func(h func(int) string) [][]byte {
			return [][]byte{
				packet(fxMkdir, 1, "e", noAttrs), packet(fxMkdir, 2, "e", noAttrs), packet(fxMkdir, 3, "no/e", noAttrs), packet(fxMkdir, 4, "f/e", noAttrs), packet(fxRmdir, 5, "d"), packet(fxRmdir, 6, "f"), packet(fxRmdir, 7, "no"), packet(fxRmdir, 8, "e"),
				packet(fxOpendir, 9, "d"), packet(fxReaddir, 11, h(0)), packet(fxReaddir, 12, h(0)), packet(fxOpendir, 13, "f"), packet(fxOpendir, 14, "no"), packet(fxRemove, 15, "d"), packet(fxRemove, 16, "no"),
				packet(fxClose, 17, h(0)), packet(fxReaddir, 18, h(0)),
			}
		},
		"renames": func(func(int) string) [][]byte {
			return [][]byte{
				packet(fxRename, 1, "f", "d/g"), packet(fxRename, 2, "no", "x"), packet(fxRename, 3, "f", "no/x"), packet(fxRename, 4, "d", "d/e"), packet(fxRename, 5, "f", "f2"), packet(fxRename, 6, "f2", "f2"), packet(fxRename, 7, "d", "f2"),
				packet(fxExtended, 8, "posix-rename@openssh.com", "f2", "d/g"), packet(fxExtended, 9, "posix-rename@openssh.com", "no", "x"), packet(fxExtended, 10, "posix-rename@openssh.com", "d/g", "d"),
				packet(fxStat, 11, "d/g"), packet(fxRename, 12, "d", "e"), packet(fxStat, 13, "e/g"), packet(fxRename, 14, "l", "l2"), packet(fxReadlink, 15, "l2"),
			}
		},
		"attributes": func(func(int) string) [][]byte {
			return [][]byte{
				packet(fxSetstat, 1, "f", 4, 0o604), packet(fxStat, 2, "f"), packet(fxSetstat, 3, "f", 1, uint64(3)), packet(fxStat, 4, "f"), packet(fxSetstat, 5, "no", 4, 0o600), packet(fxSetstat, 6, "f", noAttrs),
				packet(fxSetstat, 7, "no", noAttrs), packet(fxSetstat, 8, "d", 1, uint64(0)), packet(fxSetstat, 9, "f", 8, 1000, 2000), packet(fxExtended, 10, "lsetstat@openssh.com", "l", 8, 1000, 2000), packet(fxExtended, 11, "lsetstat@openssh.com", "f", 4, 0o640),
				packet(fxStat, 12, "f"), packet(fxExtended, 13, "lsetstat@openssh.com", "no", 4, 0o640), packet(fxSetstat, 14, "l", 4, 0o600), packet(fxLstat, 15, "l"), packet(fxStat, 16, "f"), packet(fxSetstat, 17, "f/x", 4, 0o600),
				packet(fxSetstat, 18, "f", uint32(0x80000000), 1, "a", "b"), packet(fxMkdir, 19, "m", 4, 0o2700), packet(fxStat, 20, "m"),
			}
		},
		"handles": func(h func(int) string) [][]byte {
			return [][]byte{
				packet(fxClose, 1, "zz"), packet(fxRead, 2, h(0), uint64(0), 1), packet(fxWrite, 3, h(0), uint64(0), "x"), packet(fxFstat, 4, h(7)), packet(fxFsetstat, 5, h(7), noAttrs), packet(fxReaddir, 6, h(0)), packet(fxOpen, 7, "f", rd, noAttrs),
				packet(fxReaddir, 8, h(0)), packet(fxExtended, 9, "fsync@openssh.com", h(0)), packet(fxExtended, 10, "fsync@openssh.com", h(9)), packet(fxOpendir, 11, "d"), packet(fxRead, 12, h(1), uint64(0), 1),
			}
		},
		"slashes": func(func(int) string) [][]byte {
			return [][]byte{
				packet(fxStat, 1, "f/"), packet(fxLstat, 2, "f/"), packet(fxStat, 3, "f/."), packet(fxLstat, 4, "d/"), packet(fxSymlink, 5, "d", "ld"), packet(fxLstat, 6, "ld/"), packet(fxLstat, 7, "ld"),
				packet(fxRemove, 8, "f/"), packet(fxRemove, 9, "ld/"), packet(fxRemove, 10, "d/"), packet(fxRemove, 11, "no/"), packet(fxOpen, 12, "no/", wr|creat, noAttrs), packet(fxOpen, 13, "f/", rd, noAttrs), packet(fxOpen, 14, "l/", wr|creat|trunc, noAttrs),
				packet(fxSetstat, 15, "f/", 4, 0o600), packet(fxRename, 16, "f/", "x"), packet(fxMkdir, 17, "m/", noAttrs), packet(fxRename, 18, "m/", "n/"), packet(fxRmdir, 19, "n/"), packet(fxStat, 20, "f"), packet(fxLstat, 21, "ld"), packet(fxStat, 22, "no"),
			}
		},
		"a dot at the end": func(func(int) string) [][]byte {
			return [][]byte{
				packet(fxMkdir, 1, "m/.", noAttrs), packet(fxLstat, 2, "m"), packet(fxMkdir, 3, "d/.", noAttrs), packet(fxMkdir, 4, "f/.", noAttrs), packet(fxMkdir, 5, "m", noAttrs),
				packet(fxRmdir, 6, "m/."), packet(fxLstat, 7, "m"), packet(fxRmdir, 8, "no/."), packet(fxRmdir, 9, "f/."), packet(fxRmdir, 10, "m/./"), packet(fxRmdir, 11, "m"),
				packet(fxMkdir, 12, "m/./", noAttrs), packet(fxMkdir, 13, ".", noAttrs), packet(fxRmdir, 14, "./m/."),
			}
		},
		// A name is not cleaned before what it leads through has been found.
		"dots": func(h func(int) string) [][]byte {
			return [][]byte{
				packet(fxStat, 1, "no/../f"), packet(fxLstat, 2, "f/../f"), packet(fxOpen, 3, "no/../f", rd, noAttrs), packet(fxOpen, 4, "no/../new", wr|creat, noAttrs), packet(fxStat, 5, "new"),
				packet(fxRemove, 6, "no/../f"), packet(fxRename, 7, "no/../f", "x"), packet(fxRename, 8, "f", "no/../x"), packet(fxMkdir, 9, "no/../m", noAttrs), packet(fxSetstat, 10, "no/../f", 4, 0o600),
				packet(fxMkdir, 11, "d/e", noAttrs), packet(fxSymlink, 12, "d/e", "le"), packet(fxStat, 13, "le/../g"), packet(fxStat, 14, "le/../f"), packet(fxOpen, 15, "le/../h", wr|creat, noAttrs), packet(fxLstat, 16, "d/h"),
				packet(fxOpendir, 17, "le/.."), packet(fxReaddir, 18, h(1)), packet(fxStat, 19, "d/../d/./e/../g"), packet(fxReadlink, 20, "d/../l"), packet(fxExtended, 21, "hardlink@openssh.com", "no/../f", "h"),
				packet(fxExtended, 22, "posix-rename@openssh.com", "le/../h", "d/../f"), packet(fxStat, 23, "f"), packet(fxStat, 24, "broken/../f"), packet(fxRmdir, 25, "le/../e"), packet(fxLstat, 26, "d/e"),
			}
		},
		"realpath": func(func(int) string) [][]byte {
			asks := [][]byte{packet(fxMkdir, 1, "d/e", noAttrs), packet(fxSymlink, 2, "d/e", "le"), packet(fxSymlink, 3, "loop", "loop"), packet(fxSymlink, 4, "../f", "d/back")}
			for i, name := range []string{
				".", "", "./", "d", "d/", "d/.", "d/..", "f", "f/", "no", "no/", "no/x", "no/..", "no/../f", "d/no", "le", "le/", "le/..", "le/../g", "le/no", "le/../no",
				"l", "broken", "broken/", "broken/x", "loop", "loop/x", "d/back", "d/back/x", "f/x", "f/..", "d//e///.//", strings.Repeat("d/../", 200) + "f",
			} {
				asks = append(asks, packet(fxRealpath, 10+i, name), packet(fxExtended, 100+i, "expand-path@openssh.com", name))
			}
			return asks
		},
		"stat": func(func(int) string) [][]byte {
			return [][]byte{
				packet(fxStat, 1, "f"), packet(fxLstat, 2, "f"), packet(fxStat, 3, "broken"), packet(fxLstat, 4, "broken"), packet(fxStat, 5, "f/x"), packet(fxStat, 6, "no"), packet(fxStat, 7, "d/"), packet(fxStat, 8, "d/../f"), packet(fxStat, 9, strings.Repeat("n", 300)),
				packet(fxLstat, 10, "d/./g"), packet(fxStat, 11, "./f"),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := converse(t, aTree(t), sftp.Options{}, ask(ours)...)
			must(t, err)
			dir := aTree(t).dir
			want := askOpenSSH(t, dir, ask(theirs)...)
			view := strings.NewReplacer(`"`+dir+`"`, `"/"`, `"`+dir, `"`)
			for _, told := range [][]string{got, want} {
				for i := range told {
					told[i] = sorted(codeOnly.ReplaceAllString(view.Replace(told[i]), "$1"))
				}
			}
			for i, w := range want {
				if other, ok := differences[name][w]; ok {
					want[i] = other
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("our answers are not OpenSSH's (-theirs +ours):\n%s", diff)
			}
		})
	}
}

// TestCodesOfLimitedRights asks about names that exist and that do not, with fewer
// rights than the requests need: what exists is judged before rights are, where the
// person may list, because clients make folders that exist and remove files that do not.
func TestCodesOfLimitedRights(t *testing.T) {
	host := t.TempDir()
	must(t, os.WriteFile(filepath.Join(host, "f"), nil, 0o600))
	files, err := fs.Open(&policy.Policy{
		Folders: []policy.Folder{{Path: "/way/folder", Host: host}},
		Access:  []policy.Access{{Path: "/way/folder", Ops: policy.List | policy.Create | policy.Rename}},
	}, fs.Settings{})
	must(t, err)
	defer files.Close()
	got, err := converse(t, files, sftp.Options{},
		packet(fxMkdir, 1, "/", noAttrs), packet(fxMkdir, 2, "/way", noAttrs), packet(fxMkdir, 3, "/way/folder", noAttrs), packet(fxMkdir, 4, "/way/folder/", noAttrs), packet(fxMkdir, 5, "/way/new", noAttrs),
		packet(fxMkdir, 6, "/way/folder/f", noAttrs), packet(fxRemove, 7, "/way/folder/no"), packet(fxRmdir, 8, "/way/folder/no"), packet(fxRename, 9, "/way/folder/no", "/way/folder/x"), packet(fxSetstat, 10, "/way/folder/no", 4, 0o600),
		packet(fxOpen, 11, "/way/folder/no", wr, noAttrs), packet(fxOpen, 12, "/way/folder/no", rd, noAttrs), packet(fxExtended, 13, "posix-rename@openssh.com", "/way/folder/no", "/way/folder/f"), packet(fxReadlink, 14, "/way/folder/no"),
		packet(fxRemove, 15, "/way/folder/f"), packet(fxOpen, 16, "/way/folder/f", rd, noAttrs), packet(fxSymlink, 17, "x", "/way/folder/f"), packet(fxOpendir, 18, "/way/folder/no"), packet(fxExtended, 19, "statvfs@openssh.com", "/way/folder/no"))
	must(t, err)
	want := []string{
		"1 status 4", "2 status 4", "3 status 4", "4 status 4", "5 status 3",
		"6 status 4", "7 status 2", "8 status 2", "9 status 2", "10 status 2",
		"11 status 2", "12 status 2", "13 status 2", "14 status 2",
		"15 status 3", "16 status 3", "17 status 4", "18 status 2", "19 status 2",
	}
	for i := range got {
		got[i] = codeOnly.ReplaceAllString(got[i], "$1")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
