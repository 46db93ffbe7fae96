package ldap

import (
	"errors"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"berth/directory"
)

// adText is what Active Directory says to a refused bind.
func adText(code string) string {
	return "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data " + code + ", v1db1\x00"
}

func TestBindVerdict(t *testing.T) {
	ok := answer{control: controlNone}
	refused := func(text string, control int) answer {
		return answer{code: ldap.LDAPResultInvalidCredentials, text: text, control: control}
	}
	tests := []struct {
		name   string
		in     answer
		why    error
		proved bool
		says   bool // anything of the user
	}{
		{"right", ok, nil, false, true},
		{"right, expires soon", answer{control: controlNone, grace: false}, nil, false, true},
		{"right, grace", answer{control: controlNone, grace: true}, nil, false, true},
		{"right, must change", answer{control: ldap.BeheraChangeAfterReset}, directory.ErrMustChange, true, true},
		{"right, 389 DS must change", answer{control: controlNone, expired: true}, directory.ErrMustChange, true, true},
		{"wrong", refused("", controlNone), directory.ErrBadPassword, false, true},
		{"expired", refused("", ldap.BeheraPasswordExpired), directory.ErrPasswordExpired, true, true},
		{"locked", refused("", ldap.BeheraAccountLocked), directory.ErrLocked, false, true},
		{"389 DS locked", answer{code: 19, text: "Exceed password retry limit.", control: ldap.BeheraAccountLocked}, directory.ErrLocked, false, true},
		{"389 DS locked, no control", answer{code: 19, control: controlNone}, directory.ErrLocked, false, true},
		{"389 DS disabled", answer{code: 53, text: "Account inactivated.", control: ldap.BeheraAccountLocked}, directory.ErrDisabled, false, true},
		{"389 DS disabled, no control", answer{code: 53, control: controlNone}, directory.ErrDisabled, false, true},
		{"AD no user", refused(adText("525"), controlNone), directory.ErrBadPassword, false, true},
		{"AD wrong", refused(adText("52e"), controlNone), directory.ErrBadPassword, false, true},
		{"AD hours", refused(adText("530"), controlNone), directory.ErrOutsideHours, true, true},
		{"AD expired", refused(adText("532"), controlNone), directory.ErrPasswordExpired, true, true},
		{"AD disabled", refused(adText("533"), controlNone), directory.ErrDisabled, true, true},
		{"AD account expired", refused(adText("701"), controlNone), directory.ErrExpired, true, true},
		{"AD must change", refused(adText("773"), controlNone), directory.ErrMustChange, true, true},
		{"AD locked", refused(adText("775"), controlNone), directory.ErrLocked, false, true},
		{"AD something new", refused(adText("9999"), controlNone), directory.ErrBadPassword, false, true},
		{"no password in the entry", answer{code: 48, control: controlNone}, directory.ErrBadPassword, false, true},
		{"busy", answer{code: ldap.LDAPResultBusy, control: controlNone}, nil, false, false},
		{"unavailable", answer{code: ldap.LDAPResultUnavailable, control: controlNone}, nil, false, false},
		{"no TLS", answer{code: ldap.LDAPResultConfidentialityRequired, control: controlNone}, nil, false, false},
		{"AD no TLS", answer{code: ldap.LDAPResultStrongAuthRequired, text: "BindSimple: Transport encryption required.", control: controlNone}, nil, false, false},
		{"operations error", answer{code: 1, control: controlNone}, nil, false, false},
		{"referral", answer{code: 10, control: controlNone}, nil, false, false},
	}
	for _, tt := range tests {
		v, says := tt.in.bindVerdict()
		if !errors.Is(v.why, tt.why) || v.proved != tt.proved || says != tt.says {
			t.Errorf("%s: got %v, proved %t, says %t; want %v, %t, %t", tt.name, v.why, v.proved, says, tt.why, tt.proved, tt.says)
		}
	}
}

func TestChangeVerdict(t *testing.T) {
	samba := "0000052D: Constraint violation - check_password_restrictions: "
	tests := []struct {
		name string
		in   answer
		want error
	}{
		{"short", answer{code: 19, control: 6}, directory.ErrPasswordTooShort},
		{"history", answer{code: 19, control: 8}, directory.ErrPasswordUsed},
		{"young", answer{code: 19, control: 7}, directory.ErrPasswordTooYoung},
		{"weak", answer{code: 19, control: 5}, directory.ErrPasswordWeak},
		{"not allowed", answer{code: 50, control: 3}, directory.ErrChangeForbidden},
		{"no right", answer{code: 50, control: controlNone}, directory.ErrChangeForbidden},
		{"svc without right", answer{code: 53, text: "unwilling to verify old password", control: controlNone}, directory.ErrChangeForbidden},
		{"rules, no more said", answer{code: 19, control: controlNone}, directory.ErrPasswordWeak},
		{"389 DS wrong old", answer{code: 49, text: "Invalid oldPasswd value.", control: controlNone}, directory.ErrBadPassword},
		{"AD rules", answer{code: 19, text: "0000052D: DSID-031A12D2, problem 1005 (CONSTRAINT_ATT_TYPE), data 0, (unicodePwd)", control: controlNone}, directory.ErrPasswordWeak},
		{"AD rules, other code", answer{code: 53, text: "0000052d: SvcErr: DSID-031A12D2", control: controlNone}, directory.ErrPasswordWeak},
		{"AD wrong old", answer{code: 19, text: "00000056: AtrErr: DSID-03191083", control: controlNone}, directory.ErrBadPassword},
		{"AD locked", answer{code: 19, text: "00000775: Password change not permitted, account locked out!", control: controlNone}, directory.ErrLocked},
		{"Samba short", answer{code: 19, text: samba + "the password is too short. It should be equal to or longer than 8 characters!", control: controlNone}, directory.ErrPasswordTooShort},
		{"Samba young", answer{code: 19, text: samba + "password is too young to change!", control: controlNone}, directory.ErrPasswordTooYoung},
		{"Samba history", answer{code: 19, text: samba + "the password was already used (in history)!", control: controlNone}, directory.ErrPasswordUsed},
		{"Samba complexity", answer{code: 19, text: samba + "the password does not meet the complexity criteria!", control: controlNone}, directory.ErrPasswordWeak},
		{"busy", answer{code: ldap.LDAPResultBusy, control: controlNone}, nil},
		{"not known", answer{code: ldap.LDAPResultProtocolError, control: controlNone}, nil},
		{"not encrypted enough", answer{code: 13, control: controlNone}, nil},
	}
	for _, tt := range tests {
		if got := tt.in.changeVerdict(); !errors.Is(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzSubCode(f *testing.F) {
	f.Add(adText("52e"))
	f.Add("AcceptSecurityContext, data ")
	f.Fuzz(func(t *testing.T, text string) {
		a := answer{code: 49, text: text, control: controlNone}
		if v, says := a.bindVerdict(); !says || v.why == nil {
			t.Errorf("a refused bind with text %q passes for an accepted one", text)
		}
		_ = a.changeVerdict()
		_ = a.detail()
	})
}

// TestGrace reads the number of logins that are left after a password has expired:
// none, this was the last one, or more.
func TestGrace(t *testing.T) {
	for left, want := range map[int64]bool{-1: false, 0: true, 2: true} {
		control := &ldap.ControlBeheraPasswordPolicy{Expire: -1, Grace: left, Error: -1}
		if a := answerOf([]ldap.Control{control}, nil); a.grace != want {
			t.Errorf("%d left: grace = %t, want %t", left, a.grace, want)
		}
	}
}
