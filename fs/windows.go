package fs

import "strings"

// A file system that compares names as Windows does finds one file under several
// names, and the policy knows only one of them. In such a folder the other
// spellings are refused, so that no name reaches what a rule denies: dots and
// blanks at the end ("a.exe."), streams ("a.exe::$DATA"), short names
// ("REPORT~1.EXE"), names of devices, and places of the policy in another case.

// folding reports whether name is such another spelling. An element that the
// administrator wrote in a rule is not another spelling.
func (r *rules) folding(name string) bool {
	for i := 1; i < len(name); i++ {
		end := i + strings.IndexByte(name[i:]+"/", '/')
		if at := name[:end]; !r.places[at] && (windowsName(name[i:end]) || r.folded[fold(at)]) {
			return true
		}
		i = end
	}
	return false
}

// fold makes all cases of a name one.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// windowsName reports whether Windows takes base for another name, or for the name
// of a device.
func windowsName(base string) bool {
	stem, ext, _ := strings.Cut(base, ".")
	if strings.ContainsAny(base, `:\`) || strings.TrimRight(base, ". ") != base {
		return true
	}
	if short := strings.TrimRight(stem, "0123456789"); strings.HasSuffix(short, "~") && short != stem {
		return len(stem) <= 8 && len(ext) <= 3
	}
	device := strings.ToUpper(strings.TrimRight(stem, " "))
	if n := len(device) - 1; n == 3 && device[n] >= '0' && device[n] <= '9' {
		return device[:n] == "COM" || device[:n] == "LPT"
	}
	return device == "CON" || device == "PRN" || device == "AUX" || device == "NUL"
}
