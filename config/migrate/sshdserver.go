package migrate

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// notCarried says why keywords are not carried over. Those without a value of their
// own here are as in Berth if they are "no".
var notCarried = map[string]string{
	"authorizedkeysfile":        "keys are in the directory, not in files of people: move them there",
	"authorizedkeyscommand":     "keys are read from the directory's attribute (key_attribute)",
	"authorizedkeyscommanduser": "there is no such command",
	"authorizedprincipalsfile":  "a certificate is for the person whose name, or attribute, is its principal (certificates.principal_attributes)",
	"ciphers":                   "Berth chooses: see ssh.ciphers and ssh.legacy",
	"kexalgorithms":             "Berth chooses: see ssh.key_exchanges and ssh.legacy",
	"macs":                      "Berth chooses: see ssh.macs and ssh.legacy",
	"pubkeyacceptedalgorithms":  "Berth chooses: see ssh.key_algorithms and ssh.legacy",
	"hostkeyalgorithms":         "the host keys decide",
	"persourcepenalties":        "Berth has penalties of its own: admission.penalties",
	"subsystem":                 "",
	"usepam":                    "",
	"addressfamily":             "",
}

// carried are the keywords that server knows.
var carried = []string{
	"port", "listenaddress", "hostkey", "hostcertificate", "hostkeyagent", "banner", "clientaliveinterval", "clientalivecountmax", "logingracetime",
	"maxauthtries", "maxstartups", "persourcemaxstartups", "maxsessions", "trustedusercakeys", "revokedkeys",
}

// leftOver notes the keywords of a block that decide nothing here.
func (s *sshd) leftOver(b *sshdBlock, known ...string) {
	for _, key := range slices.Sorted(maps.Keys(b.values)) {
		why, listed := notCarried[key]
		switch value := strings.Join(b.values[key], " "); {
		case slices.Contains(known, key) || listed && why == "" || !listed && strings.EqualFold(value, "no"):
		case listed:
			s.note(b.places[key], "%s %s: %s", b.spelled[key], value, why)
		case slices.Contains(carried, key):
			s.note(b.places[key], "%s %s: counts for the whole server, not in a rule", b.spelled[key], value)
		default:
			s.note(b.places[key], "%s %s: Berth has no such setting", b.spelled[key], value)
		}
	}
}

// server carries over what counts for the server.
func (s *sshd) server(g *sshdBlock) {
	s.leftOver(g, slices.Concat(deciding, carried)...)
	list := func(key string, values []string) {
		if len(values) > 0 {
			s.sections[key] = key + ": [" + strings.Join(quoteAll(values), ", ") + "]\n"
		}
	}
	list("listen", s.listen(g))
	if keys := g.values["hostkey"]; len(keys) > 0 {
		list("host_keys", keys)
		s.note(g.places["hostkey"], "the access to the host keys: the user of the server must be able to read them; copy them to a folder of its own")
	}
	list("host_certificates", g.values["hostcertificate"])
	if agent := g.values["hostkeyagent"]; agent != nil {
		s.sections["host_key_agent"] = "host_key_agent: " + strconv.Quote(agent[0]) + "\n"
	}
	var ssh, admission []string
	if v := g.values["banner"]; v != nil && v[0] != "none" {
		ssh = append(ssh, "banner: "+strconv.Quote(v[0]))
	}
	for _, t := range []struct{ from, to string }{{"logingracetime", "login_grace"}, {"clientaliveinterval", "keep_alive"}} {
		if v := g.values[t.from]; v == nil {
			continue
		} else if d, ok := sshdTime(v[0]); !ok || d == "0s" && t.to == "login_grace" {
			s.note(g.places[t.from], "%s %s: ssh.%s must be a time such as 2m", g.spelled[t.from], v[0], t.to)
		} else {
			ssh = append(ssh, t.to+": "+d)
		}
	}
	if v := g.values["clientalivecountmax"]; v != nil && v[0] != "4" {
		s.note(g.places["clientalivecountmax"], "ClientAliveCountMax %s: a client that does not answer is disconnected after four times ssh.keep_alive", v[0])
	}
	for _, n := range []struct {
		from, to string
		section  *[]string
	}{{"maxauthtries", "max_tries", &ssh}, {"maxsessions", "max_channels", &ssh}, {"persourcemaxstartups", "max_startups_per_source", &admission}} {
		v := g.values[n.from]
		if v == nil {
			continue
		} else if i, err := strconv.Atoi(v[0]); err != nil || i < 1 {
			s.note(g.places[n.from], "%s %s: %s must be a number from 1", g.spelled[n.from], v[0], n.to)
			continue
		}
		*n.section = append(*n.section, n.to+": "+v[0])
	}
	if v := g.values["maxstartups"]; v != nil {
		f := strings.Split(v[0], ":")
		if len(f) == 1 {
			f = []string{f[0], "100", f[0]}
		}
		admission = append(admission, fmt.Sprintf("max_startups: {begin: %s, rate: %s, full: %s}", f[0], f[1], f[len(f)-1]))
	}
	var certificates []string
	ca := g.values["trustedusercakeys"]
	switch {
	case ca == nil || ca[0] == "none":
	case g.values["authorizedprincipalsfile"] == nil && g.values["authorizedprincipalscommand"] == nil:
		certificates = append(certificates, "ca_keys: ["+strconv.Quote(ca[0])+"]")
	default:
		s.note(g.places["trustedusercakeys"], "TrustedUserCAKeys %s: another program or file says for whom a certificate is; no certificate is accepted", ca[0])
	}
	if revoked := g.values["revokedkeys"]; revoked != nil && revoked[0] != "none" {
		certificates = append(certificates, "revoked: ["+strconv.Quote(revoked[0])+"]")
	}
	for key, lines := range map[string][]string{"ssh": ssh, "admission": admission, "certificates": certificates} {
		if len(lines) > 0 {
			s.sections[key] = key + ":\n  " + strings.Join(lines, "\n  ") + "\n"
		}
	}
}

// listen is the addresses; each ListenAddress without a port has all of the ports.
func (s *sshd) listen(g *sshdBlock) (all []string) {
	ports, hosts := g.values["port"], g.values["listenaddress"]
	if len(ports) == 0 {
		ports = []string{"22"}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
		if family := g.values["addressfamily"]; family != nil {
			hosts = map[string][]string{"inet": {"0.0.0.0"}, "inet6": {"::"}, "any": {""}}[family[0]]
		} else if g.values["port"] == nil {
			return nil // nothing is set
		}
	}
	for _, host := range hosts {
		if _, _, err := net.SplitHostPort(host); err == nil {
			all = append(all, host)
			continue
		}
		for _, port := range ports {
			all = append(all, net.JoinHostPort(strings.Trim(host, "[]"), port))
		}
	}
	return all
}

// sshdTime reads a time as sshd does: 30, 2m, 1h30m.
func sshdTime(text string) (string, bool) {
	if _, err := strconv.Atoi(text); err == nil {
		text += "s"
	}
	text = strings.ToLower(text)
	return text, text != "" && strings.Trim(text, "0123456789hms") == ""
}

func quoteAll(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, strconv.Quote(v))
	}
	return all
}
