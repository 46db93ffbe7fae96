package ldap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

const maxName = 256 // bytes; AD allows 20 characters, mail addresses 254

// checkName refuses, without asking, what cannot be a login name.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("name %.40q: %w", name, directory.ErrNoUser)
	}
	return nil
}

// userFilter returns the filter that finds the user called name by one of the
// attributes. Special characters of the name are escaped: "*" finds nobody.
//
// The name comes before the class, because 389 DS reads all entries that match the
// first part and gives up a search that reads too many.
func (c *Client) userFilter(ctx context.Context, search searchFunc, name string, attributes []string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	name, err := c.withoutDomain(ctx, search, name)
	if err != nil {
		return "", err
	}
	if strings.Contains(c.settings.UserFilter, "%u") {
		return strings.ReplaceAll(c.settings.UserFilter, "%u", ldap.EscapeFilter(name)), nil
	}
	filter := anyOf(attributes, name)
	// AD lets user@dns.domain log in whatever the entry's userPrincipalName is.
	user, domain, _ := strings.Cut(name, "@")
	if c.settings.Kind == "active_directory" && user != "" && strings.EqualFold(domain, dnsName(c.settings.Base)) {
		filter += anyOf([]string{c.settings.NameAttribute}, user)
	}
	return fmt.Sprintf("(&(|%s)%s)", filter, c.settings.UserFilter), nil
}

// withoutDomain returns the alice of CORP\alice. CORP must be a domain of this
// directory.
func (c *Client) withoutDomain(ctx context.Context, search searchFunc, name string) (string, error) {
	domain, user, found := strings.Cut(name, `\`)
	if !found {
		return name, nil
	}
	isOurs := func(d string) bool { return strings.EqualFold(d, domain) }
	ours := slices.ContainsFunc(c.settings.Domains, isOurs)
	if !ours && c.settings.Kind == "active_directory" {
		short, err := c.shortDomain(ctx, search)
		if err != nil {
			return "", err
		}
		ours = isOurs(short)
	}
	if !ours || domain == "" || user == "" {
		return "", fmt.Errorf("name %q: not of this domain: %w", name, directory.ErrNoUser)
	}
	return user, nil
}

// shortDomain returns the NetBIOS name of the domain, which Active Directory
// keeps beside the domain. It is asked for once a day.
func (c *Client) shortDomain(ctx context.Context, search searchFunc) (string, error) {
	if short, known := c.short.recall("", c.now()); known {
		return short, nil
	}
	root, _, err := read(ctx, search, "", "configurationNamingContext", "defaultNamingContext")
	if err != nil {
		return "", fmt.Errorf("short name of the domain: %w", err)
	}
	filter := "(&(objectClass=crossRef)(nCName=" + ldap.EscapeFilter(root.first("defaultNamingContext")) + "))"
	found, err := all(ctx, search, "CN=Partitions,"+root.first("configurationNamingContext"), filter, "nETBIOSName")
	if err != nil {
		return "", fmt.Errorf("short name of the domain: %w", err)
	}
	if len(found) != 1 || !found[0].has("nETBIOSName") {
		return "", nil
	}
	short := found[0].first("nETBIOSName")
	c.short.remember("", short, c.now().Add(24*time.Hour))
	return short, nil
}

// dnsName returns the domain of a DN as DNS has it, in lower case.
func dnsName(dn string) string {
	return strings.ReplaceAll(strings.TrimPrefix(foldDN(domainOf(dn)), "dc="), ",dc=", ".")
}

// foldDN returns a form of dn that is the same for all its spellings.
func foldDN(dn string) string { return directory.DNOf(dn).Key() }

// ownName returns the value of the first RDN of dn for the first of the attributes
// that the RDN has. "" means any attribute.
func ownName(dn directory.DN, attributes ...string) string {
	for _, a := range attributes {
		for _, p := range dn.Own() {
			if a == "" || strings.EqualFold(p.Name, a) {
				return p.Value
			}
		}
	}
	return ""
}
