package policy

import "slices"

// service is something a person can ask for over SSH.
type service struct {
	name    string
	aliases []string
	offered bool // unless a rule that matches says otherwise
}

var services = []service{
	{name: "sftp", offered: true},
	{name: "scp", offered: true},
	{name: "passwd", aliases: []string{"change-password"}}, // only where a rule lists it
	{name: "whoami", offered: true},
	{name: "quota", offered: true},
	{name: "keys"},
	{name: "help", offered: true},
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
