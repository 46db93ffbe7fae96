package policy

import "time"

// A Rule is what an administrator writes: conditions, and what is granted to
// those who meet them.
type Rule struct {
	Name     string    `mapstructure:"name"`     // how events and explain call the rule; each rule has its own
	When     When      `mapstructure:"when"`     // conditions, which must all hold; without any the rule matches everybody
	Deny     bool      `mapstructure:"deny"`     // true: the login of those whom the rule matches is refused, even if other rules allow it
	Home     *Home     `mapstructure:"home"`     // the folder that is the root of the view
	Folders  []Mount   `mapstructure:"folders"`  // more folders of the view
	Access   []Grant   `mapstructure:"access"`   // rights on paths of the view, beyond those of home and folders
	Services []string  `mapstructure:"services"` // services that may be used: sftp, scp, passwd, whoami, quota, keys, help, console_read, console_operate; sftp, scp, whoami, quota and help if no rule lists any
	Require  Require   `mapstructure:"require"`  // authentication methods that are all needed: [publickey, password]; or a list of such lists, one of which is needed
	Limits   Quantity  `mapstructure:"limits"`   // limits for a login
	Uploads  Uploads   `mapstructure:"uploads"`  // how uploads are written: with atomic a file gets its name when it is complete, and needs room beside the file that it replaces; with direct, the default, it is written in place
	Owner    Owner     `mapstructure:"owner"`    // owner of the files on the disk, for the home and folders without their own owner: service (the user of the server), the default, person (with the uid, gid and groups in the directory, and the rights that the disk gives them), or an account of this host, by name or as UID:GID
	SetAttr  Forbidden `mapstructure:"setattr"`  // what the server does when a client sets attributes and may not: refuse, the default, or ignore
}

// When is the conditions of a rule. Within one any value is enough.
type When struct {
	Directory []string `mapstructure:"directory"` // the user is in this directory, or in one of these: corp
	Groups    []string `mapstructure:"groups"`    // the user is in one of these groups: a DN, a name, a SID, or a pattern such as FT-* or CN=FT-*,OU=Groups,DC=corp,DC=example. With several directories a name or its pattern must name the directory: corp\\finance
	Users     []string `mapstructure:"users"`     // the user has one of these names, or one that matches such a pattern
	From      []string `mapstructure:"from"`      // the client has one of these addresses: 10.0.0.0/8, 192.0.2.7, 2001:db8::/32
	Hours     string   `mapstructure:"hours"`     // the login is within these hours: "Mon-Fri 06:00-20:00, Sat 08:00-12:00 Europe/Berlin"; each part has its own days and times, and the time zone is that of the server if none is given
	Method    []string `mapstructure:"method"`    // the user has logged in by one of these methods: password, publickey, keyboard-interactive (a password in a dialogue, as most clients send it: list both), gssapi-with-mic, oidc (the browser)
}

// Home is the host directory that is shown as "/".
type Home struct {
	Below        string   `mapstructure:"below"`         // directory of this machine that the path must be below, if host is one attribute that holds the whole path, such as "%{homeDirectory}"
	Host         string   `mapstructure:"host"`          // directory on this machine; %u is the user's name, %i the id with the directory (ID@DIRECTORY), %d the directory's name, %{attr} an attribute, %% a percent sign
	Create       bool     `mapstructure:"create"`        // true: the directory is made at the first login if it is missing
	Skeleton     []string `mapstructure:"skeleton"`      // directories to make in it when it has just been made
	Umask        string   `mapstructure:"umask"`         // permission bits that new files and directories do not get, in octal; 027 by default
	Owner        Owner    `mapstructure:"owner"`         // owner of the files on the disk: service, person or an account; by default the owner of the rule
	WindowsNames string   `mapstructure:"windows_names"` // whether to refuse or allow other spellings by which Windows finds a file ("a.exe.", "a.exe::$DATA", "REPORT~1.EXE"), with which a client could bypass names and access; by default refuse on a Windows share, FAT or exFAT, and otherwise allow
	Permissions  []string `mapstructure:"permissions"`   // rights: list, read, create, overwrite, mkdir, rename, delete, rmdir, setattr, symlink; write (create and overwrite), read_only, drop_box (create), full; by default full
}

// Mount is a host directory that is shown at a path of the view.
type Mount struct {
	Path         string   `mapstructure:"path"`          // path of the folder in the view, such as /shared
	Host         string   `mapstructure:"host"`          // directory on this machine, with the same placeholders as home
	Below        string   `mapstructure:"below"`         // as for home
	Create       bool     `mapstructure:"create"`        // true: the directory is made at a login if it is missing
	Skeleton     []string `mapstructure:"skeleton"`      // directories to make in it when it has just been made
	Permissions  []string `mapstructure:"permissions"`   // as for home; read_only by default
	Umask        string   `mapstructure:"umask"`         // as for home
	Owner        Owner    `mapstructure:"owner"`         // as for home
	WindowsNames string   `mapstructure:"windows_names"` // as for home
	Quota        *int64   `mapstructure:"quota"`         // bytes that the folder may hold: 10GiB; 0: no limit
	QuotaFiles   *int64   `mapstructure:"quota_files"`   // files and directories that the folder may hold; 0: no limit
}

// Grant is rights on a path of the view and all below it.
type Grant struct {
	Path        string   `mapstructure:"path"`        // path in the view, such as /inbox
	Permissions []string `mapstructure:"permissions"` // as for home; by default the rights that the path has without this entry
	Names       Names    `mapstructure:"names"`       // which names may be used
	Hide        bool     `mapstructure:"hide"`        // true: names that are refused are not shown either
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
