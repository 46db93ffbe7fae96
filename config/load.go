package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"berth/directory/ldap"
)

// Load reads the settings. A key in file takes precedence over its default. For keys with
// one value, an environment variable takes precedence over both: BERTH_LOG_LEVEL is
// log.level. BERTH_DIRECTORIES_CORP_BIND_PASSWORD may hold the password of the directory
// corp. The error joins all mistakes, each a *Mistake.
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(file, text)
}

// Parse reads the settings as Load does, from the text of a file.
func Parse(file string, text []byte) (*Config, error) {
	where, err := locate(file, text)
	if err != nil {
		return nil, err
	}
	settings, wrong, err := merge(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	cfg := Default()
	cfg.Path = file
	mistakes := append(wrong, where.mistakes...)
	mistakes = append(mistakes, unrelated(where.decodeErrors(decode(settings, &cfg)), mistakes)...)
	mistakes = append(mistakes, unrelated(cfg.check(where), mistakes)...)
	if len(mistakes) > 0 {
		return nil, where.join(mistakes)
	}
	return &cfg, nil
}

// WithRules returns the settings with the rules of text, which is a file, or the section
// rules of one: only its rules are used and checked. The error joins all mistakes, each a
// *Mistake in a file of that name.
func (cfg *Config) WithRules(file string, text []byte) (*Config, error) {
	where, err := locate(file, text)
	if err != nil {
		return nil, err
	}
	settings, _, err := merge(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	next := *cfg
	next.Rules = nil
	found := where.decodeErrors(decode(map[string]any{"rules": settings["rules"]}, &next))
	mistakes := append(where.mistakes, unrelated(found, where.mistakes)...)
	found = nil
	for _, err := range next.checkRules() {
		found = append(found, where.mistake("", err))
	}
	if mistakes = append(mistakes, unrelated(found, mistakes)...); len(mistakes) > 0 {
		return nil, where.join(mistakes)
	}
	return &next, nil
}

// delimiter separates the keys of viper. No key of ours contains it, and DNs,
// which contain dots, stay whole.
const delimiter = "::"

// merge returns the settings of the file and of the environment. The environment
// takes precedence.
func merge(text []byte) (map[string]any, []*Mistake, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	v.SetConfigType("yaml")
	var lists []string          // variables of lists of sections
	keys := map[string]string{} // of single values, by the variable that may set them
	for _, f := range settingsOf(reflect.TypeFor[Config]()) {
		if f.Type.Kind() != reflect.Slice || !isStruct(f.Type.Elem()) {
			keys[variable(f.Name)] = strings.ReplaceAll(f.Name, ".", delimiter)
		} else {
			lists = append(lists, variable(f.Name))
		}
	}
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		return nil, nil, err
	}
	directories, _ := v.Get("directories").([]any)
	passwords := map[string]int{} // directories whose password a variable sets
	for _, item := range directories {
		dir, ok := item.(map[string]any)
		if !ok {
			continue // the decoder reports it
		}
		name := passwordVariable(dir)
		passwords[name]++
		if password := os.Getenv(name); password != "" {
			dir["bind_password"] = password
			delete(dir, "bind_password_file")
		}
	}
	mistakes := environment(keys, lists, passwords, func(key, value string) { v.Set(key, value) })
	return v.AllSettings(), mistakes, nil
}

func decode(settings map[string]any, cfg *Config) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:     cfg,
		ZeroFields: true, // a list in the file replaces the default, it does not fill it up
		DecodeHook: hooks,
	})
	if err != nil {
		return err
	}
	return d.Decode(settings)
}

// unrelated returns those of found that are about other keys than known: a value that
// could not be read is not reported as missing too.
func unrelated(found, known []*Mistake) []*Mistake {
	wrong, above := map[string]bool{}, map[string]bool{} // there may be thousands of each
	for _, k := range known {
		if errors.Is(k.Err, errUnknown) {
			continue
		}
		wrong[k.Key] = true
		for key := range keysAbove(k.Key) {
			above[key] = true
		}
	}
	return slices.DeleteFunc(found, func(m *Mistake) bool {
		related := wrong[m.Key] || above[m.Key]
		for key := range keysAbove(m.Key) {
			related = related || wrong[key]
		}
		return related
	})
}

// keysAbove yields rules[0].when, rules[0] and rules for rules[0].when.users.
func keysAbove(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := strings.LastIndexAny(key, ".["); i > 0; i = strings.LastIndexAny(key[:i], ".[") {
			if !yield(key[:i]) {
				return
			}
		}
	}
}

// under reports whether key is the key above, or below it.
func under(above, key string) bool {
	rest, ok := strings.CutPrefix(key, above)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// join joins mistakes in the order of their lines, with the names of their rules.
func (p *places) join(mistakes []*Mistake) error {
	for _, m := range mistakes {
		if rule := inRule.FindString(m.Key); rule != "" {
			m.Rule = p.values[rule+".name"]
		}
	}
	slices.SortStableFunc(mistakes, func(a, b *Mistake) int { return a.Line - b.Line })
	return join(mistakes)
}

func join(mistakes []*Mistake) error {
	errs := make([]error, len(mistakes))
	for i, m := range mistakes {
		errs[i] = m
	}
	return errors.Join(errs...)
}

// check asks every package what is wrong with its settings.
func (cfg *Config) check(where *places) []*Mistake {
	var mistakes []*Mistake
	at := func(prefix string, found ...error) {
		for _, err := range found {
			mistakes = append(mistakes, where.mistake(prefix, err))
		}
	}
	at("", cfg.checkListen()...)
	if len(cfg.HostKeys) == 0 {
		at("", errors.New("host_keys: missing: must name at least one file, such as /var/lib/berth/ssh_host_ed25519_key"))
	}
	for i, file := range cfg.HostKeys {
		if strings.HasSuffix(file, ".pub") && cfg.HostKeyAgent == "" {
			at("", fmt.Errorf("host_keys[%d]: %q: is a public key: name the file of its private key, or set host_key_agent to an agent that holds that key", i, file))
		}
	}
	if len(cfg.Directories) == 0 {
		at("", errors.New("directories: missing: must hold at least one directory, such as {name: corp, kind: active_directory, …}"))
	}
	at("", cfg.checkNames()...)
	at("", cfg.checkForeignGroups()...)
	for i, d := range cfg.Directories {
		at(fmt.Sprintf("directories[%d].", i), checkDirectory(d)...)
	}
	at("ssh.", cfg.SSH.Check()...)
	at("admission.", cfg.Admission.Check()...)
	at("state.redis.", cfg.State.Redis.Check()...)
	at("certificates.", cfg.Certificates.Check(cfg.DirectoryNames()...)...)
	at("kerberos.", cfg.Kerberos.Check(cfg.DirectoryNames()...)...)
	at("mail.", cfg.Mail.Check()...)
	at("oidc.", cfg.OIDC.Check(cfg.DirectoryNames()...)...)
	at("totp.", cfg.TOTP.Check()...)
	at("events.", cfg.Events.Check()...)
	at("admin.", cfg.Admin.Check()...)
	at("console.", cfg.Console.Check()...)
	at("review.", cfg.Review.Check()...)
	at("landlock.", cfg.Landlock.Check()...)
	at("log.", cfg.Log.Check()...)
	at("", cfg.checkRules()...)
	return mistakes
}

func (cfg *Config) checkRules() []error {
	if len(cfg.Rules) == 0 {
		return []error{errors.New("rules: missing: nobody could log in; must hold at least one rule")}
	}
	_, err := cfg.Compile()
	return append(split(err), cfg.CheckFactors()...)
}

// CheckFactors reports rules that require a factor that nobody can have with the rest of
// cfg.
func (cfg *Config) CheckFactors() []error {
	var errs []error
	for i, r := range cfg.Rules {
		requires := func(factor string) bool {
			return slices.ContainsFunc(r.Require, func(all []string) bool { return slices.Contains(all, factor) })
		}
		if requires("totp") && !cfg.OneTimeCodes() {
			errs = append(errs, fmt.Errorf("rules[%d].require: totp: nobody has a secret: set totp.file, or totp_attribute of a directory", i))
		}
		if requires("oidc") && !cfg.OIDC.Enabled() {
			errs = append(errs, fmt.Errorf("rules[%d].require: oidc: nobody can sign in with the browser: set oidc.issuer", i))
		}
	}
	return errs
}

// OneTimeCodes reports whether users may have secrets of one-time codes.
func (cfg *Config) OneTimeCodes() bool {
	return cfg.TOTP.Enabled() || slices.ContainsFunc(cfg.Directories, func(d ldap.Settings) bool { return d.TOTPAttribute != "" })
}

// checkDirectory checks a directory. An embedded one has its own address and base, and
// needs a file instead.
func checkDirectory(d ldap.Settings) []error {
	if d.Kind != "embedded" {
		return split(d.Check())
	}
	var errs []error
	if d.LDIF == "" {
		errs = append(errs, errors.New("ldif: missing: must be the file with the people of an embedded directory"))
	}
	for key, set := range map[string]bool{"urls": len(d.URLs) > 0, "domain": d.Domain != "", "base": d.Base != "", "bind_dn": d.BindDN != ""} {
		if set {
			errs = append(errs, fmt.Errorf("%s: an embedded directory has its own: leave it out", key))
		}
	}
	d.URLs, d.Domain, d.Base, d.BindDN = nil, "", "dc=embedded", ""
	return append(errs, split(d.Check())...)
}

// DirectoryNames returns the names of the configured directories. The name of one
// without a name is its kind.
func (cfg *Config) DirectoryNames() []string {
	var names []string
	for _, d := range cfg.Directories {
		names = append(names, cmp.Or(d.Name, d.Kind, "generic"))
	}
	return names
}

// checkNames reports directories with the same name. The name of one without a name is its kind.
func (cfg *Config) checkNames() []error {
	var errs []error
	first := map[string]int{}
	for i, name := range cfg.DirectoryNames() {
		name = strings.ToLower(name)
		if other, ok := first[name]; ok {
			errs = append(errs, fmt.Errorf("directories[%d].name: %q: directories[%d] has this name already: each directory needs its own", i, name, other))
			continue
		}
		first[name] = i
	}
	return errs
}

// checkForeignGroups reports names in foreign_groups that are no other directory of Active Directory.
func (cfg *Config) checkForeignGroups() []error {
	var errs []error
	for i, d := range cfg.Directories {
		of := slices.Index(cfg.DirectoryNames(), d.ForeignGroups)
		if d.ForeignGroups != "" && (of < 0 || of == i || d.Kind != "active_directory" || cfg.Directories[of].Kind != "active_directory") {
			errs = append(errs, fmt.Errorf("directories[%d].foreign_groups: %q: must be the name of another directory, and both must be of the kind active_directory", i, d.ForeignGroups))
		}
	}
	return errs
}

// split returns the errors that err joins.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
