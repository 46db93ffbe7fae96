package policy

// Op is a set of operations on files.
type Op uint16

// The operations a rule can permit.
const (
	List      Op = 1 << iota // see names in a directory, and the attributes of what is there
	Read                     // read a file, a link
	Create                   // make a new file
	Overwrite                // write to a file that is there
	Mkdir
	Rename
	Delete // a file or a link
	Rmdir
	SetAttr // mode, times, size
	Symlink // and hard links
)

// Names for sets of operations.
const (
	Write    = Create | Overwrite
	ReadOnly = List | Read
	DropBox  = Create
	Full     = List | Read | Write | Mkdir | Rename | Delete | Rmdir | SetAttr | Symlink
)
