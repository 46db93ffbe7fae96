package policy

import "slices"

// service is something a person can ask for over SSH, or a use of the web page for IT.
type service struct {
	name    string
	aliases []string
	offered bool // unless a rule that matches says otherwise; others only where a rule lists them
}

var services = []service{
	{name: "sftp", offered: true},
	{name: "scp", offered: true},
	{name: "passwd", aliases: []string{"change-password"}},
	{name: "whoami", offered: true},
	{name: "quota", offered: true},
	{name: "keys"},
	{name: "certify"},
	{name: "help", offered: true},
	{name: "console_read"},    // the web page for IT
	{name: "console_operate"}, // and what changes something there
}

// canonicalService returns the name of a service for any of its names, and
// other names as they are.
func canonicalService(name string) string {
	for _, s := range services {
		if slices.Contains(s.aliases, name) {
			return s.name
		}
	}
	return name
}

// serviceNames returns the names of the services of which that is true.
func serviceNames(which func(service) bool) []string {
	var names []string
	for _, s := range services {
		if which(s) {
			names = append(names, s.name)
		}
	}
	return names
}

// defaultServices are those of a login for which no rule lists any.
var defaultServices = serviceNames(func(s service) bool { return s.offered })
