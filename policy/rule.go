package policy

import "time"

// A Rule is what an administrator writes: conditions, and what is granted to
// those who meet them.
type Rule struct {
	Name     string    `mapstructure:"name"`     // how events and explain call the rule; each rule has its own
	When     When      `mapstructure:"when"`     // conditions, all of which must hold; none: the rule matches everybody
	Deny     bool      `mapstructure:"deny"`     // refuse the login of those the rule matches, whatever other rules say
	Home     *Home     `mapstructure:"home"`     // the folder that is the root of the view
	Folders  []Mount   `mapstructure:"folders"`  // more folders of the view
	Access   []Grant   `mapstructure:"access"`   // rights on paths of the view, beyond those of home and folders
	Services []string  `mapstructure:"services"` // what may be used: sftp, scp, passwd, whoami, quota, keys, help, console_read, console_operate; sftp, scp, whoami, quota and help if no rule says so
	Require  Require   `mapstructure:"require"`  // authentication methods that are all needed: [publickey, password]; or a list of such lists, one of which is needed
	Limits   Quantity  `mapstructure:"limits"`   // what a login may use at most
	Uploads  Uploads   `mapstructure:"uploads"`  // with atomic a file gets its name when it is complete, and needs room beside the one it replaces; with direct, the default, it is written in place
	Owner    Owner     `mapstructure:"owner"`    // whose the files are on the disk, for home and folders that do not say it: service (the user of the server), the default, person (their uid, gid and groups of the directory, and what the disk permits them), or an account of this host, by name or as UID:GID
	SetAttr  Forbidden `mapstructure:"setattr"`  // what happens when attributes are set where that is not permitted: refuse, the default, or ignore
}

// When is the conditions of a rule. Within one any value is enough.
type When struct {
	Directory []string `mapstructure:"directory"` // the user is in this directory, or in one of these: corp
	Groups    []string `mapstructure:"groups"`    // the user is in one of these: a DN, a name, a SID, or a pattern such as FT-* or CN=FT-*,OU=Groups,DC=corp,DC=example. With several directories a name or its pattern says which one's group it is: corp\\finance
	Users     []string `mapstructure:"users"`     // the user has one of these names, or one that matches such a pattern
	From      []string `mapstructure:"from"`      // the client has one of these addresses: 10.0.0.0/8, 192.0.2.7, 2001:db8::/32
	Hours     string   `mapstructure:"hours"`     // the login is at such a time: "Mon-Fri 06:00-20:00, Sat 08:00-12:00 Europe/Berlin"; each part has its own days and times, and the time zone is the server's if none is given
	Method    []string `mapstructure:"method"`    // the user proved who they are by: password, publickey, keyboard-interactive (a password in a dialogue, as most clients send it: list both), gssapi-with-mic, oidc (the browser)
}

// Home is the host directory that is shown as "/".
type Home struct {
	Below        string   `mapstructure:"below"`         // for a host that is one attribute, such as "%{homeDirectory}": the attribute holds the whole path, which must be below this directory
	Host         string   `mapstructure:"host"`          // directory on this machine; %u is the user's name, %i the id with the directory (ID@DIRECTORY), %d the directory's name, %{attr} an attribute, %% a percent sign
	Create       bool     `mapstructure:"create"`        // make it at the first login if it is missing
	Skeleton     []string `mapstructure:"skeleton"`      // directories to make in it when it has just been made
	Umask        string   `mapstructure:"umask"`         // octal: permission bits that nothing made here has; 027 by default
	Owner        Owner    `mapstructure:"owner"`         // service, person or an account; by default what owner of the rules says
	WindowsNames string   `mapstructure:"windows_names"` // refuse or allow other spellings by which Windows finds a file ("a.exe.", "a.exe::$DATA", "REPORT~1.EXE"), with which a client could bypass names and access; by default refuse where the folder is on a Windows share, FAT or exFAT
	Permissions  []string `mapstructure:"permissions"`   // list, read, create, overwrite, mkdir, rename, delete, rmdir, setattr, symlink; write (create and overwrite), read_only, drop_box (create), full; by default full
}

// Mount is a host directory that is shown at a path of the view.
type Mount struct {
	Path         string   `mapstructure:"path"`          // where it is in the view: /shared
	Host         string   `mapstructure:"host"`          // directory on this machine, with the same placeholders as home
	Below        string   `mapstructure:"below"`         // as for home
	Create       bool     `mapstructure:"create"`        // make it at login if it is missing
	Skeleton     []string `mapstructure:"skeleton"`      // directories to make in it when it has just been made
	Permissions  []string `mapstructure:"permissions"`   // as for home; read_only by default
	Umask        string   `mapstructure:"umask"`         // as for home
	Owner        Owner    `mapstructure:"owner"`         // as for home
	WindowsNames string   `mapstructure:"windows_names"` // as for home
	Quota        *int64   `mapstructure:"quota"`         // bytes that it may hold: 10GiB; 0: no limit
	QuotaFiles   *int64   `mapstructure:"quota_files"`   // files and directories that it may hold; 0: no limit
}

// Grant is rights on a path of the view and all below it.
type Grant struct {
	Path        string   `mapstructure:"path"`        // in the view: /inbox
	Permissions []string `mapstructure:"permissions"` // as for home; those that hold there anyway if it is left out
	Names       Names    `mapstructure:"names"`       // which names may be used
	Hide        bool     `mapstructure:"hide"`        // what names refuses is not shown either
}

// Quantity is the limits of a rule. Each one may come from another rule: the
// first one that sets it, 0 for no limit included.
type Quantity struct {
	Sessions     *Amount[int]           `mapstructure:"sessions"`      // sessions of the user at the same time: 5; or an attribute of the user that holds the number: "%{berthSessions}", or "%{berthSessions} or 5"
	Quota        *Amount[int64]         `mapstructure:"quota"`         // bytes in the home: 10GiB; or an attribute, as for sessions: "%{berthQuota} or 10GiB"
	QuotaFiles   *Amount[int64]         `mapstructure:"quota_files"`   // files and directories in the home; or an attribute, as for sessions
	MaxFile      *Amount[int64]         `mapstructure:"max_file"`      // bytes of one file: 2GiB; or an attribute, as for sessions
	UploadRate   *Amount[int64]         `mapstructure:"upload_rate"`   // bytes a second of one session: 20MiB; or an attribute, as for sessions
	DownloadRate *Amount[int64]         `mapstructure:"download_rate"` // bytes a second of one session: 20MiB; or an attribute, as for sessions
	Idle         *Amount[time.Duration] `mapstructure:"idle"`          // time without a request after which the session ends: 15m; or an attribute, as for sessions: "%{berthIdle} or 15m"
	SessionTime  *Amount[time.Duration] `mapstructure:"session_time"`  // time after which the session ends: 8h; or an attribute, as for sessions
}

// Require is alternatives of authentication methods. In a file a plain list is
// one alternative: all of the list is needed.
type Require [][]string

// Owner says whose files are on the disk.
type Owner string

// Owners that are no accounts of this host. All others are: a name, or UID:GID.
const (
	Service Owner = "service" // the user of the server
	Person  Owner = "person"  // who is logged in
)

// Forbidden says what becomes of a request that is not permitted.
type Forbidden string

// The two ways.
const (
	Refuse Forbidden = "refuse"
	Ignore Forbidden = "ignore" // it seems to succeed
)
