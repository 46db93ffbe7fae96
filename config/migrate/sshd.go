package migrate

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"berth/policy"
)

// SSHD is how an sshd_config is read.
type SSHD struct {
	Writable []string // folders below each home in which people may write
	Home     string   // what %h is in ChrootDirectory, such as /home/%u
	Kerberos bool     // Berth accepts tickets
}

// Read reads file and what it includes. The error names the file and the line.
func (from SSHD) Read(file string) (*Result, error) {
	s := sshd{SSHD: from, Result: Result{sections: map[string]string{}}}
	return &s.Result, s.read(file)
}

// A sshd is an sshd_config that is read.
type sshd struct {
	SSHD
	Result
	blocks []*sshdBlock
	open   int // the first rule with a home for people whose ForceCommand a later block may set; 0: none
}

// deciding are the keywords that say what people may do.
var deciding = slices.Concat([]string{"chrootdirectory", "forcecommand"}, authenticating, admitting)

var authenticating = []string{"authenticationmethods", "passwordauthentication", "pubkeyauthentication", "kbdinteractiveauthentication", "gssapiauthentication"}

func (s *sshd) read(file string) error {
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

// denied makes rules of DenyUsers and DenyGroups.
func (s *sshd) denied(g *sshdBlock) error {
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

// expressible refuses a name that would let in or keep out other people than
// intended.
func expressible(keyword, name, place string) error {
	if strings.HasPrefix(name, "!") || strings.ContainsAny(name, `[]`) || name == "" {
		return fmt.Errorf("%s: %s %q: a rule cannot express this: remove it from the list, in a copy of the file", place, keyword, name)
	}
	return nil
}

// plainGroup is the name of a group without the domain that SSSD or winbind adds.
func plainGroup(name string) string {
	name, _, _ = strings.Cut(name, "@")
	return name[strings.LastIndexByte(name, '\\')+1:]
}

// conditions are those of a Match line. why names what no rule can express; the
// conditions are then true for more people than the line.
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

// refuse makes a rule that denies, for a block b whose rights cannot be translated.
func (s *sshd) refuse(b *sshdBlock, when policy.When, why string) {
	who := "those whom it may be about"
	if len(when.Users)+len(when.Groups)+len(when.From) == 0 {
		who = "everybody"
	}
	s.note(b.place, "Match %s: %s: the rule refuses %s, until you write a better one", strings.Join(b.criteria, " "), why, who)
	s.add(policy.Rule{Name: s.ruleName(b), When: when, Deny: true})
}

func (s *sshd) ruleName(b *sshdBlock) string {
	file := filepath.Base(b.place)
	if line, main := strings.CutPrefix(file, "sshd_config:"); main {
		file = "line " + line
	}
	return file + " " + strings.Join(b.criteria, " ")
}

// add adds a rule. Rules need names of their own.
func (s *sshd) add(r policy.Rule) {
	for n, name := 2, r.Name; slices.ContainsFunc(s.Rules, func(o policy.Rule) bool { return strings.EqualFold(o.Name, r.Name) }); n++ {
		r.Name = fmt.Sprintf("%s (%d)", name, n)
	}
	s.Rules = append(s.Rules, r)
}

// block makes a rule of a Match block. later are the blocks after it.
func (s *sshd) block(b *sshdBlock, later []*sshdBlock) {
	s.leftOver(b, deciding...)
	own := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return b.values[key] != nil })
	}
	if !own(deciding...) {
		return
	}
	when, why := b.conditions()
	if own(admitting...) {
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
	limits := own("forcecommand") && isInternalSFTP(force) && readOnly(sftpOptions(force))
	switch {
	case why != "":
	case require != nil && len(require) == 0:
		why = "nobody could log in by the methods it leaves"
	case force != nil && !isInternalSFTP(force) && own("forcecommand", "chrootdirectory"):
		why = "ForceCommand " + strings.Join(force, " ") + ": nothing is run here"
	case chroot == nil && !own(authenticating...) && !limits:
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
	if r.Home != nil && !own("forcecommand") && s.open == 0 {
		s.open = len(s.Rules) + 1
	}
	if r.Home != nil || r.Require != nil {
		s.add(r)
	}
	if limits && (r.Home == nil || s.open != 0) {
		s.keepReadOnly(b, r.When)
	}
}

// keepReadOnly makes a rule for people who can only read because of the ForceCommand of
// block b, whichever other block or line sets their folder. Of all rules that match a
// person, the first one with a path decides about it.
func (s *sshd) keepReadOnly(b *sshdBlock, when policy.When) {
	if len(s.Writable) == 0 {
		return // everything is read-only
	}
	r := policy.Rule{Name: s.ruleName(b) + ", read-only", When: when}
	for _, name := range s.Writable {
		r.Access = append(r.Access, policy.Grant{Path: path.Join("/", name), Permissions: []string{"read_only"}})
	}
	s.add(r)
	if s.open != 0 {
		last := len(s.Rules) - 1
		s.Rules = slices.Insert(s.Rules[:last:last], s.open-1, s.Rules[last])
	}
}

// sftpOptions are those of a ForceCommand internal-sftp, with their values, as getopt(3)
// reads them: several may be in one word.
func sftpOptions(force []string) map[byte]string {
	const withValue = "dflPpQu"
	options := map[byte]string{}
	words := strings.Fields(strings.Join(force, " "))[1:]
	for i := 0; i < len(words); i++ {
		flags, is := strings.CutPrefix(words[i], "-")
		for ; is && flags != ""; flags = flags[1:] {
			if !strings.Contains(withValue, flags[:1]) {
				options[flags[0]] = ""
				continue
			}
			value := flags[1:]
			if value == "" && i+1 < len(words) {
				i++
				value = words[i]
			}
			options[flags[0]] = value
			break
		}
	}
	return options
}

// readOnly reports whether people may not write with these options. Lists of requests are
// not read.
func readOnly(options map[byte]string) bool {
	for _, o := range []byte("RpP") {
		if _, there := options[o]; there {
			return true
		}
	}
	return false
}

func isInternalSFTP(command []string) bool {
	return path.Base(strings.Fields(command[0])[0]) == "internal-sftp"
}

// fill gives r the home that ChrootDirectory is. why says why that is not possible.
func (s *sshd) fill(r *policy.Rule, chroot string, force []string) (why string) {
	if chroot == "none" {
		return "ChrootDirectory none: people see the whole machine"
	}
	host, why := s.template(chroot)
	if why != "" {
		return why
	}
	home := policy.Home{Host: host, Permissions: []string{"read_only"}}
	writable := s.Writable
	if force == nil {
		s.note(r.Name, "a shell: there is none; people get SFTP only")
	} else {
		options := sftpOptions(force)
		home.Umask = options['u']
		if readOnly(options) {
			writable = nil
		}
		for _, o := range []byte("pP") {
			if _, there := options[o]; there {
				s.note(r.Name, "internal-sftp -%c: the list of requests is not read; everything is read-only", o)
			}
		}
		if _, there := options['d']; there {
			s.note(r.Name, "internal-sftp -d: people begin in /")
		}
	}
	for _, name := range s.Writable {
		// Of all rules that match a person, the first one with a path decides about it.
		g := policy.Grant{Path: path.Join("/", name), Permissions: []string{"full"}}
		if writable == nil {
			g.Permissions = home.Permissions
		}
		r.Access = append(r.Access, g)
	}
	if len(s.Writable) == 0 {
		s.note(r.Name, "where people may write: their home is read-only; --writable names folders below it")
	}
	r.Home, r.Services = &home, []string{"sftp"}
	return ""
}

// template is a ChrootDirectory with Berth's placeholders.
func (s *sshd) template(chroot string) (host, why string) {
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
			if s.Home == "" {
				return "", "%h in ChrootDirectory: --home says what that is, such as /home/%u"
			}
			host += s.Home
		default:
			return "", "%" + chroot[i:i+1] + " in ChrootDirectory: no placeholder is the same"
		}
	}
	return path.Clean(host), ""
}

// require is the methods that count in a block; nil: any.
func (s *sshd) require(b *sshdBlock) alternatives {
	on := func(key string, usual bool) bool {
		v := b.effective(key, s.blocks[0])
		return v == nil && usual || v != nil && strings.EqualFold(v[0], "yes")
	}
	offered := map[string]bool{
		"publickey":            on("pubkeyauthentication", true),
		"password":             on("passwordauthentication", true),
		"keyboard-interactive": on("kbdinteractiveauthentication", true) && on("usepam", false), // nobody else asks
		"gssapi-with-mic":      on("gssapiauthentication", false),
	}
	methods := b.effective("authenticationmethods", s.blocks[0])
	if methods == nil || methods[0] == "any" {
		password := offered["password"] || offered["keyboard-interactive"]
		if offered["publickey"] && password && (offered["gssapi-with-mic"] || !s.Kerberos) {
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
func (s *sshd) allowed(when policy.When) (_ policy.When, why string) {
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
func (s *sshd) everybodyElse(g *sshdBlock) {
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
