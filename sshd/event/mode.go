package event

import "os"

// modes are the six phrases for how a file was opened, by access and append.
var modes = map[int][2]string{
	os.O_RDONLY: {"reading", "reading with append"},
	os.O_WRONLY: {"writing", "writing with append"},
	os.O_RDWR:   {"reading and writing", "reading and writing with append"},
}

// Mode says in words how a file is opened with the flags of package os.
func Mode(flag int) string {
	phrases := modes[flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR)]
	if flag&os.O_APPEND != 0 {
		return phrases[1]
	}
	return phrases[0]
}
