// Package config turns the administrator's file into the settings of the other packages.
// Each package owns its settings and checks them. This one joins them, reads YAML, and
// finds the place of a mistake in the file. viper is used only here. Start at Load.
package config

import (
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"berth/directory/ldap"
	"berth/policy"
	"berth/policy/review"
	"berth/sshd"
	"berth/sshd/admin"
	"berth/sshd/cert"
	"berth/sshd/console"
	"berth/sshd/event/audit"
	"berth/sshd/kerberos"
	"berth/sshd/mail"
	"berth/sshd/oidc"
	"berth/sshd/state"
	"berth/sshd/state/redis"
	"berth/sshd/totp"
)

// Config is everything an administrator can choose.
type Config struct {
	// Path is the file it was read from.
	Path string `mapstructure:"-"`

	// Listen is the addresses to serve SSH on, as host:port; ":22" is port 22 of
	// every address.
	Listen []string `mapstructure:"listen"`

	// HostKeys are the private host keys of the server, in order of preference. A
	// missing one is made, of the kind its name says: ed25519, rsa or ecdsa. Of
	// several keys of one type, the first is used and the others are announced, so
	// that clients know them before they are used.
	HostKeys []string `mapstructure:"host_keys"`

	// HostKeyPassphraseFile holds in its first line the passphrase of those host
	// keys that are encrypted. It may be a systemd credential. Keys that are made
	// are then encrypted too.
	HostKeyPassphraseFile string `mapstructure:"host_key_passphrase_file"`

	// HostKeyAgent is the socket of an ssh-agent, or SSH_AUTH_SOCK for the one that
	// the environment names. It signs for those of host_keys that are public keys:
	// files that end in .pub.
	HostKeyAgent string `mapstructure:"host_key_agent"`

	// HostCertificates are certificates of the host keys, as made by ssh-keygen -s
	// CA -h. Clients that trust the CA then know the server.
	HostCertificates []string `mapstructure:"host_certificates"`

	// PIDFile is where the running server writes its process number, and keeps
	// the file locked; empty: nowhere.
	PIDFile string `mapstructure:"pid_file"`

	// Directories are where people are, asked in this order.
	Directories []ldap.Settings `mapstructure:"directories"`

	// Rules say who may do what.
	Rules []policy.Rule `mapstructure:"rules"`

	// SSH has settings of the SSH server.
	SSH sshd.Settings `mapstructure:"ssh"`

	// Admission is which addresses may connect, and how often.
	Admission state.Settings `mapstructure:"admission"`

	// State is the state that several nodes share.
	State State `mapstructure:"state"`

	// Certificates accepts SSH certificates of an authority in place of keys in the
	// directory. Without ca_keys no certificate is accepted.
	Certificates cert.Settings `mapstructure:"certificates"`

	// Kerberos accepts tickets in place of passwords (gssapi-with-mic). Without a
	// keytab no ticket is accepted.
	Kerberos kerberos.Settings `mapstructure:"kerberos"`

	// OIDC lets people sign in with the browser at an identity provider. Without an
	// issuer nobody can.
	OIDC oidc.Settings `mapstructure:"oidc"`

	// TOTP is one-time codes whose secrets are not in a directory, but in a file
	// here.
	TOTP totp.Settings `mapstructure:"totp"`

	// Events is where events are written.
	Events audit.Settings `mapstructure:"events"`

	// Mail sends mails to people: before their password expires, and when something
	// about their account was changed here. Without a server there are none.
	Mail mail.Settings `mapstructure:"mail"`

	// Admin is the second listener, for health and metrics.
	Admin admin.Settings `mapstructure:"admin"`

	// Console is the web page for IT. Rules say with the services console_read and
	// console_operate who may use it.
	Console console.Settings `mapstructure:"console"`

	// Review is what "berth report access" reports beside the rights.
	Review review.Settings `mapstructure:"review"`

	// Landlock confines the process to the files it needs, by the kernel.
	Landlock Landlock `mapstructure:"landlock"`

	// Log is the log for operators, on standard error.
	Log Log `mapstructure:"log"`
}

// State says what several nodes behind a balancer share. Without it each server counts
// for itself.
type State struct {
	// Redis counts sessions, one-time codes, wrong passwords, logins and penalties for all
	// nodes with the same prefix.
	Redis redis.Settings `mapstructure:"redis"`
}

// Landlock is what the kernel lets the process reach: the folders of rules, and of
// files that this configuration names.
type Landlock struct {
	// Enabled says that nothing else can be reached from the start on. A reload or
	// "berth upgrade" with a folder outside is refused: it needs a restart.
	Enabled bool `mapstructure:"enabled"`

	// Also is more folders, for rules that come with a later reload, such as /srv.
	Also []string `mapstructure:"also"`
}

// Check reports what in l cannot be used, with the key and what would be right.
func (l Landlock) Check() []error {
	var errs []error
	for _, folder := range l.Also {
		if !filepath.IsAbs(folder) {
			errs = append(errs, fmt.Errorf("also: %q: must be a path from the root, such as /srv", folder))
		}
	}
	return errs
}

// Log is how the log looks.
type Log struct {
	// Level is the least important of what is logged: trace, debug, info, warn
	// or error.
	Level string `mapstructure:"level"`

	// Format is text or json.
	Format string `mapstructure:"format"`
}

// Default returns the settings of an empty file. Directories and rules have no default.
func Default() Config {
	return Config{
		Listen: []string{":22"},
		HostKeys: []string{
			"/var/lib/berth/ssh_host_ed25519_key",
			"/var/lib/berth/ssh_host_rsa_key",
			"/var/lib/berth/ssh_host_ecdsa_key", // for clients that know nothing newer, such as old JSch
		},
		SSH:       sshd.DefaultSettings(),
		Admission: state.DefaultSettings(),
		State:     State{Redis: redis.DefaultSettings()},
		OIDC:      oidc.DefaultSettings(),

		Certificates: cert.DefaultSettings(),

		TOTP:    totp.DefaultSettings(),
		Console: console.DefaultSettings(),
		Events:  audit.DefaultSettings(),
		Mail:    mail.DefaultSettings(),
		Admin:   admin.DefaultSettings(),
		Log:     Log{Level: "info", Format: "text"},
	}
}

// Compile makes the rules ready for use. It fails only for a Config that Load
// did not make.
func (cfg *Config) Compile() (*policy.Set, error) {
	set, err := policy.Compile(cfg.Rules, cfg.DirectoryNames()...)
	if err == nil {
		err = set.FindAccounts(cfg.account)
	}
	return set, err
}

// Check reports what in l cannot be used, with the key and what would be right.
func (l Log) Check() []error {
	var errs []error
	for _, c := range []struct {
		key, value string
		known      []string
	}{{"level", l.Level, []string{"trace", "debug", "info", "warn", "error"}}, {"format", l.Format, []string{"text", "json"}}} {
		if !slices.Contains(c.known, c.value) {
			errs = append(errs, fmt.Errorf("%s: %q: must be one of %s", c.key, c.value, strings.Join(c.known, ", ")))
		}
	}
	return errs
}

// New makes the logger that l describes.
func (l Log) New(out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "berth", Level: hclog.LevelFromString(l.Level), JSONFormat: l.Format == "json", Output: out,
	})
}

// Changed returns the keys in which next differs from cfg, such as ssh.idle. For a change
// within a list it returns the key of the list.
func (cfg *Config) Changed(next *Config) []string {
	var keys []string
	now, then := reflect.ValueOf(*cfg), reflect.ValueOf(*next)
	for _, f := range settingsOf(now.Type()) {
		if !reflect.DeepEqual(now.FieldByIndex(f.Index).Interface(), then.FieldByIndex(f.Index).Interface()) {
			keys = append(keys, f.Name)
		}
	}
	return keys
}

// settingsOf returns the keys of t, and those of its sections, such as ssh.idle, but not
// those within lists. Name is the key, Index the index from t.
func settingsOf(t reflect.Type) (all []reflect.StructField) {
	for _, f := range fieldsOf(t) {
		if !isStruct(f.Type) {
			all = append(all, f)
			continue
		}
		for _, below := range settingsOf(f.Type) {
			below.Name, below.Index = f.Name+"."+below.Name, slices.Concat(f.Index, below.Index)
			all = append(all, below)
		}
	}
	return all
}

// fieldsOf returns the keys of t itself, with those of embedded structs. Name is the key.
func fieldsOf(t reflect.Type) (fields []reflect.StructField) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Name, _, _ = strings.Cut(f.Tag.Get("mapstructure"), ","); f.Name != "" && f.Name != "-" {
			fields = append(fields, f)
		}
	}
	return fields
}
