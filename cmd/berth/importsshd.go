package main

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"berth/config"
	"berth/policy"
)

func importSSHDCommand() *cobra.Command {
	var flags importFlags
	s := sshdImport{imported: imported{sections: map[string]string{}}}
	cmd := &cobra.Command{
		Use:   "sshd [FILE]",
		Short: "Make a configuration of OpenSSH's sshd_config",
		Long: `Sshd reads the sshd_config of OpenSSH, /etc/ssh/sshd_config if no FILE is named, and
the files that it includes. Match blocks with ChrootDirectory become rules with a
home, AllowUsers and AllowGroups conditions of all of them, DenyUsers and DenyGroups
rules that deny. Ports, host keys, banner, limits and the methods of logins are
carried over.

In sshd the modes of files decide where people write. Here a rule does: everything
is read-only, except the folders below each home that --writable names.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := flags.base()
			if err != nil {
				return err
			}
			file := "/etc/ssh/sshd_config"
			if len(args) > 0 {
				file = args[0]
			}
			if err := s.read(file, cfg); err != nil {
				return err
			}
			return flags.write(cmd, &s.imported)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringSliceVar(&s.writable, "writable", nil, "`folder` below each home in which people may write, such as upload")
	cmd.Flags().StringVar(&s.home, "home", "", "what %h is in ChrootDirectory, such as `/home/%u`")
	return cmd
}

// A sshdImport reads an sshd_config.
type sshdImport struct {
	imported
	writable []string
	home     string
	kerberos bool // Berth accepts tickets
	blocks   []*sshdBlock
}

// A sshdBlock is what counts for those who meet a Match line. The first one is what
// counts for everybody else.
type sshdBlock struct {
	place    string
	criteria []string // of the Match line: pairs of a name and a value
	values   map[string][]string
	places   map[string]string // of the values
	spelled  map[string]string // the keywords, as they are written
}

// several are the keywords of which every line counts, not only the first.
var several = []string{"port", "listenaddress", "hostkey", "hostcertificate", "allowusers", "allowgroups", "denyusers", "denygroups"}

// deciding are the keywords that say what people may do.
var deciding = slices.Concat([]string{"chrootdirectory", "forcecommand"}, authenticating, several[4:])

var authenticating = []string{"authenticationmethods", "passwordauthentication", "pubkeyauthentication", "kbdinteractiveauthentication", "gssapiauthentication"}

func (s *sshdImport) read(file string, cfg *config.Config) error {
	s.kerberos = cfg.Kerberos.Enabled()
	global := &sshdBlock{values: map[string][]string{}, places: map[string]string{}, spelled: map[string]string{}}
	s.blocks = []*sshdBlock{global}
	if err := s.parse(file, filepath.Dir(file), global, 0); err != nil {
		return err
	}
	s.server(global)
	if err := s.denied(global); err != nil {
		return err
	}
	for n, b := range s.blocks[1:] {
		s.block(b, s.blocks[n+2:])
	}
	s.everybodyElse(global)
	s.note("PAM and SSSD", "whom they keep out (access_provider, pam_access, shells) is not in %s: no rule says it", file)
	return nil
}

// parse reads a file into block, and the blocks that begin in it.
func (s *sshdImport) parse(file, dir string, block *sshdBlock, depth int) error {
	const deepest = 16
	if depth > deepest {
		return fmt.Errorf("%s: Include is nested too deeply", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		place := fmt.Sprintf("%s:%d", file, n)
		words, err := sshdWords(lines.Text())
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		if len(words) == 0 {
			continue
		}
		key, args := strings.ToLower(words[0]), words[1:]
		if key == "challengeresponseauthentication" || key == "skeyauthentication" {
			key = "kbdinteractiveauthentication"
		}
		if len(args) == 0 {
			return fmt.Errorf("%s: %s: has no value", place, words[0])
		}
		_, known := block.values[key]
		if !known {
			block.spelled[key] = words[0]
		}
		switch {
		case key == "match":
			block = &sshdBlock{place: place, criteria: args, values: map[string][]string{}, places: map[string]string{}, spelled: map[string]string{}}
			s.blocks = append(s.blocks, block)
		case key == "include":
			for _, pattern := range args {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(dir, pattern)
				}
				more, err := filepath.Glob(pattern)
				if err != nil {
					return fmt.Errorf("%s: Include %s: %w", place, pattern, err)
				}
				for _, name := range more {
					if err := s.parse(name, dir, block, depth+1); err != nil {
						return err
					}
				}
			}
		case slices.Contains(several, key):
			block.values[key] = append(block.values[key], args...)
			block.places[key] = place
		case !known: // the first one counts
			block.values[key], block.places[key] = args, place
		}
	}
	return lines.Err()
}

// sshdWords splits a line. Quotes keep spaces together, and # begins a comment.
func sshdWords(line string) (words []string, err error) {
	line = strings.TrimSpace(line)
	if key, value, found := strings.Cut(line, "="); found && !strings.ContainsAny(key, " \t\"#") {
		line = key + " " + value
	}
	for line != "" && line[0] != '#' {
		end := strings.IndexAny(line, " \t")
		if line[0] == '"' {
			close := strings.IndexByte(line[1:], '"')
			if close < 0 {
				return nil, errors.New("a quote has no end")
			}
			words, line = append(words, line[1:close+1]), line[close+2:]
		} else if end < 0 {
			words, line = append(words, line), ""
		} else {
			words, line = append(words, line[:end]), line[end:]
		}
		line = strings.TrimLeft(line, " \t")
	}
	return words, nil
}

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
func (s *sshdImport) leftOver(b *sshdBlock, known ...string) {
	for _, key := range slices.Sorted(maps.Keys(b.values)) {
		why, said := notCarried[key]
		switch value := strings.Join(b.values[key], " "); {
		case slices.Contains(known, key) || said && why == "" || !said && strings.EqualFold(value, "no"):
		case said:
			s.note(b.places[key], "%s %s: %s", b.spelled[key], value, why)
		case slices.Contains(carried, key):
			s.note(b.places[key], "%s %s: counts for the whole server, not in a rule", b.spelled[key], value)
		default:
			s.note(b.places[key], "%s %s: Berth has no such setting", b.spelled[key], value)
		}
	}
}

// server carries over what counts for the server.
func (s *sshdImport) server(g *sshdBlock) {
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
	for key, lines := range map[string][]string{"ssh": ssh, "admission": admission} {
		if len(lines) > 0 {
			s.sections[key] = key + ":\n  " + strings.Join(lines, "\n  ") + "\n"
		}
	}
	ca, revoked := g.values["trustedusercakeys"], g.values["revokedkeys"]
	switch {
	case ca != nil && g.values["authorizedprincipalsfile"] == nil && g.values["authorizedprincipalscommand"] == nil:
		s.sections["certificates"] = "certificates:\n  ca_keys: [" + strconv.Quote(ca[0]) + "]\n"
		if revoked != nil {
			s.sections["certificates"] += "  revoked: [" + strconv.Quote(revoked[0]) + "]\n"
		}
	case ca != nil:
		s.note(g.places["trustedusercakeys"], "TrustedUserCAKeys %s: another program or file says for whom a certificate is; no certificate is accepted", ca[0])
	case revoked != nil:
		s.note(g.places["revokedkeys"], "RevokedKeys %s: remove these keys from the directory", revoked[0])
	}
}

// listen is the addresses; each ListenAddress without a port has all of the ports.
func (s *sshdImport) listen(g *sshdBlock) (all []string) {
	ports, hosts := g.values["port"], g.values["listenaddress"]
	if len(ports) == 0 {
		ports = []string{"22"}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
		if family := g.values["addressfamily"]; family != nil {
			hosts = map[string][]string{"inet": {"0.0.0.0"}, "inet6": {"::"}, "any": {""}}[family[0]]
		} else if g.values["port"] == nil {
			return nil // nothing is said
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

// denied makes rules of DenyUsers and DenyGroups.
func (s *sshdImport) denied(g *sshdBlock) error {
	for _, user := range g.values["denyusers"] {
		name, host, at := strings.Cut(user, "@")
		when := policy.When{Users: []string{name}}
		if err := expressible("DenyUsers", name, g.places["denyusers"]); err != nil {
			return err
		}
		if _, err := policy.ParseNetwork(host); at && err == nil {
			when.From = []string{host}
		} else if at {
			s.note(g.places["denyusers"], "DenyUsers %s: names of hosts are no condition; %s is refused from everywhere", user, name)
		}
		s.add(policy.Rule{Name: "DenyUsers " + user, When: when, Deny: true})
	}
	for _, group := range g.values["denygroups"] {
		if err := expressible("DenyGroups", group, g.places["denygroups"]); err != nil {
			return err
		}
		s.add(policy.Rule{Name: "DenyGroups " + group, When: policy.When{Groups: []string{plainGroup(group)}}, Deny: true})
	}
	return nil
}

// expressible refuses what would let in or keep out others than meant.
func expressible(keyword, name, place string) error {
	if strings.HasPrefix(name, "!") || strings.ContainsAny(name, `[]`) || name == "" {
		return fmt.Errorf("%s: %s %q: no rule can say that: write the list without it, in a copy of the file", place, keyword, name)
	}
	return nil
}

// plainGroup is the name of a group without the domain that SSSD or winbind adds.
func plainGroup(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name[strings.LastIndexByte(name, '\\')+1:]
}

// conditions are those of a Match line. why says what of it no rule can say; the
// conditions are then true for more people than the line is.
func (b *sshdBlock) conditions() (when policy.When, why string) {
	for i := 0; i < len(b.criteria); i += 2 {
		name := strings.ToLower(b.criteria[i])
		if name == "all" {
			i--
			continue
		}
		if i+1 == len(b.criteria) {
			return when, "Match " + b.criteria[i] + " has no value, or none that can be read here"
		}
		values := strings.Split(b.criteria[i+1], ",")
		bad := func(v string) bool { return expressible("", v, "") != nil }
		if name == "address" {
			bad = func(v string) bool { _, err := policy.ParseNetwork(v); return err != nil }
		}
		to := map[string]*[]string{"user": &when.Users, "group": &when.Groups, "address": &when.From}[name]
		if to == nil || *to != nil || slices.ContainsFunc(values, bad) {
			why = fmt.Sprintf("no rule has the condition %s %s", b.criteria[i], b.criteria[i+1])
			continue
		}
		for _, v := range values {
			if name == "group" {
				v = plainGroup(v)
			}
			*to = append(*to, v)
		}
	}
	return when, why
}

// refuse makes a rule that denies, where it cannot be said what b gives.
func (s *sshdImport) refuse(b *sshdBlock, when policy.When, why string) {
	who := "those whom it may be about"
	if len(when.Users)+len(when.Groups)+len(when.From) == 0 {
		who = "everybody"
	}
	s.note(b.place, "Match %s: %s: the rule refuses %s, until you write a better one", strings.Join(b.criteria, " "), why, who)
	s.add(policy.Rule{Name: s.ruleName(b), When: when, Deny: true})
}

func (s *sshdImport) ruleName(b *sshdBlock) string {
	file := filepath.Base(b.place)
	if line, main := strings.CutPrefix(file, "sshd_config:"); main {
		file = "line " + line
	}
	return file + " " + strings.Join(b.criteria, " ")
}

// add adds a rule. Rules need names of their own.
func (s *sshdImport) add(r policy.Rule) {
	for n, name := 2, r.Name; slices.ContainsFunc(s.rules, func(o policy.Rule) bool { return strings.EqualFold(o.Name, r.Name) }); n++ {
		r.Name = fmt.Sprintf("%s (%d)", name, n)
	}
	s.rules = append(s.rules, r)
}

// block makes a rule of a Match block. later are the blocks after it.
func (s *sshdImport) block(b *sshdBlock, later []*sshdBlock) {
	s.leftOver(b, deciding...)
	own := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return b.values[key] != nil })
	}
	if !own(deciding...) {
		return
	}
	when, why := b.conditions()
	if own(several[4:]...) {
		why = "users and groups are allowed or denied in it"
	}
	require := s.require(b)
	for _, l := range later {
		lacks := func(key string) bool { return l.values[key] != nil && b.values[key] == nil }
		if slices.ContainsFunc(authenticating, lacks) { // both may be about one person
			require = require.both(s.require(l))
		}
	}
	chroot, force := b.effective("chrootdirectory", s.blocks[0]), b.effective("forcecommand", s.blocks[0])
	switch {
	case why != "":
	case require != nil && len(require) == 0:
		why = "nobody could log in by the methods it leaves"
	case force != nil && !isInternalSFTP(force) && own("forcecommand", "chrootdirectory"):
		why = "ForceCommand " + strings.Join(force, " ") + ": nothing is run here"
	case chroot == nil && !own(authenticating...):
		s.note(b.place, "Match %s: without ChrootDirectory people see the whole machine: name their folders in a rule", strings.Join(b.criteria, " "))
		return
	}
	if why != "" {
		s.refuse(b, when, why)
		return
	}
	r := policy.Rule{Name: s.ruleName(b), Require: policy.Require(require)}
	if r.When, why = s.allowed(when); why != "" {
		s.note(b.place, "Match %s: %s", strings.Join(b.criteria, " "), why)
		return
	}
	if own("chrootdirectory") {
		if why := s.fill(&r, chroot[0], force); why != "" {
			s.refuse(b, when, why)
			return
		}
	}
	if r.Home != nil || r.Require != nil {
		s.add(r)
	}
}

// effective is what counts in a block for a keyword: its own value, or that of all.
func (b *sshdBlock) effective(key string, global *sshdBlock) []string {
	if v := b.values[key]; v != nil {
		return v
	}
	return global.values[key]
}

func isInternalSFTP(command []string) bool {
	return path.Base(strings.Fields(command[0])[0]) == "internal-sftp"
}

// fill gives r the home that ChrootDirectory is. why says why that is not possible.
func (s *sshdImport) fill(r *policy.Rule, chroot string, force []string) (why string) {
	if chroot == "none" {
		return "ChrootDirectory none: people see the whole machine"
	}
	host, why := s.template(chroot)
	if why != "" {
		return why
	}
	home := policy.Home{Host: host, Permissions: []string{"read_only"}}
	writable := s.writable
	if force == nil {
		s.note(r.Name, "a shell: there is none; people get SFTP only")
	} else {
		options := strings.Fields(strings.Join(force, " "))[1:]
		for i, o := range options {
			switch {
			case o == "-R":
				writable = nil
			case o == "-u" && i+1 < len(options):
				home.Umask = options[i+1]
			case o == "-p", o == "-P":
				writable = nil
				s.note(r.Name, "internal-sftp %s: the list of requests is not read; everything is read-only", o)
			case o == "-d":
				s.note(r.Name, "internal-sftp -d: people begin in /")
			}
		}
	}
	for _, name := range s.writable {
		// Of all rules that match a person, the first one with a path decides about it.
		g := policy.Grant{Path: path.Join("/", name), Permissions: []string{"full"}}
		if writable == nil {
			g.Permissions = home.Permissions
		}
		r.Access = append(r.Access, g)
	}
	if len(s.writable) == 0 {
		s.note(r.Name, "where people may write: their home is read-only; --writable names folders below it")
	}
	r.Home, r.Services = &home, []string{"sftp"}
	return ""
}

// template is a ChrootDirectory with Berth's placeholders.
func (s *sshdImport) template(chroot string) (host, why string) {
	for i := 0; i < len(chroot); i++ {
		if chroot[i] != '%' || i+1 == len(chroot) {
			host += chroot[i : i+1]
			continue
		}
		i++
		switch chroot[i] {
		case '%', 'u':
			host += chroot[i-1 : i+1]
		case 'U':
			host += "%{uidNumber}"
		case 'h':
			if s.home == "" {
				return "", "%h in ChrootDirectory: --home says what that is, such as /home/%u"
			}
			host += s.home
		default:
			return "", "%" + chroot[i:i+1] + " in ChrootDirectory: no placeholder is the same"
		}
	}
	return path.Clean(host), ""
}

// require is the methods that count in a block; nil: any.
func (s *sshdImport) require(b *sshdBlock) alternatives {
	on := func(key string, usual bool) bool {
		v := b.effective(key, s.blocks[0])
		return v == nil && usual || v != nil && strings.EqualFold(v[0], "yes")
	}
	offered := map[string]bool{
		"publickey":            on("pubkeyauthentication", true),
		"password":             on("passwordauthentication", true),
		"keyboard-interactive": on("kbdinteractiveauthentication", true),
		"gssapi-with-mic":      on("gssapiauthentication", false),
	}
	methods := b.effective("authenticationmethods", s.blocks[0])
	if methods == nil || methods[0] == "any" {
		password := offered["password"] || offered["keyboard-interactive"]
		if offered["publickey"] && password && (offered["gssapi-with-mic"] || !s.kerberos) {
			return nil
		}
		methods = nil
		for _, m := range []string{"publickey", "password", "gssapi-with-mic"} {
			if offered[m] || m == "password" && password {
				methods, offered[m] = append(methods, m), true
			}
		}
	}
	all := alternatives{}
	for _, list := range methods {
		var needed []string
		for m := range strings.SplitSeq(list, ",") {
			m, _, _ = strings.Cut(m, ":")
			if !offered[m] {
				needed = nil
				break
			}
			if m == "keyboard-interactive" {
				m = "password" // what PAM may ask beside it is not known here
			}
			needed = append(needed, m)
		}
		if needed = slices.Compact(needed); len(needed) > 0 {
			all = append(all, needed)
		}
	}
	return all
}

// allowed narrows when to those whom AllowUsers and AllowGroups let in.
func (s *sshdImport) allowed(when policy.When) (_ policy.When, why string) {
	g := s.blocks[0]
	for _, list := range []struct {
		key  string
		into *[]string
	}{{"allowusers", &when.Users}, {"allowgroups", &when.Groups}} {
		names := g.values[list.key]
		if names == nil {
			continue
		}
		var let []string
		for _, name := range names {
			if list.key == "allowgroups" {
				name = plainGroup(name)
			}
			switch {
			case strings.HasPrefix(name, "!") || strings.ContainsAny(name, "[]"):
				return when, g.spelled[list.key] + " " + name + ": no rule can say that"
			case strings.Contains(name, "@"):
				s.note(g.places[list.key], "%s %s: a user from one host only: let in by no rule", g.spelled[list.key], name)
			case *list.into == nil || slices.Contains(*list.into, name) || name == "*":
				let = append(let, name)
			}
		}
		if slices.Contains(let, "*") {
			continue // everybody
		}
		if *list.into != nil && len(let) < len(*list.into) {
			s.note(g.places[list.key], "%s: of %s only %s can be seen to be among those", g.spelled[list.key], strings.Join(*list.into, ", "), strings.Join(let, ", "))
		}
		if len(let) == 0 {
			return when, g.spelled[list.key] + " lets in none of them"
		}
		*list.into = let
	}
	return when, ""
}

// everybodyElse makes the rule for those whom no Match block is about, if it says who
// they are.
func (s *sshdImport) everybodyElse(g *sshdBlock) {
	chroot, force := g.values["chrootdirectory"], g.values["forcecommand"]
	switch {
	case chroot == nil:
		return
	case force != nil && !isInternalSFTP(force):
		s.note(g.places["forcecommand"], "ForceCommand %s: nothing is run here", strings.Join(force, " "))
		return
	case g.values["allowusers"] == nil && g.values["allowgroups"] == nil:
		s.note(g.places["chrootdirectory"], "ChrootDirectory %s for everybody who has an account on the machine: who that is, AllowGroups does not say; write a rule for a group", chroot[0])
		return
	}
	r := policy.Rule{Name: "everybody else", Require: policy.Require(s.require(g))}
	var why string
	if r.When, why = s.allowed(policy.When{}); why == "" {
		why = s.fill(&r, chroot[0], force)
	}
	if why != "" {
		s.note(g.places["chrootdirectory"], "ChrootDirectory %s: %s", chroot[0], why)
		return
	}
	s.add(r)
}

func quoteAll(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, strconv.Quote(v))
	}
	return all
}
