package ldap_test

import (
	"testing"

	"berth/directory/ldap"
	"berth/test/peers"
)

// rulesInWords looks somebody up and returns what the directory asks of a new password.
func rulesInWords(t *testing.T, c *ldap.Client, name string) string {
	t.Helper()
	rules, err := c.PasswordRules(t.Context(), find(t, c, name))
	if err != nil {
		return err.Error()
	}
	return rules.String()
}

const asks = "The directory asks for "

func TestPasswordRulesOpenLDAP(t *testing.T) {
	p := peers.OpenLDAP(t)
	c := open(t, settings(p))
	for name, want := range map[string]string{
		"carol":  asks + "at least 8 characters, none of your last 3 passwords.",
		"minage": asks + "at least 8 characters, none of your last 3 passwords, 1 day since the last change.",
	} {
		if got := rulesInWords(t, c, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	s := settings(p)
	s.BindDN, s.BindPassword, s.KeyChange, s.BindAs = "", "", "none", "uid=%u,ou=people,dc=example,dc=test"
	if got := rulesInWords(t, open(t, s), "carol"); got != "" {
		t.Errorf("with bind_as: %q, want nothing", got)
	}
}

func TestPasswordRulesSamba(t *testing.T) {
	p := peers.Samba(t)
	manage(t, p, `dn: CN=strict,CN=Password Settings Container,CN=System,DC=ad,DC=example,DC=test
changetype: modify
replace: msDS-MinimumPasswordLength
msDS-MinimumPasswordLength: 12
-
replace: msDS-PasswordHistoryLength
msDS-PasswordHistoryLength: 24
-
replace: msDS-MinimumPasswordAge
msDS-MinimumPasswordAge: -864000000000
-
replace: msDS-PasswordComplexityEnabled
msDS-PasswordComplexityEnabled: FALSE
`)
	c := open(t, settings(p))
	const domain = asks + "at least 8 characters, 3 of small letters, capitals, digits and other characters, none of your last 3 passwords."
	for name, want := range map[string]string{
		"carol":  domain,
		"strict": asks + "at least 12 characters, none of your last 24 passwords, 1 day since the last change.", // by its own policy
		"minage": `password rules for "minage": "CN=minage,CN=Password Settings Container,CN=System,DC=ad,DC=example,DC=test" cannot be read`,
	} {
		if got := rulesInWords(t, c, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestPasswordRulesDS389(t *testing.T) {
	p := peers.DS389(t)
	if got, want := rulesInWords(t, open(t, settings(p)), "carol"), `password rules for "carol": cn=config cannot be read`; got != want {
		t.Errorf("with an account that may not read cn=config: %q, want %q", got, want)
	}
	s := settings(p)
	s.BindDN, s.BindPassword = "cn=Directory Manager", "Manager-Passw0rd"
	if got, want := rulesInWords(t, open(t, s), "carol"), asks+"at least 8 characters, 3 of small letters, capitals, digits and other characters, none of your last 3 passwords."; got != want {
		t.Errorf("with an account that may: %q, want %q", got, want)
	}
}
