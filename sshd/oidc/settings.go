package oidc

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/sshd/check"
)

// Settings are the administrator's choices about signing in with the browser. The zero
// value switches it off.
type Settings struct {
	// Issuer is the URL of the identity provider, without /.well-known/…: its tokens
	// must be issued by exactly this one.
	Issuer string `mapstructure:"issuer"`

	// ClientID is how the provider knows this server. The provider must allow it the
	// device flow.
	ClientID string `mapstructure:"client_id"`

	// ClientSecretFile holds the secret of the client in its first line. Empty means
	// a public client, which has none.
	ClientSecretFile string `mapstructure:"client_secret_file"`

	// Scopes are what is asked for. They must include openid.
	Scopes []string `mapstructure:"scopes"`

	// Claim is the claim of the ID token that names the person, such as
	// preferred_username, upn or email. An email must be marked as verified.
	Claim string `mapstructure:"claim"`

	// Suffix is what the claim must end with, such as @corp.example. It is cut off.
	// Empty means that the whole claim counts.
	Suffix string `mapstructure:"suffix"`

	// User is how the person logs in; %u is the claim without the suffix. Empty means
	// %u. People of any directory but the first log in with a suffix, as in
	// %u@partner.example.
	User string `mapstructure:"user"`

	// Directory is the name of the directory that holds the people. A sign-in is
	// refused for anybody else. It may be left out where there is only one directory.
	Directory string `mapstructure:"directory"`

	// RequireACR are the levels of authentication (claim acr) of which the token must
	// have one. Empty means any.
	RequireACR []string `mapstructure:"require_acr"`

	// RequireAMR are the methods of authentication (claim amr, RFC 8176) that the token
	// must have all of, such as mfa. Empty means any.
	RequireAMR []string `mapstructure:"require_amr"`

	// MaxAge is how long ago the person may have authenticated at the provider (claim
	// auth_time). 0 means any time.
	MaxAge time.Duration `mapstructure:"max_age"`

	// Prompt is what the login asks for: choice is the password, or Enter for the
	// browser; browser is the browser immediately, and no password.
	Prompt string `mapstructure:"prompt"`

	// Timeout is how long a person may take to sign in. It extends ssh.login_grace.
	Timeout time.Duration `mapstructure:"timeout"`

	// MaxRunning is how many sign-ins may be under way.
	MaxRunning int `mapstructure:"max_running"`

	// MaxRunningSource is how many sign-ins of one address may be under way; of IPv6, of
	// one /64 network.
	MaxRunningSource int `mapstructure:"max_running_source"`

	// CAFile holds the certificates of the authorities that the provider's certificate
	// may be of, as PEM. Empty means those of the system.
	CAFile string `mapstructure:"ca_file"`
}

// The values of Settings.Prompt.
const (
	PromptChoice  = "choice"
	PromptBrowser = "browser"
)

// DefaultSettings is what a file that says nothing gets.
func DefaultSettings() Settings {
	return Settings{
		Scopes:  []string{"openid", "profile"},
		Claim:   "preferred_username",
		Prompt:  PromptChoice,
		Timeout: 5 * time.Minute,

		MaxRunning: 1000, MaxRunningSource: 20,
	}
}

// Enabled reports whether people can sign in with the browser.
func (s *Settings) Enabled() bool { return s.Issuer != "" }

// Check reports what in s cannot be used, with the key and what would be right.
// directories are the names of those configured. Check does not ask the provider.
func (s *Settings) Check(directories ...string) []error {
	var wrong check.Mistakes
	if !s.Enabled() {
		wrong.If(s.ClientID != "" || s.ClientSecretFile != "" || s.Directory != "", "issuer: empty: it must be the URL of the identity provider, such as https://login.corp.example/realms/corp")
		return wrong
	}
	u, err := url.Parse(s.Issuer)
	wrong.If(err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "", "issuer: %q: must be an https URL, such as https://login.corp.example/realms/corp", s.Issuer)
	wrong.If(s.ClientID == "", "client_id: missing: it must be the name by which the provider knows this server, such as berth")
	wrong.If(!slices.Contains(s.Scopes, "openid"), "scopes: %v: must include openid, or there is no ID token", s.Scopes)
	wrong.If(s.Claim == "", "claim: empty: must be the claim that names the person, such as preferred_username")
	wrong.If(s.User != "" && strings.Count(s.User, "%u") != 1, "user: %q: must have %%u once, such as %%u@partner.example", s.User)
	wrong.If(s.Prompt != PromptChoice && s.Prompt != PromptBrowser, "prompt: %q: must be choice or browser", s.Prompt)
	wrong.If(s.MaxAge < 0, "max_age: %v: must not be negative, such as 12h", s.MaxAge)
	wrong.If(s.Timeout < 10*time.Second || s.Timeout > time.Hour, "timeout: %v: must be from 10s to 1h, such as 5m", s.Timeout)
	wrong.If(s.MaxRunning < 1, "max_running: %d: must be at least 1", s.MaxRunning)
	wrong.If(s.MaxRunningSource < 1, "max_running_source: %d: must be at least 1", s.MaxRunningSource)
	wrong.If(s.Directory != "" && !slices.Contains(directories, s.Directory), "directory: %q: must be the name of one of directories: %s", s.Directory, strings.Join(directories, ", "))
	// bob of the provider is not the bob of every directory.
	wrong.If(s.Directory == "" && len(directories) > 1, "directory: missing: there are several, so it must name the one whose people sign in")
	return wrong
}
