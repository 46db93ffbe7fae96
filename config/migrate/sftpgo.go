package migrate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"berth/policy"
)

// SFTPGo reads the JSON of a backup (dumpdata). codes and tickets say whether people can
// have one-time codes and Kerberos tickets with Berth. The error does not name the file.
func SFTPGo(backup []byte, codes, tickets bool) (*Result, error) {
	s := sftpgo{codes: codes, tickets: tickets}
	return &s.Result, s.read(backup)
}

// A sftpgo is a backup of SFTPGo that is read.
type sftpgo struct {
	Result
	codes, tickets bool

	groups map[string]sftpgoGroup
	folder map[string]sftpgoFolder
}

// What is read of a backup. What it has beside these is counted, or decides nothing
// about SFTP.
type (
	sftpgoBackup struct {
		Version int            `json:"version"`
		Users   []sftpgoUser   `json:"users"`
		Groups  []sftpgoGroup  `json:"groups"`
		Folders []sftpgoFolder `json:"folders"`

		Admins, Shares, Roles []any
		APIKeys               []any `json:"api_keys"`
		EventRules            []any `json:"event_rules"`
		IPLists               []any `json:"ip_lists"`
	}

	sftpgoUser struct {
		Username string         `json:"username"`
		Status   int            `json:"status"`
		Expires  int64          `json:"expiration_date"`
		Keys     []string       `json:"public_keys"`
		Groups   []sftpgoMember `json:"groups"`
		sftpgoSettings
		Folders []sftpgoFolder `json:"virtual_folders"`
	}

	sftpgoMember struct {
		Name string `json:"name"`
		Type int    `json:"type"` // 1: primary, 2: secondary, 3: without settings
	}

	sftpgoGroup struct {
		Name     string         `json:"name"`
		Settings sftpgoSettings `json:"user_settings"`
		Folders  []sftpgoFolder `json:"virtual_folders"`
	}

	// sftpgoSettings are those that users and groups have.
	sftpgoSettings struct {
		HomeDir     string              `json:"home_dir"`
		Permissions map[string][]string `json:"permissions"`
		Sessions    int                 `json:"max_sessions"`
		Quota       int64               `json:"quota_size"`
		QuotaFiles  int64               `json:"quota_files"`
		Upload      int64               `json:"upload_bandwidth"` // KB a second
		Download    int64               `json:"download_bandwidth"`
		Transfer    int64               `json:"total_data_transfer"`
		UploadAll   int64               `json:"upload_data_transfer"`
		DownloadAll int64               `json:"download_data_transfer"`
		Filesystem  sftpgoFilesystem    `json:"filesystem"`
		Filters     sftpgoFilters       `json:"filters"`
	}

	sftpgoFilesystem struct {
		Provider int `json:"provider"` // 0: files of the machine
	}

	sftpgoFilters struct {
		AllowedIP     []string        `json:"allowed_ip"`
		DeniedIP      []string        `json:"denied_ip"`
		DeniedMethods []string        `json:"denied_login_methods"`
		DeniedProtos  []string        `json:"denied_protocols"`
		TwoFactor     []string        `json:"two_factor_protocols"`
		Patterns      []sftpgoPattern `json:"file_patterns"`
		MaxUpload     int64           `json:"max_upload_file_size"`
		AccessTime    []any           `json:"access_time"`
		Bandwidth     []any           `json:"bandwidth_limits"`
		StartDir      string          `json:"start_directory"`
		Anonymous     bool            `json:"is_anonymous"`
		TOTP          struct {
			Enabled   bool     `json:"enabled"`
			Protocols []string `json:"protocols"`
		} `json:"totp_config"`
	}

	sftpgoPattern struct {
		Path    string   `json:"path"`
		Allowed []string `json:"allowed_patterns"`
		Denied  []string `json:"denied_patterns"`
		Policy  int      `json:"deny_policy"` // 1: hidden
	}

	sftpgoFolder struct {
		Name        string           `json:"name"`
		MappedPath  string           `json:"mapped_path"`
		VirtualPath string           `json:"virtual_path"`
		Quota       int64            `json:"quota_size"` // -1: within that of the user
		QuotaFiles  int64            `json:"quota_files"`
		Filesystem  sftpgoFilesystem `json:"filesystem"`
	}
)

func (s *sftpgo) read(text []byte) error {
	var b sftpgoBackup
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("is not a backup of SFTPGo: %w", err)
	}
	if b.Version == 0 || len(b.Users) == 0 {
		return fmt.Errorf("is not a backup of SFTPGo with users in it: %q and %q are missing", "version", "users")
	}
	s.groups, s.folder = map[string]sftpgoGroup{}, map[string]sftpgoFolder{}
	for _, g := range b.Groups {
		s.groups[g.Name] = g
	}
	for _, f := range b.Folders {
		s.folder[f.Name] = f
	}
	same := map[string]int{}
	for _, u := range b.Users {
		same[strings.ToLower(u.Username)]++
	}
	keys := 0
	for _, u := range b.Users {
		keys += len(u.Keys)
		why := "differs from another name in case only: the directory has one person of that name"
		if same[strings.ToLower(u.Username)] == 1 {
			why = s.user(u)
		}
		if why != "" {
			s.note("user "+u.Username, "%s; no rule lets this user in", why)
		}
	}
	s.note("passwords", "people have those of the directory")
	for what, n := range map[string]int{
		"public keys (write them to the directory)": keys, "admins": len(b.Admins), "shares": len(b.Shares), "roles": len(b.Roles),
		"API keys": len(b.APIKeys), "event rules": len(b.EventRules), "IP lists (see admission.blocked and admission.exempt)": len(b.IPLists),
	} {
		if n > 0 {
			s.note(what, "%d in the backup", n)
		}
	}
	slices.Sort(s.Notes)
	return nil
}

// user makes the rules of a user. why says why there are none.
func (s *sftpgo) user(u sftpgoUser) (why string) {
	if why := s.merge(&u); why != "" {
		return why
	}
	f := u.Filters
	note := func(format string, args ...any) { s.note("user "+u.Username, format, args...) }
	switch {
	case strings.ContainsAny(u.Username, `*?[]\@`):
		return "the name has a character that means something else in a rule"
	case u.Status != 1:
		return "is disabled"
	case u.Expires > 0:
		return "has an end (expiration_date), which only the directory can say"
	case u.Filesystem.Provider != 0:
		return "has a home that is not in the files of the machine"
	case !path.IsAbs(u.HomeDir):
		return fmt.Sprintf("has the home %q, which is no absolute path", u.HomeDir)
	case slices.Contains(f.DeniedProtos, "SSH"):
		return "may not use SSH"
	case len(f.AccessTime) > 0:
		return "has hours (access_time), of which the time zone is not in the backup: write when.hours"
	case f.Anonymous:
		return "is anonymous"
	}
	r := policy.Rule{Name: u.Username, When: policy.When{Users: []string{u.Username}, From: f.AllowedIP}, Services: []string{"sftp"}}
	if r.Require, why = s.methods(f); why != "" {
		return why
	}
	limits(&r, u)
	if why := s.places(&r, u, note); why != "" {
		return why
	}
	if len(r.When.From) == 0 {
		r.When.From = nil
	}
	if len(f.DeniedIP) > 0 {
		s.Rules = append(s.Rules, policy.Rule{Name: u.Username + " (denied_ip)", When: policy.When{Users: []string{u.Username}, From: f.DeniedIP}, Deny: true})
	}
	s.Rules = append(s.Rules, r)
	if u.Transfer+u.UploadAll+u.DownloadAll > 0 {
		note("limits of transferred data: Berth has none")
	}
	if len(f.Bandwidth) > 0 {
		note("bandwidth_limits of single addresses: there is one rate for all")
	}
	if f.StartDir != "" {
		note("start_directory %s: people begin in /", f.StartDir)
	}
	return ""
}

// merge gives a user the settings of the groups, as SFTPGo does: what a user has not
// set comes from the primary group; paths, addresses and denials from all groups.
func (s *sftpgo) merge(u *sftpgoUser) (why string) {
	byType := slices.Clone(u.Groups)
	slices.SortStableFunc(byType, func(a, b sftpgoMember) int { return a.Type - b.Type })
	u.Permissions = maps.Clone(u.Permissions)
	if u.Permissions == nil {
		u.Permissions = map[string][]string{}
	}
	for _, member := range byType {
		g, known := s.groups[member.Name]
		if !known {
			return fmt.Sprintf("is in the group %q, which is not in the backup", member.Name)
		}
		if member.Type != 1 && member.Type != 2 {
			continue
		}
		fill := func(text string) string { return strings.ReplaceAll(text, "%username%", u.Username) }
		t := g.Settings
		if member.Type == 1 {
			u.HomeDir = cmp.Or(fill(t.HomeDir), u.HomeDir)
			u.Filesystem = cmp.Or(t.Filesystem, u.Filesystem)
			u.Filters.StartDir = cmp.Or(t.Filters.StartDir, u.Filters.StartDir)
			u.Sessions = cmp.Or(u.Sessions, t.Sessions)
			u.Quota = cmp.Or(u.Quota, t.Quota)
			u.QuotaFiles = cmp.Or(u.QuotaFiles, t.QuotaFiles)
			u.Upload = cmp.Or(u.Upload, t.Upload)
			u.Download = cmp.Or(u.Download, t.Download)
			u.Transfer = cmp.Or(u.Transfer, t.Transfer)
			u.UploadAll = cmp.Or(u.UploadAll, t.UploadAll)
			u.DownloadAll = cmp.Or(u.DownloadAll, t.DownloadAll)
			u.Filters.MaxUpload = cmp.Or(u.Filters.MaxUpload, t.Filters.MaxUpload)
		}
		for name, permissions := range t.Permissions {
			if name = fill(name); u.Permissions[name] == nil {
				u.Permissions[name] = permissions
			}
		}
		for _, p := range t.Filters.Patterns {
			p.Path = fill(p.Path)
			if !slices.ContainsFunc(u.Filters.Patterns, func(own sftpgoPattern) bool { return own.Path == p.Path }) {
				u.Filters.Patterns = append(u.Filters.Patterns, p)
			}
		}
		for _, f := range g.Folders {
			f.VirtualPath, f.MappedPath = fill(f.VirtualPath), fill(f.MappedPath)
			if !slices.ContainsFunc(u.Folders, func(own sftpgoFolder) bool { return own.VirtualPath == f.VirtualPath }) {
				u.Folders = append(u.Folders, f)
			}
		}
		u.Filters.AllowedIP = append(u.Filters.AllowedIP, t.Filters.AllowedIP...)
		u.Filters.DeniedIP = append(u.Filters.DeniedIP, t.Filters.DeniedIP...)
		u.Filters.DeniedMethods = append(u.Filters.DeniedMethods, t.Filters.DeniedMethods...)
		u.Filters.DeniedProtos = append(u.Filters.DeniedProtos, t.Filters.DeniedProtos...)
		u.Filters.TwoFactor = append(u.Filters.TwoFactor, t.Filters.TwoFactor...)
		u.Filters.AccessTime = append(u.Filters.AccessTime, t.Filters.AccessTime...)
		u.Filters.Bandwidth = append(u.Filters.Bandwidth, t.Filters.Bandwidth...)
	}
	return ""
}

// methods is what a login needs.
func (s *sftpgo) methods(f sftpgoFilters) (policy.Require, string) {
	denied := func(method string) bool { return slices.Contains(f.DeniedMethods, method) }
	code := slices.Contains(f.TwoFactor, "SSH") || f.TOTP.Enabled && slices.Contains(f.TOTP.Protocols, "SSH")
	typed := []string{"password"}
	if code {
		typed = append(typed, "totp")
	}
	possible := !code || s.codes
	var all policy.Require
	if !denied("publickey") {
		all = append(all, []string{"publickey"})
	} else if possible && (!denied("publickey+password") || !denied("publickey+keyboard-interactive")) {
		all = append(all, append([]string{"publickey"}, typed...))
	}
	if possible && (!denied("password") && !denied("password-over-SSH") || !denied("keyboard-interactive")) {
		all = append(all, typed)
	}
	if len(all) == 0 {
		return nil, "has no method of login that Berth could ask for (one-time codes need totp.file or totp_attribute)"
	}
	if len(all) == 2 && len(all[0]) == 1 && len(all[1]) == 1 && !s.tickets {
		return nil, ""
	}
	return all, ""
}

// limits carries over numbers of a user; 0 is no limit in both.
func limits(r *policy.Rule, u sftpgoUser) {
	const kilo = 1000 // not more than SFTPGo, whose KB may be 1024
	set := func(to **policy.Amount[int64], n int64) {
		if n > 0 {
			*to = &policy.Amount[int64]{Value: &n}
		}
	}
	set(&r.Limits.Quota, u.Quota)
	set(&r.Limits.QuotaFiles, u.QuotaFiles)
	set(&r.Limits.MaxFile, u.Filters.MaxUpload)
	set(&r.Limits.UploadRate, u.Upload*kilo)
	set(&r.Limits.DownloadRate, u.Download*kilo)
	if u.Sessions > 0 {
		r.Limits.Sessions = &policy.Amount[int]{Value: &u.Sessions}
	}
}

// sftpgoPermissions are the words of SFTPGo. Those that are less than one of Berth's
// need others beside them.
var sftpgoPermissions = []struct {
	permission string
	needs      []string
}{
	{"list", []string{"list"}},
	{"read", []string{"download"}},
	{"create", []string{"upload"}},
	{"overwrite", []string{"overwrite"}},
	{"mkdir", []string{"create_dirs"}},
	{"rename", []string{"rename_files", "rename_dirs"}},
	{"delete", []string{"delete_files"}},
	{"rmdir", []string{"delete_dirs"}},
	{"setattr", []string{"chmod", "chown", "chtimes"}},
	{"symlink", []string{"create_symlinks"}},
}

// permissionsOf returns permissions of Berth that are no more than those, and which of
// those are lost.
func permissionsOf(names []string) (have, lost []string) {
	if slices.Contains(names, "*") {
		return []string{"full"}, nil
	}
	all := slices.Clone(names)
	for _, both := range []string{"rename", "delete"} {
		if slices.Contains(names, both) {
			all = append(all, both+"_files", both+"_dirs")
		}
	}
	used := []string{"rename", "delete", "copy"} // a copy reads and creates
	have = []string{}
	for _, p := range sftpgoPermissions {
		if !slices.ContainsFunc(p.needs, func(n string) bool { return !slices.Contains(all, n) }) {
			have, used = append(have, p.permission), append(used, p.needs...)
		}
	}
	return have, slices.DeleteFunc(all, func(n string) bool { return slices.Contains(used, n) })
}

// places makes the home, the folders and the rights of a user.
func (s *sftpgo) places(r *policy.Rule, u sftpgoUser, note func(string, ...any)) (why string) {
	host := func(name string) string { return strings.ReplaceAll(path.Clean(name), "%", "%%") }
	rights, names := map[string][]string{}, map[string]sftpgoPattern{}
	for name, p := range u.Permissions {
		if !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsAny(name, "*?[") {
			return fmt.Sprintf("has permissions for %q, which is a pattern, or no clean path", name)
		}
		have, lost := permissionsOf(p)
		if rights[name] = have; len(lost) > 0 {
			slices.Sort(lost)
			note("permissions of %s: %s: alone they are less than any permission here", name, strings.Join(lost, ", "))
		}
	}
	if rights["/"] == nil {
		return "has no permissions for /"
	}
	for _, p := range u.Filters.Patterns {
		if !path.IsAbs(p.Path) || path.Clean(p.Path) != p.Path {
			return fmt.Sprintf("has patterns for %q, which is no clean path", p.Path)
		}
		names[p.Path] = p
	}
	r.Home = &policy.Home{Host: host(u.HomeDir), Create: true, Permissions: nearest(rights, "/")}
	folders := map[string]bool{"/": true}
	for _, f := range u.Folders {
		if f.MappedPath == "" {
			f.MappedPath, f.Filesystem = s.folder[f.Name].MappedPath, s.folder[f.Name].Filesystem
		}
		switch {
		case !path.IsAbs(f.VirtualPath) || path.Clean(f.VirtualPath) != f.VirtualPath:
			return fmt.Sprintf("has a virtual folder at %q, which is no clean path", f.VirtualPath)
		case f.Filesystem.Provider != 0 || !path.IsAbs(f.MappedPath):
			note("virtual folder %s: is not in the files of the machine", f.VirtualPath)
			rights[f.VirtualPath] = []string{} // what is hidden in the home stays hidden
			continue
		}
		m := policy.Mount{Path: f.VirtualPath, Host: host(f.MappedPath), Permissions: nearest(rights, f.VirtualPath)}
		if f.Quota > 0 {
			m.Quota = &f.Quota
		}
		if f.QuotaFiles > 0 {
			m.QuotaFiles = &f.QuotaFiles
		}
		if f.Quota < 0 && u.Quota > 0 || f.QuotaFiles < 0 && u.QuotaFiles > 0 {
			note("virtual folder %s: its files do not count in the quota of the user", f.VirtualPath)
		}
		r.Folders, folders[f.VirtualPath] = append(r.Folders, m), true
	}
	// The longest path decides alone: each says what holds there of both.
	paths := slices.Concat(slices.Collect(maps.Keys(folders)), slices.Collect(maps.Keys(rights)), slices.Collect(maps.Keys(names)))
	slices.Sort(paths)
	for _, at := range slices.Compact(paths) {
		p := nearest(names, at)
		if folders[at] && p.Path == "" {
			continue // the folder says it
		}
		g := policy.Grant{Path: at, Permissions: nearest(rights, at), Names: policy.Names{Allow: p.Allowed, Deny: p.Denied}}
		g.Hide = p.Policy == 1 && len(p.Allowed)+len(p.Denied) > 0
		r.Access = append(r.Access, g)
	}
	return ""
}

// nearest is the value of name, or of the path above it that is nearest.
func nearest[T any](values map[string]T, name string) T {
	for ; ; name = path.Dir(name) {
		if v, ok := values[name]; ok || name == "/" {
			return v
		}
	}
}
