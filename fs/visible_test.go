package fs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/policy"
)

// everyInterface is what a view can do, by names and otherwise. A new optional
// interface belongs here.
var everyInterface = []reflect.Type{
	reflect.TypeFor[FS](),
}

// nameless are the methods that take no name.
var nameless = map[string]bool{"Close": true}

// variants are the values that parameters other than names take. A method with a
// parameter of another type fails the test.
var variants = map[reflect.Type][]any{
	reflect.TypeFor[int](): {
		os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREATE, os.O_WRONLY | os.O_CREATE | os.O_TRUNC,
		os.O_WRONLY | os.O_CREATE | os.O_EXCL, os.O_WRONLY | os.O_APPEND | os.O_CREATE, os.O_RDONLY | os.O_CREATE, os.O_WRONLY | os.O_EXCL,
	},
	reflect.TypeFor[iofs.FileMode](): {iofs.FileMode(0o666)},
	reflect.TypeFor[bool]():          {false, true},
	reflect.TypeFor[Attr](): {
		Attr{},
		Attr{Set: AttrSize},
		Attr{Set: AttrMode, Mode: 0o600},
		Attr{Set: AttrTimes, Atime: time.Unix(1, 0), Mtime: time.Unix(1, 0)},
		Attr{Set: AttrOwner, UID: 12345, GID: sameOwner},
		Attr{Set: AttrSize | AttrMode, Mode: 0o600},
		Attr{Set: AttrTimes, NoFollow: true},
	},
}

// call is one call of a method with the name under test in one place.
type call struct {
	what string
	do   func(f FS, name string) error
	// makes says that the call asks for something to be made under the name, so
	// that its error has to depend on what exists there if it is permitted.
	makes bool
	pair  bool // the call takes another name too
}

// everyCall is every method of every interface, with the name under test as each
// of its names and every variant of the rest. The other name is of something the
// person may use.
func everyCall(t *testing.T, other string) []call {
	t.Helper()
	var calls []call
	for _, in := range everyInterface {
		for i := range in.NumMethod() {
			m := in.Method(i)
			named := false
			for at := range m.Type.NumIn() {
				if m.Type.In(at).Kind() == reflect.String {
					named = true
					calls = append(calls, callsOf(t, m, at, other)...)
				}
			}
			if !named && !nameless[m.Name] {
				t.Errorf("method %s of %v takes no name: say so in nameless", m.Name, in)
			}
		}
	}
	return calls
}

func callsOf(t *testing.T, m reflect.Method, at int, other string) []call {
	t.Helper()
	if m.Name == "Symlink" && at == 0 {
		return nil // the target of a link is only text
	}
	args := [][]reflect.Value{nil}
	for i := range m.Type.NumIn() {
		values, known := variants[m.Type.In(i)]
		switch {
		case i == at:
			values = []any{""} // filled in by the call
		case m.Type.In(i).Kind() == reflect.String:
			values = []any{other}
		case !known:
			t.Fatalf("method %s has a parameter of type %v: say in variants what to try", m.Name, m.Type.In(i))
		}
		var more [][]reflect.Value
		for _, before := range args {
			for _, v := range values {
				more = append(more, append(before[:len(before):len(before)], reflect.ValueOf(v)))
			}
		}
		args = more
	}
	var calls []call
	for _, in := range args {
		c := call{what: fmt.Sprintf("%s with the name as parameter %d and %v", m.Name, at, in)}
		c.pair = m.Name == "Rename" || m.Name == "Link"
		c.makes = m.Name == "Mkdir" || m.Name == "Symlink" || at == 1 && (m.Name == "Rename" || m.Name == "Link") ||
			m.Name == "OpenFile" && in[1].Int()&int64(os.O_CREATE) != 0
		c.do = func(f FS, name string) error {
			mine := append([]reflect.Value(nil), in...)
			mine[at] = reflect.ValueOf(name)
			return outcome(reflect.ValueOf(f).MethodByName(m.Name).Call(mine))
		}
		calls = append(calls, c)
	}
	return calls
}

// outcome is the error of a call, also of one that gives an open file or a
// listing, which it uses and ends.
func outcome(results []reflect.Value) error {
	for _, r := range results {
		switch v := r.Interface().(type) {
		case error:
			return v
		case File:
			_, werr := v.WriteAt([]byte("changed"), 0)
			_, rerr := v.ReadAt(make([]byte, 1), 0)
			if errors.Is(rerr, io.EOF) {
				rerr = nil
			}
			if err := v.Close(); err != nil {
				return err
			}
			if werr == nil || rerr == nil {
				return nil
			}
			return werr
		case iter.Seq2[iofs.FileInfo, error]:
			for _, err := range v {
				return err
			}
		}
	}
	return nil
}

// TestUnseenNames checks every operation that an FS has, on names that a person
// may not see or use: what the person learns does not depend on what exists
// there, and nothing is changed, whatever it is.
func TestUnseenNames(t *testing.T) {
	deny := policy.Names{Deny: []string{"*.secret"}}
	allow := policy.Names{Allow: []string{"*.txt"}}
	views := map[string]struct {
		access []policy.Access
		names  []string
		made   bool // creating is permitted, and its error shows that the name exists
	}{
		"temporary":         {[]policy.Access{{Path: "/", Ops: policy.Full}}, []string{"/" + tempPrefix + "x", "/d/" + tempPrefix + "x"}, false},
		"hidden":            {[]policy.Access{{Path: "/", Ops: policy.Full, Names: deny, Hide: true}}, []string{"/a.secret", "/d/a.secret"}, false},
		"hidden, no list":   {[]policy.Access{{Path: "/", Ops: policy.Full &^ policy.List, Names: deny, Hide: true}}, []string{"/a.secret"}, false},
		"hidden by allow":   {[]policy.Access{{Path: "/", Ops: policy.Full, Names: allow, Hide: true}}, []string{"/a", "/d/a"}, true},
		"hidden, ignored":   {[]policy.Access{{Path: "/", Ops: policy.ReadOnly, Names: deny, Hide: true}}, []string{"/a.secret"}, false},
		"other spelling":    {[]policy.Access{{Path: "/", Ops: policy.Full, Names: deny}}, []string{"/a.secret.", "/a.secret ", "/a.secret::$DATA", "/A~1.SEC", "/nul"}, false},
		"drop box":          {[]policy.Access{{Path: "/", Ops: policy.DropBox}}, []string{"/a", "/d/a", "/d/e/a"}, true},
		"drop box of trees": {[]policy.Access{{Path: "/", Ops: policy.DropBox | policy.Mkdir}}, []string{"/a", "/d/a"}, true},
		"nothing":           {[]policy.Access{{Path: "/", Ops: policy.Full}, {Path: "/d"}}, []string{"/d/a", "/d/a/b"}, false},
		"below hidden":      {[]policy.Access{{Path: "/", Ops: policy.Full, Names: deny, Hide: true}}, []string{"/s.secret/a"}, false},
	}
	kinds := map[string]func(host string) error{
		"absent":    func(string) error { return nil },
		"file":      func(host string) error { return os.WriteFile(host, []byte("content"), 0o644) },
		"directory": func(host string) error { return os.MkdirAll(host+"/below", 0o755) },
		"empty":     func(host string) error { return os.Mkdir(host, 0o755) },
		"link":      func(host string) error { return os.Symlink("f", host) },
	}
	for what, v := range views {
		t.Run(what, func(t *testing.T) {
			calls := append(everyCall(t, "/f"), everyCall(t, "/new")...)
			for _, uploads := range []policy.Uploads{policy.Direct, policy.Atomic} {
				for _, name := range v.names {
					told := make([]map[string]string, len(calls))
					for kind, put := range kinds {
						if what == "hidden by allow" && (kind == "directory" || kind == "empty") {
							continue // directories are not hidden by a list of file names
						}
						var f FS
						var host, before string
						for i, c := range calls {
							if f == nil {
								host = t.TempDir()
								p := full(host)
								p.Access, p.Uploads = v.access, uploads
								p.Folders[0].WindowsNames = string(policy.Refuse)
								p.IgnoreSetAttr = what == "hidden, ignored"
								err := errors.Join(os.WriteFile(host+"/f", []byte("f"), 0o644), os.MkdirAll(host+"/d/e", 0o755),
									os.Mkdir(host+"/s.secret", 0o755), os.MkdirAll(filepath.Dir(host+name), 0o755), put(host+name))
								if err != nil {
									t.Fatal(err)
								}
								f, before = mustOpen(t, p, Settings{}), snapshot(t, host)
							}
							err := c.do(f, name)
							if snapshot(t, host) != before {
								f = nil
								if !v.made || !c.makes {
									t.Errorf("%s: %s of %s, %s, changed something", uploads, c.what, name, kind)
								}
							}
							if told[i] == nil {
								told[i] = map[string]string{}
							}
							if !v.made || !c.makes { // otherwise it is made, or the error shows what exists there
								told[i][fmt.Sprint(cause(err))] += " " + kind
							}
						}
					}
					for i, c := range calls {
						if len(told[i]) > 1 {
							t.Errorf("%s: %s of %s depends on what is there: %v", uploads, c.what, name, told[i])
						}
						for text := range told[i] {
							inTheWay := c.pair && strings.Contains(text, "already exists") // the other name
							if !strings.Contains(text, "not exist") && !strings.Contains(text, "permission") && text != "<nil>" && !inTheWay {
								t.Errorf("%s: %s of %s = %s, want that it does not exist or is refused", uploads, c.what, name, text)
							}
						}
					}
				}
			}
		})
	}
}
