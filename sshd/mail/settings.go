package mail

import (
	"cmp"
	"context"
	"fmt"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"

	"berth/sshd/check"
)

// Settings says by which server mails are sent, to whom and about what.
type Settings struct {
	// Server sends the mails, as HOST:PORT; empty: no mails. Port 465 speaks TLS from
	// the first byte, and all others STARTTLS. Without TLS nothing is sent.
	Server string `mapstructure:"server"`

	// CAFile is a PEM file with the authorities of the server's certificate; empty:
	// those of the system.
	CAFile string `mapstructure:"ca_file"`

	// User logs in at the server; empty: nobody does.
	User string `mapstructure:"user"`

	// PasswordFile has the password of user in its first line. It is read for each mail.
	PasswordFile string `mapstructure:"password_file"`

	// From is the sender: berth@corp.example, or Berth <berth@corp.example>.
	From string `mapstructure:"from"`

	// Host is the name of this service for people, with its port if that is not 22, as
	// in "ssh HOST passwd".
	Host string `mapstructure:"host"`

	// About is what mails are about: password_expiring, password_changed, key_added,
	// key_removed, login_shielded.
	About []string `mapstructure:"about"`

	// Days is how many days before a password expires a mail is sent.
	Days []int `mapstructure:"days"`

	// AddressAttribute is the attribute with the address of a person. People without
	// one get no mail.
	AddressAttribute string `mapstructure:"address_attribute"`

	// NameAttribute is the attribute with the name by which a mail calls a person. If it
	// is missing, the login name is used.
	NameAttribute string `mapstructure:"name_attribute"`

	// LanguageAttribute is the attribute with the languages that a person reads, as in
	// RFC 2798: de, or "fr, en;q=0.5".
	LanguageAttribute string `mapstructure:"language_attribute"`

	// Language is used for people whose attribute names no language that there
	// are texts in.
	Language string `mapstructure:"language"`

	// Templates is a folder with texts that replace the ones of Berth, and more
	// languages; empty: there is none.
	Templates string `mapstructure:"templates"`

	// StateFile is where a server that is alone remembers which mails it has sent. Nodes
	// with state.redis remember it there.
	StateFile string `mapstructure:"state_file"`
}

// DefaultSettings is what a file that says nothing gets: no mails.
func DefaultSettings() Settings {
	return Settings{
		About:             kinds(),
		Days:              []int{14, 7, 3, 1},
		AddressAttribute:  "mail",
		NameAttribute:     "displayName",
		LanguageAttribute: "preferredLanguage",
		Language:          "en",
		StateFile:         "/var/lib/berth/mail.json",
	}
}

// Enabled reports whether there is a server.
func (s *Settings) Enabled() bool { return s.Server != "" }

// Attributes returns the attributes of a person that mails need.
func (s *Settings) Attributes() []string {
	if !s.Enabled() {
		return nil
	}
	return slices.DeleteFunc([]string{s.AddressAttribute, s.NameAttribute, s.LanguageAttribute}, func(a string) bool { return a == "" })
}

// mostDays is longer than any password of a directory is valid.
const mostDays = 365

// Check reports what in s cannot be used, with the key and what would be right.
func (s *Settings) Check() []error {
	if !s.Enabled() {
		return nil
	}
	var wrong check.Mistakes
	_, _, err := s.address()
	wrong.If(err != nil, "%w", err)
	if a, err := netmail.ParseAddress(s.From); err != nil {
		wrong.If(true, "from: %q: must be an address, such as Berth <berth@corp.example>", s.From)
	} else {
		_, err := parseAddress(a.Address)
		wrong.If(err != nil, "from: %q: %w", s.From, err)
	}
	wrong.If(s.Host == "" || strings.ContainsFunc(s.Host, func(r rune) bool { return r <= ' ' || r > '~' }), "host: %q: must be the name by which people reach this server, such as sftp.corp.example", s.Host)
	wrong.If((s.User == "") != (s.PasswordFile == ""), "user and password_file: set both or none")
	for _, k := range s.About {
		wrong.If(!slices.Contains(kinds(), k), "about: %q: must be some of %s", k, strings.Join(kinds(), ", "))
	}
	for _, d := range s.Days {
		wrong.If(d < 1 || d > mostDays, "days: %d: must be from 1 to %d", d, mostDays)
	}
	wrong.If(s.AddressAttribute == "", "address_attribute: must be named, such as mail")
	wrong.If(s.StateFile == "", "state_file: must be a file, such as /var/lib/berth/mail.json")
	return wrong
}

// address returns the host and the port of the server.
func (s *Settings) address() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s.Server)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("server: %q: must be HOST:PORT, such as smtp.corp.example:587", s.Server)
	}
	return host, port, nil
}

// ssh is how people call ssh for this server.
func (s *Settings) ssh() string {
	if host, port, err := net.SplitHostPort(s.Host); err == nil {
		return "ssh -p " + port + " " + host
	}
	return "ssh " + s.Host
}

// Verify reports whether the texts can be used and the server lets this one send.
func (s *Settings) Verify(ctx context.Context) error {
	_, err := openTexts(s.Templates, s.Language)
	return cmp.Or(err, s.dial(ctx))
}
