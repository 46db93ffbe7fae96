// Package check collects what is wrong with settings. Each section of the configuration
// has a method Check that returns it.
package check

import "fmt"

// Mistakes are what is wrong with the settings of one section. Each names the key and says
// what would be right.
type Mistakes []error

// If adds a mistake if wrong is true.
func (m *Mistakes) If(wrong bool, format string, args ...any) {
	if wrong {
		*m = append(*m, fmt.Errorf(format, args...))
	}
}
