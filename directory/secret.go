package directory

import "fmt"

// A Secret is a value of a directory that must not be shown. Whatever prints or
// encodes it gets "(secret)" instead; only Reveal returns the value.
type Secret struct{ value string }

// NewSecret hides a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value. It must not be shown.
func (s Secret) Reveal() string { return s.value }

// Format implements fmt.Formatter for all verbs.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(secret)") }

// MarshalText implements encoding.TextMarshaler, which JSON uses too.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Reveal returns the values of secrets.
func Reveal(secrets []Secret) []string {
	var values []string
	for _, s := range secrets {
		values = append(values, s.value)
	}
	return values
}
