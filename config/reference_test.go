package config

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/directory/ldap"
	"berth/policy"
)

// key is one key of the configuration.
type key struct {
	name    string // below its section: folders[].path
	field   reflect.StructField
	owner   reflect.Type
	value   reflect.Value // the default; not valid if there is none
	comment string
}

// keysOf returns the keys of a struct and of the structs in it.
func keysOf(t *testing.T, prefix string, typ reflect.Type, value reflect.Value) []key {
	var all []key
	for f := range typ.Fields() {
		name := f.Tag.Get("mapstructure")
		if name == "-" {
			continue
		}
		if name == ",squash" {
			all = append(all, keysOf(t, prefix, f.Type, value.FieldByIndex(f.Index))...)
			continue
		}
		if name == "" {
			t.Errorf("%s.%s has no mapstructure tag", typ, f.Name)
		}
		k := key{name: prefix + name, field: f, owner: typ, comment: comment(t, typ, f.Name)}
		if value.IsValid() {
			k.value = value.FieldByIndex(f.Index)
		}
		all = append(all, k)
		below, inner := k.name+".", f.Type
		if inner.Kind() == reflect.Pointer {
			inner, k.value = inner.Elem(), reflect.Value{}
		}
		if inner.Kind() == reflect.Slice {
			below, inner, k.value = k.name+"[].", inner.Elem(), reflect.Value{}
		}
		if isStruct(inner) {
			all = append(all, keysOf(t, below, inner, k.value)...)
		}
	}
	return all
}

// comments of struct fields, by package, type and field.
var comments = map[string]map[string]string{}

// comment returns what the source says about a field. To say nothing is an
// error: the reference is made of these comments.
func comment(t *testing.T, typ reflect.Type, field string) string {
	t.Helper()
	pkg := typ.PkgPath()
	if comments[pkg] == nil {
		comments[pkg] = parseComments(t, filepath.Join("..", strings.TrimPrefix(pkg, "berth/")))
	}
	text := comments[pkg][typ.Name()+"."+field]
	if name := typ.String() + "." + field; text == "" {
		t.Errorf("%s has no comment", name)
	}
	return text
}

func parseComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						found[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(cmp.Or(field.Doc.Text(), field.Comment.Text())), " ")
					}
				}
			}
			return false
		})
	}
	return found
}

// sections of the reference, in the order of the example.
func sections(t *testing.T) map[string][]key {
	all := map[string][]key{}
	def := Default()
	for f, value := range reflect.ValueOf(def).Fields() {
		name := f.Tag.Get("mapstructure")
		typ := f.Type
		switch {
		case typ == reflect.TypeFor[[]ldap.Settings]():
			all[name] = keysOf(t, "", typ.Elem(), reflect.ValueOf(ldap.DefaultSettings()))
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
			all[name] = keysOf(t, "", typ.Elem(), reflect.Value{})
		case typ.Kind() == reflect.Struct:
			all[name] = keysOf(t, "", typ, value)
		case name != "-":
			all[""] = append(all[""], key{name: name, field: f, owner: reflect.TypeFor[Config](), value: value, comment: comment(t, reflect.TypeFor[Config](), f.Name)})
		}
	}
	return all
}

// TestReference holds docs/configuration.md to the settings of all packages.
// With -update it writes it.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Configuration reference

<!-- made from the settings of each package by: go test ./config -run TestReference -update -->

The configuration is one YAML file; [berth.example.yaml](berth.example.yaml) shows all of it. Every key has its own line
in the tables below. A key that is left out has its default. A key that is not here is a mistake, and so is a key that
occurs twice.

* **time**: with its unit, as in ` + "`30s`, `5m`, `4h`" + `. **size**: bytes, as in ` + "`100MiB`, `2GB`, `4096`" + `. **number**: plain digits, as in
  ` + "`8`, not `010` or `0x8`" + `. **list**: ` + "`[a, b]`" + `, or a single value.
* **network**: ` + "`10.0.0.0/8`" + `, or one address. ` + "`::ffff:10.0.0.0/104`" + ` is the IPv4 network ` + "`10.0.0.0/8`" + `.
* Single values may come from the environment, which takes precedence over the file: ` + "`BERTH_SSH_MAX_TRIES`" + ` is
  ` + "`ssh.max_tries`" + `. The password of the directory ` + "`corp`" + ` may come as ` + "`BERTH_DIRECTORIES_CORP_BIND_PASSWORD`" + `. A name with
  ` + "`BERTH_`" + ` that sets nothing is a mistake, and so is an empty value.
* A condition without a value (` + "`groups: []`" + `) is a mistake: it would apply to everybody.
* In a list, as in rules and directories, a key without a value (` + "`permissions:`" + `) is a mistake, too. Leave the key out instead.
* ` + "`0.0.0.0:22`" + ` in ` + "`listen`" + ` is port 22 of IPv4. ` + "`[::]:22`" + ` is that of IPv6 and IPv4, and beside ` + "`0.0.0.0:22`" + ` of IPv6 only.
* ` + "`berth check`" + ` reports every mistake with its line and what would be right.
`)
	all := sections(t)
	about := map[string]string{}
	for f := range reflect.TypeFor[Config]().Fields() {
		about[f.Tag.Get("mapstructure")] = sentence(comment(t, reflect.TypeFor[Config](), f.Name), f.Name, f.Tag.Get("mapstructure"))
	}
	for _, name := range []string{"", "directories", "rules", "ssh", "admission", "state", "certificates", "kerberos", "oidc", "totp", "events", "mail", "admin", "console", "review", "landlock", "log"} {
		title := cmp.Or(name, "Top level")
		fmt.Fprintf(&b, "\n## %s\n\n", title)
		if name != "" {
			fmt.Fprintf(&b, "%s\n\n", escape(about[name]))
		}
		b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
		for _, k := range all[name] {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, kind(k), k.def(), escape(sentence(k.comment, k.field.Name, k.field.Tag.Get("mapstructure"))))
		}
		if name == "directories" {
			writeKinds(&b, all[name])
		}
		delete(all, name)
	}
	for name := range all {
		t.Errorf("section %q is in no place of the reference", name)
	}
	golden(t, "../docs/configuration.md", b.String())
}

// writeKinds writes the defaults that depend on the kind of directory.
func writeKinds(b *strings.Builder, keys []key) {
	kinds := slices.DeleteFunc(ldap.Kinds(), func(kind string) bool { return kind == "embedded" })
	b.WriteString("\nDefaults by `kind`:\n\n| key | " + strings.Join(kinds, " | ") + " |\n|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, k := range keys {
		var cells []string
		said := false
		for _, kind := range kinds {
			v := reflect.ValueOf(ldap.Settings{Kind: kind}.Complete())
			if k.owner != v.Type() || k.name == "kind" || k.name == "name" || !k.value.IsZero() {
				continue
			}
			value := v.FieldByIndex(k.field.Index)
			said = said || !value.IsZero()
			cells = append(cells, show(value))
		}
		if said {
			fmt.Fprintf(b, "| `%s` | %s |\n", k.name, strings.Join(cells, " | "))
		}
	}
}

// sentence returns a comment with the key in the place of the field's name.
func sentence(comment, field, key string) string {
	rest, ok := strings.CutPrefix(comment, field+" ")
	if !ok {
		return comment
	}
	for _, verb := range []string{"is ", "are "} {
		if rest, ok := strings.CutPrefix(rest, verb); ok {
			return rest
		}
	}
	return "`" + key + "` " + rest
}

// escape makes s the text of a cell, which begins with a capital.
func escape(s string) string {
	if s != "" {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return code(s)
}

func code(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// kind names what values a key takes.
func kind(k key) string {
	t := k.field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == durationType, t == timeType:
		return "time"
	case t == reflect.TypeFor[policy.Require]():
		return "list, or list of lists"
	case strings.HasSuffix(k.name, "files"):
		return "number"
	case t.Kind() == reflect.Int64, t == sizeType:
		return "size"
	case t == reflect.SliceOf(prefixType):
		return "list of networks"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list of keys"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Int, t == countType:
		return "number"
	case t.Kind() == reflect.Struct:
		return "keys"
	case t.Kind() == reflect.Bool:
		return "true, false"
	}
	return "text"
}

// def is the default of a key, as it would be written.
func (k key) def() string {
	if !k.value.IsValid() || k.field.Type.Kind() == reflect.Struct {
		return ""
	}
	return show(k.value)
}

func show(v reflect.Value) string {
	if v.IsZero() && v.Kind() != reflect.Bool && v.Kind() != reflect.Int64 {
		return ""
	}
	if v.Kind() == reflect.Slice {
		var all []string
		for i := range v.Len() {
			all = append(all, fmt.Sprint(v.Index(i)))
		}
		return "`" + code("["+strings.Join(all, ", ")+"]") + "`"
	}
	return "`" + code(node(v, "", false).Value) + "`"
}

// TestExample loads the example as it would be on a machine that has its files.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("../docs/berth.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := load(t, strings.ReplaceAll(string(text), "/etc/berth/", etc(t)+"/"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cfg.SSH, Default().SSH) || !reflect.DeepEqual(cfg.Admission, Default().Admission) {
		t.Error("the example shows other values than the defaults for ssh or admission")
	}
	if len(cfg.Rules) < 3 || len(cfg.Directories) != 1 {
		t.Errorf("the example has %d rules and %d directories", len(cfg.Rules), len(cfg.Directories))
	}
	set, err := policy.Compile(cfg.Rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range set.Clashes() {
		t.Errorf("the example has a clash: %s", c)
	}
}

// TestExampleAlternatives loads the example with each commented directory in
// the place of the first.
func TestExampleAlternatives(t *testing.T) {
	text, err := os.ReadFile("../docs/berth.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := etc(t)
	found := regexp.MustCompile(`(?m)^  # - name: .*\n(?:  #   .*\n)+`).FindAllString(string(text), -1)
	if len(found) < 4 {
		t.Fatalf("the example has %d alternatives, want openldap, freeipa, 389ds and embedded", len(found))
	}
	for _, alternative := range found {
		alternative = regexp.MustCompile(`(?m)^  # `).ReplaceAllString(alternative, "  ")
		alternative = strings.NewReplacer("/etc/berth/", dir+"/", "/etc/ipa/", dir+"/").Replace(alternative)
		if _, err := load(t, "directories:\n"+alternative+"rules: [{name: all}]\n"); err != nil {
			t.Errorf("%v\n%s", err, alternative)
		}
	}
}

// TestExampleIsComplete checks that the example has every key, at least in a
// comment.
func TestExampleIsComplete(t *testing.T) {
	text, err := os.ReadFile("../docs/berth.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for section, keys := range sections(t) {
		for _, k := range keys {
			last := k.field.Tag.Get("mapstructure")
			if !regexp.MustCompile(`(?m)(^|[ {#])` + last + `:`).Match(text) {
				t.Errorf("%s: %s is not in the example", section, k.name)
			}
		}
	}
}

// TestKeysOfDocuments: every key that a document names by its path, such as
// ssh.idle or limits.quota, exists. The section may be left out.
func TestKeysOfDocuments(t *testing.T) {
	exists, parents := map[string]bool{}, map[string]bool{}
	for section, keys := range sections(t) {
		for _, k := range keys {
			path := strings.Split(strings.ReplaceAll(strings.Trim(section+"."+k.name, "."), "[]", ""), ".")
			for i := range path {
				exists[strings.Join(path[i:], ".")] = true
				if i > 0 {
					parents[path[i-1]] = true
				}
			}
		}
	}
	named := regexp.MustCompile("`([a-z_]+)((?:\\.[a-z_]+)+)(?:`|: )")
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, matches...)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(strings.ReplaceAll(string(text), "[]", ""), -1) {
			if !parents[m[1]] {
				continue
			}
			if found++; !exists[m[1]+m[2]] && m[1]+m[2] != "limits.attributes" { // ADR 30: why it was removed
				t.Errorf("%s: there is no key %s", filepath.Base(file), m[1]+m[2])
			}
		}
	}
	if found < 200 {
		t.Errorf("%d keys found, want more", found)
	}
}

// etc makes the files that the example names.
func etc(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"corp-ca.pem": authority, "ca.crt": authority, "people.ldif": "",
		"corp-password": "x\n", "ldap-password": "x\n", "ipa-password": "x\n", "ds-password": "x\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// authority is a certificate that nobody uses.
const authority = `-----BEGIN CERTIFICATE-----
MIIBDDCBv6ADAgECAgEBMAUGAytlcDAVMRMwEQYDVQQDEwpFeGFtcGxlIENBMCAX
DTIzMTExNDIyMTMyMFoYDzIwOTYxMDAyMDcwNjQwWjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCowBQYDK2VwAyEACC8G88LieQ6MnARhrBnfigCSKe/JpV13ZMm9wRaJ
51+jMjAwMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFMbz7dUqnrcbYzHk0rED
x/xRq2EPMAUGAytlcANBACHWMctRS5RWR+LLGS1e4+sF8JtG08BBqN3QQpmmUpOZ
dbirH4UqGjIJr/imP8/m2OTG1CAHG3c91PgZTexNHgc=
-----END CERTIFICATE-----
`
