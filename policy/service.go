package policy

// services are what a rule can list. Other names for one are its aliases.
var services = []struct {
	name    string
	aliases []string
	offered bool // unless a rule that matches says otherwise
}{
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
		for _, alias := range s.aliases {
			if alias == name {
				return s.name
			}
		}
	}
	return name
}
