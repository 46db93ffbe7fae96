package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestChanged changes every key of the file, one after the other, and checks
// that Changed returns its name.
func TestChanged(t *testing.T) {
	var visit func(prefix string, typ reflect.Type, index []int)
	visit = func(prefix string, typ reflect.Type, index []int) {
		for f := range typ.Fields() {
			key, at := f.Tag.Get("mapstructure"), append(slices.Clone(index), f.Index...)
			switch {
			case key == "-":
				continue
			case key == ",squash":
				visit(prefix, f.Type, at)
				continue
			case isStruct(f.Type):
				visit(prefix+key+".", f.Type, at)
				continue
			}
			now, next := Default(), Default()
			v := reflect.ValueOf(&next).Elem().FieldByIndex(at)
			switch v.Kind() {
			case reflect.String:
				v.SetString("other")
			case reflect.Int, reflect.Int64:
				v.SetInt(v.Int() + int64(time.Second))
			case reflect.Bool:
				v.SetBool(!v.Bool())
			case reflect.Slice:
				v.Set(reflect.Append(reflect.MakeSlice(v.Type(), 0, 1), reflect.Zero(v.Type().Elem())))
			default:
				t.Errorf("%s is a %s: the test must learn to change it", prefix+key, v.Kind())
			}
			if got := now.Changed(&next); !slices.Equal(got, []string{prefix + key}) {
				t.Errorf("after a change of %s: %q", prefix+key, got)
			}
		}
	}
	visit("", reflect.TypeFor[Config](), nil)
	now, next := Default(), Default()
	if now.Path, next.Path = "a", "b"; len(now.Changed(&next)) > 0 {
		t.Errorf("another file with the same values: changed %q", now.Changed(&next))
	}
}

// TestHash: a configuration that was written and read again has the same
// hash, and secrets do not change the hash.
func TestHash(t *testing.T) {
	hash := func(text string) string {
		cfg, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		h, err := cfg.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	const file = `
listen: 127.0.0.1:2022
directories: [{name: corp, kind: generic, urls: [ldaps://ldap.corp.example], base: "dc=corp,dc=example", bind_dn: "cn=berth", bind_password: one}]
rules: [{name: all, limits: {idle: 15m}}]
`
	want := hash(file)
	for old, now := range map[string]string{"listen: 127.0.0.1:2022": "listen: [127.0.0.1:2022] # here", "one": "two", "15m": "900s"} {
		if got := hash(strings.Replace(file, old, now, 1)); got != want {
			t.Errorf("with %s for %s: %s, want %s as before", now, old, got, want)
		}
	}
	for old, now := range map[string]string{"2022": "2023", "15m": "16m", "cn=berth": "cn=other", "name: all": "name: each"} {
		if got := hash(strings.Replace(file, old, now, 1)); got == want {
			t.Errorf("with %s for %s the hash is the same", now, old)
		}
	}
}
