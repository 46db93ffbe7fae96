package directory

import (
	"testing"
	"time"
)

func TestPasswordRulesInWords(t *testing.T) {
	for want, r := range map[string]PasswordRules{
		"": {},
		"The directory asks for at least 12 characters, 3 of small letters, capitals, digits and other characters, none of your last 24 passwords, 1 day since the last change.": {12, 3, 24, 24 * time.Hour},
		"The directory asks for at least 1 character, not your last password.":                                                                                                   {Length: 1, Kinds: 1, History: 1},
		"The directory asks for 36 hours since the last change.":                                                                                                                 {Age: 36 * time.Hour},
		"The directory asks for 10 minutes since the last change.":                                                                                                               {Age: 10 * time.Minute},
		"The directory asks for none of your last 2 passwords, 10s since the last change.":                                                                                       {History: 2, Age: 10 * time.Second},
	} {
		if got := r.String(); got != want {
			t.Errorf("%+v = %q, want %q", r, got, want)
		}
	}
}
