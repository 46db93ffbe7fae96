// Package policy says what a person may do: it turns the administrator's rules
// and what the directory knows of a user into one Policy for one login.
//
// It does no I/O and knows no SSH. Rules are compiled once into a Set; Resolve
// gives the Policy of a login, Explain makes the same decision and gives every
// reason. Each stage has its own names:
//
//	written     Rule           Mount, Home       Grant             Quantity, ...
//	compiled    compiledRule   compiledMount     compiledGrant     setting
//	resolved    Policy         Folder            Access            Limits, ...
//	explained   Explanation    ExplainedFolder   ExplainedAccess   ExplainedValue
//
// Start at Rule and Set.
package policy

import (
	"net/netip"
	"time"

	"berth/directory"
)

// Request is what a decision is made from.
type Request struct {
	User   *directory.User
	Remote netip.Addr
	Method string // "password", "publickey", "keyboard-interactive", "gssapi-with-mic", "oidc"
	Time   time.Time
}

// A Policy is what one login may do. It is never changed after Resolve returned it,
// so it may be used by several goroutines. A Policy that Resolve did not make works
// as well.
type Policy struct {
	User     *directory.User
	Rules    []string // names of the rules that matched, in file order
	Folders  []Folder // what the view is made of, sorted by Path; "/" first, if there is one
	Access   []Access // rights by path, resolved: at most one a path
	Services []string
	Require  [][]string // alternatives of authentication methods; empty: any one
	Limits   Limits
	Uploads  Uploads
	Owner    Owner // of folders whose rule does not set it

	// IgnoreSetAttr says that setting attributes where SetAttr is not permitted seems
	// to succeed: many clients set times after an upload.
	IgnoreSetAttr bool

	// ValidUntil is when the hours of a rule begin or end, so that another
	// Resolve may give another Policy; zero if that never happens.
	ValidUntil time.Time

	// above has, for each entry of Access, the index of the entry with the
	// longest path that leads to it, or -1. It is empty if the entries may not
	// be sorted.
	above []int32
}

// A Folder is a host directory shown at Path of the view.
type Folder struct {
	Path     string   // absolute, clean, slash-separated
	Host     string   // directory on this machine, placeholders filled in
	Create   bool     // make Host if it is missing
	Skeleton []string // directories to make in a Host just created
	Umask    uint32   // bits that are removed from the mode of new files; Compile fills in the default 027

	// WindowsNames is "refuse" or "allow" for other spellings by which Windows finds
	// a file; empty means refuse where Host is on a file system that finds files so.
	WindowsNames string

	// Owner owns the files on the disk; nil: the service. Every operation here is
	// done as Owner. Belongs is the setting of the rule.
	Owner   *directory.POSIX
	Belongs Owner

	Quota      int64 // bytes below Host; 0: no limit. At "/" it is Limits.Quota
	QuotaFiles int64 // files and directories below Host; 0: no limit. At "/" it is Limits.QuotaFiles

	Rule string // the rule it comes from
}

// Access is the rights on a path and all below it.
type Access struct {
	Path  string
	Ops   Op
	Names Names // which base names may be used; zero: all
	Hide  bool  // names that Names refuses are neither listed nor found
	Rule  string
}

// Names filters base names with path.Match patterns, ignoring case. Deny also applies
// to every directory between the path and the name. Allow does not restrict listing,
// making and removing directories, nor setting attributes.
type Names struct {
	Allow []string `mapstructure:"allow"` // only names that match one of these; empty: all
	Deny  []string `mapstructure:"deny"`  // but no name that matches one of these
}

// Limits bounds what a login may use. Zero means no limit.
type Limits struct {
	Sessions     int           `mapstructure:"sessions"`      // at once, of one user
	Quota        int64         `mapstructure:"quota"`         // bytes in the home, or in the folder at "/"
	QuotaFiles   int64         `mapstructure:"quota_files"`   // files and directories there
	MaxFile      int64         `mapstructure:"max_file"`      // bytes of one file
	UploadRate   int64         `mapstructure:"upload_rate"`   // bytes a second of one session
	DownloadRate int64         `mapstructure:"download_rate"` // bytes a second of one session
	Idle         time.Duration `mapstructure:"idle"`          // without a request
	SessionTime  time.Duration `mapstructure:"session_time"`
}

// Uploads says how an uploaded file gets its name.
type Uploads string

// The two ways.
const (
	Direct Uploads = "direct" // written in place, as OpenSSH does
	Atomic Uploads = "atomic" // written beside the target, renamed when it is closed
)
