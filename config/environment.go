package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// variable returns the environment variable for a key.
func variable(key string) string {
	return "BERTH_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// passwordVariable is the environment variable for the password of the service
// account in a directory of the file.
func passwordVariable(dir map[string]any) string {
	name := cmp.Or(dir["name"], dir["kind"], any("generic"))
	upper := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(fmt.Sprint(name)))
	return "BERTH_DIRECTORIES_" + upper + "_BIND_PASSWORD"
}

// ignored matches variables with the prefix BERTH_ that are no settings: Kubernetes sets some
// for a service called berth, and the project's own tests set one.
var ignored = regexp.MustCompile(`^BERTH_(PEERS|SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment calls set for each key that a variable sets, and returns the variables that
// are mistakes. No variable is ignored, because an administrator may rely on it.
func environment(keys map[string]string, lists []string, passwords map[string]int, set func(key, value string)) []*Mistake {
	var mistakes []*Mistake
	for _, v := range slices.Sorted(slices.Values(os.Environ())) {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "BERTH_") || ignored.MatchString(name) {
			continue
		}
		key := keys[name]
		var err error
		switch {
		case key == "" && passwords[name] == 0:
			known := slices.AppendSeq(slices.Collect(maps.Keys(keys)), maps.Keys(passwords))
			if err = unknown(name, known); slices.Contains(lists, name) || slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, name+"_") }) {
				err = errors.New("is a section or a list of sections: only single values can come from the environment")
			}
		case value == "":
			err = errors.New("empty: unset it, or give a value")
		case passwords[name] > 1:
			err = errors.New("is the variable of several directories: give them names that differ in letters or digits")
		case key != "":
			set(key, value)
		}
		if err != nil {
			mistakes = append(mistakes, &Mistake{File: "environment", Key: name, Err: err})
		}
	}
	return mistakes
}
