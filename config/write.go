package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"berth/policy"
	"berth/sshd"
)

// Write writes the settings with their defaults as a file that Load could read, except
// that secrets have no value. Empty keys within lists are left out.
func (cfg *Config) Write(w io.Writer) error {
	return encode(w, node(reflect.ValueOf(*cfg), "", false))
}

// Hash is the same as long as the configuration is, in every process. Secrets are not
// part of it.
func (cfg *Config) Hash() (string, error) {
	sum := sha256.New()
	err := cfg.Write(sum)
	return hex.EncodeToString(sum.Sum(nil)[:8]), err
}

// isSecret reports whether the value of key must not be shown: bind_password,
// but not bind_password_file.
func isSecret(key string) bool {
	return strings.HasSuffix(key, "password") || strings.HasSuffix(key, "passphrase") || strings.HasSuffix(key, "secret")
}

// withoutSecret returns the value of key as it may be shown. The path of a webhook is often
// all that proves who sends something.
func withoutSecret(key, value string) string {
	switch {
	case isSecret(key) && value != "":
		return "***"
	case key == "url":
		if u, err := url.Parse(value); err != nil {
			return "***"
		} else if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return u.Scheme + "://" + u.Host + "/***"
		}
	}
	return value
}

// node returns v, the value of key, as YAML. brief leaves out empty values.
func node(v reflect.Value, key string, brief bool) *yaml.Node {
	switch value := v.Interface().(type) {
	case time.Duration:
		return scalar("!!str", formatDuration(value))
	case netip.Prefix:
		return scalar("!!str", value.String())
	case sshd.Window:
		if value == sshd.WindowAuto {
			return scalar("!!str", "auto")
		}
		return scalar("!!str", policy.FormatSize(int64(value)))
	case policy.Amount[int]:
		return amountNode(value, key)
	case policy.Amount[int64]:
		return amountNode(value, key)
	case policy.Amount[time.Duration]:
		return amountNode(value, key)
	case int64:
		if strings.HasSuffix(key, "files") {
			return scalar("!!int", fmt.Sprint(value))
		}
		return scalar("!!str", policy.FormatSize(value))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return node(v.Elem(), key, brief)
	case reflect.Struct:
		return mapping(v, brief)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Type().Elem().Kind() == reflect.String {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, node(v.Index(i), key, true))
		}
		return n
	case reflect.String:
		return scalar("!!str", withoutSecret(key, v.String()))
	case reflect.Bool:
		return scalar("!!bool", fmt.Sprint(v.Bool()))
	default:
		return scalar("!!int", fmt.Sprint(v.Interface()))
	}
}

// amountNode returns a limit as a rule has it.
func amountNode[T policy.Measure](a policy.Amount[T], key string) *yaml.Node {
	if a.Attribute == "" {
		return node(reflect.ValueOf(*a.Value), key, false)
	}
	text := "%{" + a.Attribute + "}"
	if a.Value != nil {
		text += " or " + node(reflect.ValueOf(*a.Value), key, false).Value
	}
	return scalar("!!str", text)
}

func mapping(v reflect.Value, brief bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.Index)
		if value.Kind() == reflect.Pointer && value.IsNil() || brief && value.IsZero() {
			continue
		}
		n.Content = append(n.Content, scalar("!!str", f.Name), node(value, f.Name, brief))
	}
	return n
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// formatDuration returns 5m where the library says 5m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// WriteRules writes the section rules of a file.
func WriteRules(w io.Writer, rules []policy.Rule) error {
	return encode(w, &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("!!str", "rules"), node(reflect.ValueOf(rules), "rules", true)}})
}

func encode(w io.Writer, n *yaml.Node) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return err
	}
	return e.Close()
}
